"""The learned controller on bent loops of the test split: predictor and corrector, alone and together.

An episode is a loop of 8 or 12 residues of a packed test chain, bent closed by 2-5 A, its side chains riding along.
Every agent streams the same number of steps from there.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.bench.common.records import Records, gather, mean_and_half_width, table_of, write_summary
from geofold.bench.models.side_chain_packer import severe_overlaps
from geofold.core.backbone import HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate, ThresholdGate
from geofold.errors import GeofoldError, OptionError
from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.loop_denoiser.training import coverage, predict_increments
from geofold.learn.pretrained import shipped_gate
from geofold.learn.weights import data_hash
from geofold.modelling.controllers import GUIDED_SWEEPS, loop_controller
from geofold.molecule.datasets.bent_loops import BentLoop, choose_loops, domain_with_features, perturb_structure
from geofold.molecule.datasets.loop_windows import loop_windows
from geofold.molecule.datasets.packed_chains import PackedChains, packed_structure, read_packed
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.detection import bad_stretches, trouble_of
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.loop.predictor import LoopPredictor
from geofold.molecule.structure import Structure

EPISODES, QUICK_EPISODES = 300, 6
WORKERS = 2
SCANNED = 100
MOST = 350
"""Residues of a chain, for OpenMM's sake."""
NEARBY = 3
"""Residues whose difficulty is told together."""
COVERED = 0.5
"""Share of a bent loop that a stretch has to hold to count as having found it."""
AGENTS = ("predictor", "hold_still", "trained", "trained_waiting", "trained_gated")
DEPTH = 2
"""K of the agents of uniform depth."""
SHUT, TINY = 1e12, 1e-12
"""A loss that is never reached, and a gain that always is."""


def agents(domain: LoopDomain, seed: int) -> dict[str, Controller]:
    """Controllers by name; they differ in predictor and gate alone.

    The predictor moves for the first sweeps. One corrects at every step, one at every step from when the predictor
    rests, and the gate of the last has learned when corrections pay.
    """

    def parts(gate: Gate) -> Controller:
        return loop_controller(domain, gate, seed=seed)

    assert domain.sense is not None
    alone = LoopPredictor(shipped_loop_model()[0], domain.sense.hinge)
    return {
        "predictor": replace(parts(ThresholdGate(SHUT, largest=1)), backbone=alone),
        "hold_still": replace(parts(FixedGate(DEPTH)), backbone=HoldStill()),
        "trained": parts(FixedGate(DEPTH)),
        "trained_waiting": parts(ThresholdGate(0.0, first=TINY, largest=DEPTH, still=0.0)),
        "trained_gated": parts(shipped_gate()),
    }


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Calibration, whole proteins, and the loops; a quick or limited run looks at the validation split.

    Raises
    ------
    OptionError
        Without data.
    """
    data = required(data, "controller")
    began = time.time()
    records = Records(out)
    chains, packed = read_both(data)
    split = "valid" if quick or limit is not None else "test"
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    if not records.has("calibration", split):
        loops = loop_windows(chains, packed, split)
        said, missing = predict_increments(shipped_loop_model()[0], loops)
        inside = coverage(said, missing)
        records.add("calibration", split, coverage_68=inside[0], coverage_95=inside[1], increments=len(missing))
    for episode in choose_loops(chains, packed, split, SCANNED if count == EPISODES else count, seed=13, most=MOST):
        if not records.has(episode.name, "scan"):
            records.add(episode.name, "scan", **scanned(chains, packed, episode))
    every = choose_loops(chains, packed, split, count, most=MOST)
    left = [(data, episode, seed) for episode in every if not records.has(episode.name, "done")]
    gather(records, "loops", played, left, WORKERS)
    summarise(records, split, quick=quick or limit is not None, began=began)


def scanned(chains: Chains, packed: PackedChains, episode: BentLoop) -> dict[str, Any]:
    """What is found in a whole protein, bent and as it is, with no range given."""
    native = packed_structure(chains, packed, episode.chain)
    try:
        bent = perturb_structure(native, episode)
    except GeofoldError as error:
        return {"left_out": str(error)}
    model, card = shipped_loop_model()
    whole = [(0, len(native.residues) - 1)]
    one, other = (trouble_of(structure, whole, model) for structure in (bent, native))
    found, none = (bad_stretches(told, whole, float(card["trouble"])) for told in (one, other))
    loop = np.arange(episode.first, episode.last + 1)
    covered = [np.isin(loop, np.arange(a, b + 1)).mean() for a, b in found]
    known = np.isfinite(one.difficulty(NEARBY))
    inside = np.isin(np.arange(len(known)), loop)
    told = one.difficulty(NEARBY)
    spent = corrections(bent, found)
    return {
        "found": bool(found and max(covered) >= COVERED), "elsewhere": int(sum(share == 0 for share in covered)),
        "quiet": not none, "spent_inside": float(spent[inside].mean()), "spent_outside": float(spent[~inside].mean()),
        "inside": np.round(told[inside & known], 3).tolist(),
        "outside": np.round(told[~inside & known], 3).tolist(),
    }  # fmt: skip


def corrections(structure: Structure, found: list[tuple[int, int]], seed: int = 0) -> np.ndarray:
    """Corrections (N,) a sweep at each residue while what was found is streamed over; zero elsewhere."""
    spent = np.zeros(len(structure.residues))
    for first, last in found:
        domain = domain_with_features(structure, first, last)
        parts = loop_controller(domain, shipped_gate(), seed=seed)
        state = parts.init(domain, domain.start(structure.xyz))
        for _ in range(GUIDED_SWEEPS * domain.length):
            residue = first + state.domain.cursor
            state, info = parts.step(domain, state, domain.goal)
            spent[residue] += int(info.inner_steps[0])
        xyz = structure.xyz.copy()
        xyz[domain.fold.kin.atoms.numpy()] = state.domain.fold.xyz[0].numpy()
        structure = replace(structure, xyz=xyz)
    return spent / GUIDED_SWEEPS


def required(data: str | None, part: str) -> str:
    """The folder of data that a part needs.

    Raises
    ------
    OptionError
        Without it.
    """
    if data is None:
        raise OptionError(
            f"part {part} without --data", "the folder of backbones.npz and packed.npz (geofold data pack)",
            "add --data FOLDER",
        )  # fmt: skip
    return data


@cache
def read_both(folder: str) -> tuple[Chains, PackedChains]:
    """Chains and their side chains of a folder of backbones.npz and packed.npz."""
    file = Path(folder) / "backbones.npz"
    packed = Path(folder) / "packed.npz"
    return read_chains(file), read_packed(packed, data_hash(file))


def played(data: str, episode: BentLoop, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Records of one episode: each agent's, and one that says it is done."""
    torch.set_num_threads(1)
    chains, packed = read_both(data)
    native = packed_structure(chains, packed, episode.chain)
    first, last = episode.first, episode.last
    try:
        start = perturb_structure(native, episode)
    except GeofoldError as error:
        return [(episode.name, "done", {"left_out": str(error)})]
    bent, domain = start.xyz, domain_with_features(start, first, last)
    model = EnergyModel.of(native, domain.tree.steering, seed=seed)
    found = []

    def judge(agent: str, xyz: np.ndarray, **more: Any) -> None:
        numbers = {
            "rmsd": backbone_rmsd(native, first, last, xyz, native.xyz), "energy": model.energy(xyz),
            "overlaps": severe_overlaps(replace(native, xyz=xyz)), **more,
        }  # fmt: skip
        found.append((episode.name, agent, numbers))

    judge("native", native.xyz)
    judge("start", bent)
    atoms = domain.fold.kin.atoms.numpy()
    for agent, parts in agents(domain, seed).items():
        state, spent, took = parts.init(domain, domain.start(bent)), 0, []
        for _ in range(GUIDED_SWEEPS * domain.length):
            state, info = parts.step(domain, state, domain.goal)
            spent += int(info.inner_steps[0])
            took.append(info.milliseconds)
        xyz = bent.copy()
        xyz[atoms] = state.domain.fold.xyz[0].numpy()
        loss = float(domain.worth(state.domain)[0])
        judge(agent, xyz, loss=loss, inner=spent / len(took), milliseconds=float(np.median(took)))
    return [*found, (episode.name, "done", {})]


