"""Prediction and correction in one step, on the loop model's own latent, against one after the other on increments.

Loops as in `geofold.bench.models.loop_controller`, of the validation split. Nothing here was tuned on them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from geofold import resources
from geofold.bench.common.data import read_chains_and_side_chains, require_data
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import compare_paired
from geofold.bench.models.loop_controller import MAX_RESIDUES, UNIFORM_DEPTH
from geofold.bench.models.loop_stream import run_stream
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate, ThresholdGate
from geofold.core.metric import EuclideanMetric
from geofold.core.pullback import Pullback
from geofold.errors import GeofoldError
from geofold.learn.loop_denoiser.model import LATENT_WEIGHTS, LoopModel, load_loop, shipped_loop_model
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import TOLERANCE, controller_of, loop_controller
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.datasets.bent_loops import PerturbedLoop, choose_loops, domain_with_features, perturb_structure
from geofold.molecule.datasets.packed_chains import packed_structure
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.latent import LoopLatentPredictor
from geofold.molecule.loop.perturbation import backbone_rmsd

EPISODES, QUICK_EPISODES = 60, 4
WORKERS = 2
AGENTS = {
    "one_after_other": "increments; corrections by the learned gate, once the model rests (ships)",
    "increments": "increments, two corrections at every step while the model predicts",
    "latent_alone": "the model alone",
    "latent": "its latent, two corrections at every step; its state does not receive them",
    "latent_gated": "the same where the loss asks for it",
    "latent_first_order": "retraction of first order",
    "latent_euclidean": "Euclidean metric",
    "latent_sketch": "sketched pullback metric of rank 8",
    "latent_written": "written back into the state of the model",
    "latent_trained": "written back into a model that was trained on its own corrected streams",
}
"""Agents in the order of the table, with descriptions."""


def make_agents(domain: LoopDomain, seed: int) -> dict[str, Controller]:
    """Make the controllers of a loop by name."""

    def corrects_latent(
        model: LoopModel, gate: Gate | None = None, write_back: bool = False, **parts: Any
    ) -> Controller:
        predictor = LoopLatentPredictor(model, domain.length, write_back=write_back)
        gate = FixedGate(UNIFORM_DEPTH) if gate is None else gate
        return replace(controller_of(predictor, gate, seed=seed), **parts)

    model = shipped_loop_model()[0]
    trained = load_loop(resources.find("rivals", LATENT_WEIGHTS))[0]
    return {
        "one_after_other": loop_controller(domain, shipped_gate(), seed=seed),
        "increments": loop_controller(domain, FixedGate(UNIFORM_DEPTH), seed=seed),
        "latent_alone": corrects_latent(model, FixedGate(0)),
        "latent": corrects_latent(model),
        "latent_gated": corrects_latent(model, ThresholdGate(TOLERANCE, largest=UNIFORM_DEPTH)),
        "latent_first_order": corrects_latent(model, order=1),
        "latent_euclidean": corrects_latent(model, metric=EuclideanMetric()),
        "latent_sketch": corrects_latent(model, metric=Pullback("fisher", rank=8)),
        "latent_written": corrects_latent(model, write_back=True),
        "latent_trained": corrects_latent(trained, write_back=True),
    }


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Run all agents on loops of the validation split, and write table and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of `backbones.npz` and `packed.npz`.
    quick : bool
        Run four episodes.
    limit : int or None
        Number of episodes.
    seed : int
        Seed of the streams.

    Raises
    ------
    OptionError
        If there is no data.
    """
    data, began, records = require_data(data, "part latent"), time.time(), Records(out)
    chains, packed = read_chains_and_side_chains(data)
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    chosen = choose_loops(chains, packed, "valid", count, max_residues=MAX_RESIDUES)
    jobs = [(data, episode, seed) for episode in chosen if not records.has(episode.name, "done")]
    gather(records, "loops", run_episode, jobs, WORKERS)
    summarise(records, quick=quick or limit is not None, began=began)


def run_episode(data: str, episode: PerturbedLoop, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Run all agents on an episode; the last record marks the episode as done."""
    chains, packed = read_chains_and_side_chains(data)
    native = packed_structure(chains, packed, episode.chain)
    first, last = episode.first, episode.last
    try:
        start = perturb_structure(native, episode)
    except GeofoldError as error:
        return [(episode.name, "done", {"left_out": str(error)})]
    domain = domain_with_features(start, first, last)

    def measure(xyz: np.ndarray) -> dict[str, float]:
        return {
            "rmsd": backbone_rmsd(native, first, last, xyz, native.xyz),
            "overlaps": count_severe_overlaps(replace(native, xyz=xyz)),
        }

    rows = [(episode.name, "start", measure(start.xyz))]
    for agent, controller in make_agents(domain, seed).items():
        xyz, numbers = run_stream(domain, controller, start.xyz)
        rows.append((episode.name, agent, measure(xyz) | numbers))
    return [*rows, (episode.name, "done", {})]


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary: each agent, and pairs with `one_after_other` and `latent`."""
    metrics: dict[str, float] = {"episodes": float(len(records.of("start")))}
    body = []
    for agent in ("start", *AGENTS):
        rows = records.of(agent)
        numbers = {
            "median_rmsd": float(np.median([row["rmsd"] for row in rows])),
            "mean_rmsd": float(np.mean([row["rmsd"] for row in rows])),
            "overlaps": float(np.mean([row["overlaps"] for row in rows])),
        }
        if agent in AGENTS:
            numbers |= {"median_loss": float(np.median([row["loss"] for row in rows]))}
            numbers |= {key: float(np.mean([row[key] for row in rows])) for key in ("inner", "milliseconds")}
            for reference in ("one_after_other", "latent"):
                if agent != reference:
                    less, p, wins = compare_paired(records, agent, reference, "rmsd")
                    numbers |= {
                        f"rmsd_less_than_{reference}": less,
                        f"rmsd_p_{reference}": p,
                        f"rmsd_wins_{reference}": wins,
                    }
        metrics |= {f"{agent}.{key}": value for key, value in numbers.items()}
        shown = ("median_rmsd", "mean_rmsd", "overlaps", "median_loss", "inner", "milliseconds", "rmsd_p_latent")
        cells = (f"{numbers[key]:.2g}" if key in numbers else "" for key in shown)
        body.append([agent, AGENTS.get(agent, "bent loops"), *cells])
    header = ["agent", "what it corrects", "median RMSD (A)", "mean RMSD (A)", "severe overlaps", "median loss"]
    table = table_of([*header, "mean K", "ms a step", "p against latent"], body)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note="loop latent, valid split")
