"""The learned controller on bent loops of the test split: predictor and corrector, alone and together.

An episode is a loop of 8 or 12 residues of a packed test chain, bent by 2-5 A with its ends closed; side chains move
rigidly with it. Every agent makes the same number of steps.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.bench.common.data import read_chains_and_side_chains, require_data
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import auc, compare_paired, mean_and_half_width
from geofold.bench.models.loop_stream import run_stream
from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate, ThresholdGate
from geofold.errors import GeofoldError
from geofold.learn.data.chains import Chains
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.loop_denoiser.training import coverage, predict_increments
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import GUIDED_SWEEPS, loop_controller
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.datasets.bent_loops import PerturbedLoop, choose_loops, domain_with_features, perturb_structure
from geofold.molecule.datasets.loop_windows import loop_windows
from geofold.molecule.datasets.packed_chains import PackedChains, packed_structure
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.detection import find_anomalous_segments, score_anomalies
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.loop.predictor import LoopPredictor
from geofold.molecule.structure import Structure

EPISODES, QUICK_EPISODES = 300, 6
WORKERS = 2
SCANNED_PROTEINS = 100
MAX_RESIDUES = 350
"""Maximum number of residues of a chain, which limits the cost of OpenMM."""
DIFFICULTY_WINDOW = 3
"""Window (residues) over which the difficulty is averaged."""
MIN_COVERAGE = 0.5
"""Fraction of a bent loop that a detected segment must cover."""
AGENTS = ("predictor", "hold_still", "trained", "trained_waiting", "trained_gated")
UNIFORM_DEPTH = 2
"""Number of corrections K of the agents with a fixed gate."""
NEVER_OPEN, ALWAYS_GAINS = 1e12, 1e-12
"""A loss that is never exceeded, and a gain that always is."""


def make_agents(domain: LoopDomain, seed: int) -> dict[str, Controller]:
    """Make controllers by name; they differ in predictor and gate only.

    The predictor moves during the first sweeps. `trained` corrects at every step, `trained_waiting` at every step after
    the predictor has stopped, `trained_gated` when the learned gate opens.
    """

    def make_controller(gate: Gate) -> Controller:
        return loop_controller(domain, gate, seed=seed)

    assert domain.features is not None
    alone = LoopPredictor(shipped_loop_model()[0], domain.features.torsion_index)
    return {
        "predictor": replace(make_controller(ThresholdGate(NEVER_OPEN, largest=1)), backbone=alone),
        "hold_still": replace(make_controller(FixedGate(UNIFORM_DEPTH)), backbone=NoMotion()),
        "trained": make_controller(FixedGate(UNIFORM_DEPTH)),
        "trained_waiting": make_controller(
            ThresholdGate(0.0, first=ALWAYS_GAINS, largest=UNIFORM_DEPTH, max_motion=0.0)
        ),
        "trained_gated": make_controller(shipped_gate()),
    }


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Measure calibration, detection in whole proteins, and the loops; a small run takes the validation split.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of `backbones.npz` and `packed.npz`.
    quick : bool
        Run six episodes.
    limit : int or None
        Number of episodes.
    seed : int
        Seed of the streams.

    Raises
    ------
    OptionError
        If there is no data.
    """
    data = require_data(data, "part controller")
    began = time.time()
    records = Records(out)
    chains, packed = read_chains_and_side_chains(data)
    split = "valid" if quick or limit is not None else "test"
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    if not records.has("calibration", split):
        loops = loop_windows(chains, packed, split)
        predicted, missing = predict_increments(shipped_loop_model()[0], loops)
        coverages = coverage(predicted, missing)
        records.add("calibration", split, coverage_68=coverages[0], coverage_95=coverages[1], increments=len(missing))
    for episode in choose_loops(
        chains, packed, split, SCANNED_PROTEINS if count == EPISODES else count, seed=13, max_residues=MAX_RESIDUES
    ):
        if not records.has(episode.name, "scan"):
            records.add(episode.name, "scan", **scan_protein(chains, packed, episode))
    selected = choose_loops(chains, packed, split, count, max_residues=MAX_RESIDUES)
    jobs = [(data, episode, seed) for episode in selected if not records.has(episode.name, "done")]
    gather(records, "loops", run_episode, jobs, WORKERS)
    summarise(records, split, quick=quick or limit is not None, began=began)


def scan_protein(chains: Chains, packed: PackedChains, episode: PerturbedLoop) -> dict[str, Any]:
    """Detect loops in a whole protein, bent and native, without a given range."""
    native = packed_structure(chains, packed, episode.chain)
    try:
        bent = perturb_structure(native, episode)
    except GeofoldError as error:
        return {"left_out": str(error)}
    model, card = shipped_loop_model()
    full_range = [(0, len(native.residues) - 1)]
    bent_score, native_score = (score_anomalies(structure, full_range, model) for structure in (bent, native))
    segments, false_segments = (
        find_anomalous_segments(score, full_range, float(card["trouble"])) for score in (bent_score, native_score)
    )
    loop = np.arange(episode.first, episode.last + 1)
    covered_shares = [np.isin(loop, np.arange(a, b + 1)).mean() for a, b in segments]
    is_known = np.isfinite(bent_score.difficulty(DIFFICULTY_WINDOW))
    in_loop = np.isin(np.arange(len(is_known)), loop)
    difficulty = bent_score.difficulty(DIFFICULTY_WINDOW)
    corrections = count_corrections(bent, segments)
    return {
        "found": bool(segments and max(covered_shares) >= MIN_COVERAGE),
        "elsewhere": int(sum(share == 0 for share in covered_shares)),
        "quiet": not false_segments,
        "spent_inside": float(corrections[in_loop].mean()),
        "spent_outside": float(corrections[~in_loop].mean()),
        "inside": np.round(difficulty[in_loop & is_known], 3).tolist(),
        "outside": np.round(difficulty[~in_loop & is_known], 3).tolist(),
    }


