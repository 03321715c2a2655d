"""Loop models with reference backbones, compared with the elastic one (ESM, Table 1, protein half).

Every agent makes the same number of steps on the same bent loops of the test split: a plain SSM, a Transformer with a
window and an SSM with windowed attention, each trained as the loop model and used without corrections, and the shipped
loop model with corrections at every step, or when its gate opens (ESM). Energies are those of the final loop, and after
OpenMM's minimisation of the loop with everything else fixed (also of the native), since predictors alone end in
overlaps, which dominate all else. Operations are those of whole steps, corrections and kinematics included.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from geofold import resources
from geofold.bench.common.data import read_chains_and_side_chains, require_data, require_weights
from geofold.bench.common.flops import OperationCounter
from geofold.bench.common.openmm_min import minimise_loop
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width, wilcoxon_p
from geofold.bench.models.loop_controller import ALWAYS_GAINS, NEVER_OPEN, UNIFORM_DEPTH
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.errors import GeofoldError
from geofold.learn.loop_denoiser.model import LoopModel, load_loop
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import GUIDED_SWEEPS, loop_controller
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.datasets.bent_loops import PerturbedLoop, choose_loops, domain_with_features, perturb_structure
from geofold.molecule.datasets.packed_chains import packed_structure
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.loop.predictor import LoopPredictor

RIVALS = {"ssm": "s4d", "transformer": "transformer_window", "ssm_attention": "selective_window"}
"""Backbones by their names in the table; the weights are `rivals/loop_<backbone>.safetensors`."""
CORRECTED_AGENTS = ("esm_uniform", "esm")
AGENTS = (*RIVALS, *CORRECTED_AGENTS)
EPISODES, QUICK_EPISODES = 100, 4
MAX_RESIDUES = 250
LOOP_SEED = 19
"""Seed of the loops, which differ from those of `loop_controller`."""
COUNTED_EPISODES = 12
"""Number of episodes for which operations are counted."""
WORKERS = 2


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Run every agent on every loop; a small run takes the validation split.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of `backbones.npz` and `packed.npz`.
    quick : bool
        Run four loops.
    limit : int or None
        Number of loops.
    seed : int
        Seed of the streams.

    Raises
    ------
    OptionError
        If there is no data, or the weights of a rival are missing.
    """
    data = require_data(data, "part esm")
    for kind in RIVALS.values():
        require_weights(f"loop_{kind}.safetensors", f"geofold train loop --backbone {kind}")
    began = time.time()
    records = Records(out)
    chains, packed = read_chains_and_side_chains(data)
    split = "valid" if quick or limit is not None else "test"
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    selected = choose_loops(chains, packed, split, count, seed=LOOP_SEED, max_residues=MAX_RESIDUES)
    jobs = [(data, episode, seed) for episode in selected if not records.has(episode.name, "done")]
    gather(records, "loops", run_episode, jobs, WORKERS)
    summarise(records, split, quick=quick or limit is not None, began=began)


@cache
def load_rival(kind: str) -> LoopModel:
    """Load the loop model of a rival backbone."""
    return load_loop(resources.find("rivals", f"loop_{kind}.safetensors"))[0]


def make_controller(agent: str, domain: LoopDomain, seed: int) -> Controller:
    """Make the controller of an agent."""
    assert domain.features is not None
    if agent in RIVALS:
        alone = loop_controller(domain, ThresholdGate(NEVER_OPEN, largest=1), seed=seed)
        return replace(alone, backbone=LoopPredictor(load_rival(RIVALS[agent]), domain.features.torsion_index))
    gate = (
        shipped_gate()
        if agent == "esm"
        else ThresholdGate(0.0, first=ALWAYS_GAINS, largest=UNIFORM_DEPTH, max_motion=0.0)
    )
    return loop_controller(domain, gate, seed=seed)