def paired(records: Records, one: str, other: str, key: str) -> tuple[float, float, float]:
    """Median difference of a number between two agents, its p (Wilcoxon), and the share of episodes with less."""
    from scipy.stats import wilcoxon

    rows = {row["episode"]: row[key] for row in records.of(other)}
    apart = np.array([row[key] - rows[row["episode"]] for row in records.of(one)])
    p = float(wilcoxon(apart).pvalue) if np.any(apart) else 1.0
    return float(np.median(apart)), p, float((apart < 0).mean())


def auc(above: list[float], below: list[float]) -> float:
    """Share of pairs in which the first is higher."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(above, below).statistic / (len(above) * len(below)))


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Table and summary."""
    inside = next(row for row in records.rows if row["episode"] == "calibration")
    metrics = {"calibration.coverage_68": inside["coverage_68"], "calibration.coverage_95": inside["coverage_95"]}
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
            "median_rmsd": float(np.median(rmsd)), "mean_rmsd": mean_and_half_width(rmsd)[0],
            "mean_rmsd_ci": mean_and_half_width(rmsd)[1], "median_energy": float(np.median(energy)),
            "overlaps": float(np.mean([row["overlaps"] for row in rows])),
        }  # fmt: skip
        if agent in AGENTS:
            numbers |= {key: float(np.mean([row[key] for row in rows])) for key in ("inner", "milliseconds")}
            numbers["median_loss"] = float(np.median([row["loss"] for row in rows]))
        metrics |= {f"{agent}.{key}": value for key, value in numbers.items()}
        columns = ("median_rmsd", "mean_rmsd", "median_energy", "overlaps", "median_loss", "inner", "milliseconds")
        body.append([agent, *(f"{numbers[key]:.2f}" if key in numbers else "" for key in columns)])
    for one in ("predictor", "trained", "trained_gated"):
        for key in ("rmsd", "energy"):
            apart, p, less = paired(records, one, "hold_still", key)
            metrics |= {f"{one}.{key}_less": apart, f"{one}.{key}_p": p, f"{one}.{key}_wins": less}
    for other in ("trained", "trained_waiting"):
        # what the gate saves counts only beside the energy that it reaches
        for key in ("rmsd", "energy"):
            apart, p, _ = paired(records, "trained_gated", other, key)
            metrics |= {f"trained_gated.{key}_less_than_{other}": apart, f"trained_gated.{key}_p_{other}": p}
        if metrics[f"{other}.inner"] > 0:
            metrics[f"trained_gated.compute_over_{other}"] = metrics["trained_gated.inner"] / metrics[f"{other}.inner"]
    metrics["episodes"] = float(len(records.of("native")))
    table = table_of(["agent", "median RMSD (A)", "mean RMSD (A)", "median energy (kJ/mol)", "severe overlaps",
                      "median loss", "mean K", "ms a step"], body)  # fmt: skip
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"controller, {split} split")
