"""The peptide policy on the test episodes: alone, corrected and gated, compared with untrained predictors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rich.progress import track

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import compare_paired, mean_and_half_width
from geofold.bench.peptide.episodes import TEST_SEED, TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import MAX_STEPS
from geofold.core.backbone import Momentum
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric
from geofold.learn.loop_denoiser.training import coverage
from geofold.learn.peptide_policy.model import shipped_policy
from geofold.learn.peptide_policy.training import predict_increments
from geofold.learn.pretrained import shipped_metric
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.peptide.streaming import HELD, KEEP, Parts, constrain_peptide, controller, plain_gate
from geofold.molecule.datasets.peptide_demonstrations import make_demonstration, solve_contacts
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain

EPISODES, QUICK_EPISODES = 256, 16
TRAINED_PREDICTOR, NO_PREDICTOR = PREDICTORS
CALIBRATION_AGENT = "densities"
CALIBRATION_PEPTIDES, FIRST_NEW_PEPTIDE = 24, 1_000_000
"""Number of new peptides whose demonstrations test the calibration, and number of the first of them."""


def _with_parts(**parts: Any) -> Callable[[RunOptions, PeptideDomain], Controller]:
    return lambda options, domain: replace(controller(options, domain), **parts)


def make_agents() -> dict[str, tuple[str, Parts]]:
    """Predictor option and controller by name; each differs from the shipped controller in the named part."""
    return {
        "hold_still": (NO_PREDICTOR, controller),
        "glide": (NO_PREDICTOR, _with_parts(backbone=Momentum(KEEP))),
        "policy_alone": (TRAINED_PREDICTOR, _with_parts(gate=FixedGate(0))),
        "policy": (TRAINED_PREDICTOR, _with_parts(gate=plain_gate())),
        "policy_gated": (TRAINED_PREDICTOR, controller),
        "policy_euclidean": (TRAINED_PREDICTOR, _with_parts(metric=EuclideanMetric())),
        "policy_learned_metric": (TRAINED_PREDICTOR, _with_learned_metric),
    }


def _with_learned_metric(options: RunOptions, domain: PeptideDomain) -> Controller:
    # G_psi has a fixed latent size; the few peptides with more torsions keep the pullback metric
    parts, metric = controller(options, domain), shipped_metric()
    fits = 2 * domain.latent_dim == metric.hidden_weight.shape[1]
    return replace(parts, metric=metric) if fits else parts


def run(out: str, *, quick: bool, limit: int | None, seed: int) -> None:
    """Run every agent on every episode, then write the table; a quick or limited run takes the tuning episodes.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run sixteen episodes.
    limit : int or None
        Number of episodes.
    seed : int
        Seed of the streams.
    """
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    selected = episodes(limit or (QUICK_EPISODES if quick else EPISODES), seed=TUNING_SEED if tuning else TEST_SEED)
    if not records.has("calibration", CALIBRATION_AGENT):
        records.add("calibration", CALIBRATION_AGENT, **measure_calibration(2 if tuning else CALIBRATION_PEPTIDES))
    for episode in track(selected, description="peptide policy"):
        for name, (predictor, parts) in make_agents().items():
            if not records.has(episode.name, name):
                records.add(episode.name, name, **_run_episode(episode, predictor, parts, seed))
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def measure_calibration(count: int) -> dict[str, float]:
    """Fractions of the missing increments of new demonstrations inside the policy's 68 % and 95 % regions."""
    demonstrated = [demo for k in range(count) for demo in solve_contacts(FIRST_NEW_PEPTIDE + k)]
    predicted, missing = predict_increments(
        shipped_policy()[0],
        [make_demonstration(demo, seed=FIRST_NEW_PEPTIDE + k) for k, demo in enumerate(demonstrated)],
    )
    coverages = coverage(predicted, missing)
    return {"coverage_68": coverages[0], "coverage_95": coverages[1], "increments": len(missing)}


def _run_episode(episode: Episode, predictor: str, parts: Parts, seed: int) -> dict[str, Any]:
    structure = peptide(episode.sequence)
    options = RunOptions(seed=seed, steps=MAX_STEPS, energy=False, predictor=predictor)
    contact = parse_contact(structure, episode.contact)
    outcome = constrain_peptide(structure, 0, len(structure.residues) - 1, (contact,), options, parts_for=parts)
    done = outcome.status == "done"
    return {
        "success": done,
        "steps": len(outcome.trace) - HELD + 1 if done else MAX_STEPS,
        "made": len(outcome.trace),
        "corrections": sum(outcome.trace),
        "milliseconds": sum(outcome.milliseconds),
    }


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Write table and summary.

    Parameters
    ----------
    records : Records
        All records of the run.
    split : str
        Name of the split.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    coverages = records.of(CALIBRATION_AGENT)[0]
    metrics = {f"calibration.{key}": coverages[key] for key in ("coverage_68", "coverage_95", "increments")}
    body = []
    for agent in make_agents():
        rows = records.of(agent)
        steps, half_width = mean_and_half_width(row["steps"] for row in rows)
        median_difference, p, share_less = compare_paired(records, agent, "hold_still", "steps")
        steps_made = sum(row["made"] for row in rows)
        numbers = {
            "episodes": len(rows),
            "success": float(np.mean([row["success"] for row in rows])),
            "steps": steps,
            "steps_ci": half_width,
            "median_steps": float(np.median([row["steps"] for row in rows])),
            "inner": sum(row["corrections"] for row in rows) / steps_made,
            "milliseconds": sum(row["milliseconds"] for row in rows) / steps_made,
            "steps_less": median_difference,
            "steps_p": p,
            "steps_wins": share_less,
        }
        metrics |= {f"{agent}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                agent,
                f"{numbers['success']:.3f}",
                f"{steps:.1f} +- {half_width:.1f}",
                f"{numbers['median_steps']:.0f}",
                f"{median_difference:+.0f} (p = {p:.1g})" if agent != "hold_still" else "-",
                f"{numbers['inner']:.2f}",
                f"{numbers['milliseconds']:.2f}",
            ]
        )
    for reference in ("policy", "glide"):
        metrics[f"policy_gated.steps_p_{reference}"] = compare_paired(records, "policy_gated", reference, "steps")[1]
    table = table_of(
        ["agent", "success", "steps", "median", "median difference from hold_still's", "mean K", "ms a step"], body
    )
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"peptide policy, {split} split")