def run_episode(data: str, episode: PerturbedLoop, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Run all agents on an episode; the last record marks the episode as done."""
    native = packed_structure(*read_chains_and_side_chains(data), episode.chain)
    first, last = episode.first, episode.last
    try:
        start = perturb_structure(native, episode)
    except GeofoldError as error:
        return [(episode.name, "done", {"left_out": str(error)})]
    domain = domain_with_features(start, first, last)
    model = EnergyModel.of(native, domain.tree.conformer, seed=seed)
    atoms = domain.decoder.kinematics.atoms.numpy()

    def evaluate(xyz: np.ndarray) -> dict[str, float]:
        minimised = minimise_loop(replace(native, xyz=xyz), first, last, seed=seed)
        return {
            "energy": model.energy(xyz),
            "minimised": model.energy(minimised.xyz),
            "rmsd": backbone_rmsd(native, first, last, xyz, native.xyz),
            "overlaps": float(count_severe_overlaps(replace(native, xyz=xyz))),
        }

    rows = [(episode.name, "native", evaluate(native.xyz)), (episode.name, "start", evaluate(start.xyz))]
    for agent in AGENTS:
        xyz, numbers = _run_agent(agent, domain, start.xyz, atoms, seed, count=episode.number < COUNTED_EPISODES)
        rows.append((episode.name, agent, evaluate(xyz) | numbers))
    return [*rows, (episode.name, "done", {})]


def _run_agent(
    agent: str, domain: LoopDomain, start: np.ndarray, atoms: np.ndarray, seed: int, *, count: bool
) -> tuple[np.ndarray, dict[str, float]]:
    """Run an agent; returns final coordinates, and mean K with milliseconds or (if `count`) operations per step."""
    controller = make_controller(agent, domain, seed)
    state, corrections, milliseconds = controller.init(domain, domain.start(start)), 0, []
    counter = OperationCounter()
    for _ in range(GUIDED_SWEEPS * domain.length):
        if count:
            with counter:
                state, info = controller.step(domain, state, domain.goal)
        else:
            state, info = controller.step(domain, state, domain.goal)
        corrections += int(info.inner_steps[0])
        milliseconds.append(info.milliseconds)
    xyz = start.copy()
    xyz[atoms] = state.domain.conformation.xyz[0].numpy()
    # counting slows a step down
    cost = (
        {"operations": counter.total / len(milliseconds)} if count else {"milliseconds": float(np.median(milliseconds))}
    )
    return xyz, {"inner": corrections / len(milliseconds), **cost}


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Write table and summary; residual energies are above the native, relative to the plain SSM.

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
    native = {row["episode"]: row for row in records.of("native")}
    residual = {
        (agent, key): np.array([row[key] - native[row["episode"]][key] for row in records.of(agent)])
        for agent in ("start", *AGENTS)
        for key in ("energy", "minimised")
    }
    metrics: dict[str, float] = {"episodes": float(len(native))}
    body = []
    for agent in ("start", *AGENTS):
        rows = records.of(agent)
        numbers = {key: float(np.median(residual[agent, key])) for key in ("energy", "minimised")}
        numbers["minimised_mean"], numbers["minimised_ci"] = mean_and_half_width(residual[agent, "minimised"])
        numbers |= {
            "median_rmsd": float(np.median([r["rmsd"] for r in rows])),
            "overlaps": float(np.mean([r["overlaps"] for r in rows])),
        }
        for key in ("inner", "operations", "milliseconds"):
            values = [row[key] for row in rows if key in row]
            if values:
                numbers[key] = float(np.mean(values))
        metrics |= {f"{agent}.{key}": value for key, value in numbers.items()}
        cost = [f"{numbers[key]:.{digits}f}" if key in numbers else "" for key, digits in COLUMNS.items()]
        body.append([agent, *cost])
    for key, name in (("minimised", "protein_energy"), ("energy", "protein_energy_as_it_ends")):
        for agent in AGENTS:
            metrics[f"{agent}.{name}"] = metrics[f"{agent}.{key}"] / metrics[f"ssm.{key}"]
    for reference in (*RIVALS, "esm_uniform"):
        differences = residual["esm", "minimised"] - residual[reference, "minimised"]
        metrics[f"esm.minimised_less_{reference}"] = float(np.median(differences))
        metrics[f"esm.minimised_p_{reference}"] = wilcoxon_p(differences)
    if "transformer.operations" in metrics:
        for agent in AGENTS:
            metrics[f"{agent}.protein_compute"] = metrics[f"{agent}.operations"] / metrics["transformer.operations"]
    table = table_of(
        [
            "agent",
            "residual energy as it ends (kJ/mol, median)",
            "minimised (median)",
            "minimised (mean)",
            "median RMSD (A)",
            "severe overlaps",
            "mean K",
            "operations a step",
            "ms a step",
        ],
        body,
    )
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"esm, {split} split")


COLUMNS = {
    "energy": 0,
    "minimised": 0,
    "minimised_mean": 0,
    "median_rmsd": 2,
    "overlaps": 1,
    "inner": 2,
    "operations": 0,
    "milliseconds": 2,
}