def count_corrections(structure: Structure, segments: list[tuple[int, int]], seed: int = 0) -> np.ndarray:
    """Corrections (N,) per sweep at each residue while the detected segments are streamed; zero elsewhere."""
    corrections = np.zeros(len(structure.residues))
    for first, last in segments:
        domain = domain_with_features(structure, first, last)
        controller = loop_controller(domain, shipped_gate(), seed=seed)
        state = controller.init(domain, domain.start(structure.xyz))
        for _ in range(GUIDED_SWEEPS * domain.length):
            residue = first + state.domain.cursor
            state, info = controller.step(domain, state, domain.goal)
            corrections[residue] += int(info.inner_steps[0])
        xyz = structure.xyz.copy()
        xyz[domain.decoder.kinematics.atoms.numpy()] = state.domain.conformation.xyz[0].numpy()
        structure = replace(structure, xyz=xyz)
    return corrections / GUIDED_SWEEPS


def run_episode(data: str, episode: PerturbedLoop, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Run all agents on an episode; the last record marks the episode as done."""
    chains, packed = read_chains_and_side_chains(data)
    native = packed_structure(chains, packed, episode.chain)
    first, last = episode.first, episode.last
    try:
        start = perturb_structure(native, episode)
    except GeofoldError as error:
        return [(episode.name, "done", {"left_out": str(error)})]
    bent, domain = start.xyz, domain_with_features(start, first, last)
    model = EnergyModel.of(native, domain.tree.conformer, seed=seed)
    rows = []

    def add_record(agent: str, xyz: np.ndarray, cost: dict[str, Any] | None = None) -> None:
        numbers = {
            "rmsd": backbone_rmsd(native, first, last, xyz, native.xyz),
            "energy": model.energy(xyz),
            "overlaps": count_severe_overlaps(replace(native, xyz=xyz)),
            **(cost or {}),
        }
        rows.append((episode.name, agent, numbers))

    add_record("native", native.xyz)
    add_record("start", bent)
    for agent, controller in make_agents(domain, seed).items():
        add_record(agent, *run_stream(domain, controller, bent))
    return [*rows, (episode.name, "done", {})]


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
    calibration = next(row for row in records.rows if row["episode"] == "calibration")
    metrics = {
        "calibration.coverage_68": calibration["coverage_68"],
        "calibration.coverage_95": calibration["coverage_95"],
    }
    scans = [row for row in records.of("scan") if "left_out" not in row]
    metrics["auto.found"] = float(np.mean([row["found"] for row in scans]))
    metrics["auto.quiet"] = float(np.mean([row["quiet"] for row in scans]))
    metrics["auto.elsewhere"] = float(np.mean([row["elsewhere"] > 0 for row in scans]))
    metrics["auto.auc"] = auc([x for row in scans for x in row["inside"]], [x for r in scans for x in r["outside"]])
    for place in ("inside", "outside"):
        metrics[f"auto.mean_k_{place}"] = float(np.mean([row[f"spent_{place}"] for row in scans]))
    metrics["auto.proteins"] = float(len(scans))
    body = []
    for agent in ("native", "start", *AGENTS):
        rows = records.of(agent)
        rmsd, energy = [row["rmsd"] for row in rows], [row["energy"] for row in rows]
        numbers = {
            "median_rmsd": float(np.median(rmsd)),
            "mean_rmsd": mean_and_half_width(rmsd)[0],
            "mean_rmsd_ci": mean_and_half_width(rmsd)[1],
            "median_energy": float(np.median(energy)),
            "overlaps": float(np.mean([row["overlaps"] for row in rows])),
        }
        if agent in AGENTS:
            numbers |= {key: float(np.mean([row[key] for row in rows])) for key in ("inner", "milliseconds")}
            numbers["median_loss"] = float(np.median([row["loss"] for row in rows]))
        metrics |= {f"{agent}.{key}": value for key, value in numbers.items()}
        columns = ("median_rmsd", "mean_rmsd", "median_energy", "overlaps", "median_loss", "inner", "milliseconds")
        body.append([agent, *(f"{numbers[key]:.2f}" if key in numbers else "" for key in columns)])
    metrics |= _compare_agents(records, metrics)
    metrics["episodes"] = float(len(records.of("native")))
    table = table_of(
        [
            "agent",
            "median RMSD (A)",
            "mean RMSD (A)",
            "median energy (kJ/mol)",
            "severe overlaps",
            "median loss",
            "mean K",
            "ms a step",
        ],
        body,
    )
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"controller, {split} split")


def _compare_agents(records: Records, metrics: dict[str, float]) -> dict[str, float]:
    """Paired comparisons with corrections alone, and of the gated agent with the other ones."""
    compared: dict[str, float] = {}
    for agent in ("predictor", "trained", "trained_gated"):
        for key in ("rmsd", "energy"):
            difference, p, share_less = compare_paired(records, agent, "hold_still", key)
            compared |= {f"{agent}.{key}_less": difference, f"{agent}.{key}_p": p, f"{agent}.{key}_wins": share_less}
    for reference in ("trained", "trained_waiting"):
        # corrections saved by the gate are compared together with the energy it reaches
        for key in ("rmsd", "energy"):
            difference, p, _ = compare_paired(records, "trained_gated", reference, key)
            compared |= {
                f"trained_gated.{key}_less_than_{reference}": difference,
                f"trained_gated.{key}_p_{reference}": p,
            }
        if metrics[f"{reference}.inner"] > 0:
            compared[f"trained_gated.compute_over_{reference}"] = (
                metrics["trained_gated.inner"] / metrics[f"{reference}.inner"]
            )
    return compared
