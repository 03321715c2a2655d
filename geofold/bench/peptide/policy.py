"""The peptide policy on the test episodes: alone, corrected, and gated, beside predictors that were not trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from rich.progress import track

from geofold.bench.common.records import Records, mean_and_half_width, table_of, write_summary
from geofold.bench.models.loop_controller import paired
from geofold.bench.peptide.episodes import TEST_SEED, TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import LIMIT
from geofold.core.backbone import Glide
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
from geofold.molecule.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain

EPISODES, QUICK = 256, 16
TRAINED, STILL = PREDICTORS
CALIBRATED = "densities"
DEMONSTRATED, FRESH = 24, 1_000_000
"""Peptides whose demonstrations the policy's densities are held against, and the number of the first of them."""


def _changed(**parts: Any) -> Callable[[RunOptions, PeptideDomain], Controller]:
    return lambda options, domain: replace(controller(options, domain), **parts)


def agents() -> dict[str, tuple[str, Parts]]:
    """Predictor option and parts by name; all but the named parts are those that ship."""
    return {
        "hold_still": (STILL, controller),
        "glide": (STILL, _changed(backbone=Glide(KEEP))),
        "policy_alone": (TRAINED, _changed(gate=FixedGate(0))),
        "policy": (TRAINED, _changed(gate=plain_gate())),
        "policy_gated": (TRAINED, controller),
        "policy_euclidean": (TRAINED, _changed(metric=EuclideanMetric())),
        "policy_learned_metric": (TRAINED, _learned),
    }


def _learned(options: RunOptions, domain: PeptideDomain) -> Controller:
    # G_psi knows latents of one length; the few peptides with more torsions keep the pullback
    parts, metric = controller(options, domain), shipped_metric()
    fits = 2 * domain.latent_dim == metric.hidden_weight.shape[1]
    return replace(parts, metric=metric) if fits else parts


def run(out: str, *, quick: bool, limit: int | None, seed: int) -> None:
    """Every agent on every episode, in turn; a quick or limited run looks at the tuning episodes."""
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    chosen = episodes(limit or (QUICK if quick else EPISODES), seed=TUNING_SEED if tuning else TEST_SEED)
    if not records.has("calibration", CALIBRATED):
        records.add("calibration", CALIBRATED, **calibration(2 if tuning else DEMONSTRATED))
    for episode in track(chosen, description="peptide policy"):
        for name, (predictor, parts) in agents().items():
            if not records.has(episode.name, name):
                records.add(episode.name, name, **_numbers(episode, predictor, parts, seed))
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def calibration(count: int) -> dict[str, float]:
    """Shares of what demonstrations with new peptides still miss that lie in the policy's 68 % and 95 % regions."""
    demos = [demo for k in range(count) for demo in solve_contacts(FRESH + k)]
    said, missing = predict_increments(
        shipped_policy()[0], [make_demonstration(demo, seed=FRESH + k) for k, demo in enumerate(demos)]
    )
    inside = coverage(said, missing)
    return {"coverage_68": inside[0], "coverage_95": inside[1], "increments": len(missing)}


def _numbers(episode: Episode, predictor: str, parts: Parts, seed: int) -> dict[str, Any]:
    structure = peptide(episode.sequence)
    options = RunOptions(seed=seed, steps=LIMIT, energy=False, predictor=predictor)
    contact = parse_contact(structure, episode.contact)
    move = constrain_peptide(structure, 0, len(structure.residues) - 1, (contact,), options, parts_for=parts)
    done = move.status == "done"
    return {
        "success": done, "steps": len(move.trace) - HELD + 1 if done else LIMIT, "made": len(move.trace),
        "corrections": sum(move.trace), "milliseconds": sum(move.milliseconds),
    }  # fmt: skip


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Table and summary."""
    inside = records.of(CALIBRATED)[0]
    metrics = {f"calibration.{key}": inside[key] for key in ("coverage_68", "coverage_95", "increments")}
    body = []
    for agent in agents():
        rows = records.of(agent)
        steps, half = mean_and_half_width(row["steps"] for row in rows)
        apart, p, less = paired(records, agent, "hold_still", "steps")
        made = sum(row["made"] for row in rows)
        numbers = {
            "episodes": len(rows), "success": float(np.mean([row["success"] for row in rows])), "steps": steps,
            "steps_ci": half, "median_steps": float(np.median([row["steps"] for row in rows])),
            "inner": sum(row["corrections"] for row in rows) / made,
            "milliseconds": sum(row["milliseconds"] for row in rows) / made,
            "steps_less": apart, "steps_p": p, "steps_wins": less,
        }  # fmt: skip
        metrics |= {f"{agent}.{key}": float(value) for key, value in numbers.items()}
        body.append([
            agent, f"{numbers['success']:.3f}", f"{steps:.1f} +- {half:.1f}", f"{numbers['median_steps']:.0f}",
            f"{apart:+.0f} (p = {p:.1g})" if agent != "hold_still" else "-", f"{numbers['inner']:.2f}",
            f"{numbers['milliseconds']:.2f}",
        ])  # fmt: skip
    for other in ("policy", "glide"):
        metrics[f"policy_gated.steps_p_{other}"] = paired(records, "policy_gated", other, "steps")[1]
    table = table_of(
        ["agent", "success", "steps", "median", "median difference from hold_still's", "mean K", "ms a step"], body
    )
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"peptide policy, {split} split")
