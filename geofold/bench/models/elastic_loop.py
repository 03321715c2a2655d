"""Loop models with other backbones beside the elastic one (ESM, Table 1, the protein half).

Every agent streams the same bent loops of the test split for the same number of steps: a plain SSM, a Transformer with
a window and an SSM with windowed attention, each trained as the loop model was and proposing alone, and the loop model
that ships with corrections at every step, or where its gate says so (ESM). Energies are told of the loop as it ends,
and after OpenMM has minimised the loop amid all else held, the native likewise: a predictor alone ends in overlaps,
beside which everything else is small. Operations are those of whole steps, corrections and kinematics with them.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch

from geofold import resources
from geofold.bench.common.flops import Operations
from geofold.bench.common.openmm_min import loop_in_place
from geofold.bench.common.records import Records, gather, mean_and_half_width, table_of, write_summary
from geofold.bench.models.loop_controller import DEPTH, SHUT, TINY, read_both, required
from geofold.bench.models.side_chain_packer import severe_overlaps
from geofold.bench.peptide.train_rivals import require
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.errors import GeofoldError
from geofold.learn.loop_denoiser.model import LoopModel, load_loop
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import GUIDED_SWEEPS, loop_controller
from geofold.molecule.datasets.bent_loops import BentLoop, choose_loops, domain_with_features, perturb_structure
from geofold.molecule.datasets.packed_chains import packed_structure
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.perturbation import backbone_rmsd
from geofold.molecule.loop.predictor import LoopPredictor

RIVALS = {"ssm": "s4d", "transformer": "transformer_window", "ssm_attention": "selective_window"}
"""Backbones by the names of the table; their weights are `rivals/loop_<backbone>.safetensors`."""
OURS = ("esm_uniform", "esm")
AGENTS = (*RIVALS, *OURS)
EPISODES, QUICK = 100, 4
MOST = 250
SEED = 19
"""Of the loops: others than those of the controller's benchmark."""
COUNTED = 12
"""Episodes on which operations are counted."""
WORKERS = 2


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Every agent on every loop; a quick or limited run looks at the validation split.

    Raises
    ------
    OptionError
        Without data, or without the weights of a rival.
    """
    data = required(data, "esm")
    for kind in RIVALS.values():
        require(f"loop_{kind}.safetensors", f"geofold train loop --backbone {kind}")
    began = time.time()
    records = Records(out)
    chains, packed = read_both(data)
    split = "valid" if quick or limit is not None else "test"
    count = limit or (QUICK if quick else EPISODES)
    every = choose_loops(chains, packed, split, count, seed=SEED, most=MOST)
    left = [(data, episode, seed) for episode in every if not records.has(episode.name, "done")]
    gather(records, "loops", played, left, WORKERS)
    summarise(records, split, quick=quick or limit is not None, began=began)


@cache
def model_of(kind: str) -> LoopModel:
    """The loop model of a rival backbone."""
    return load_loop(resources.find("rivals", f"loop_{kind}.safetensors"))[0]


def parts_of(agent: str, domain: LoopDomain, seed: int) -> Controller:
    """Controller of an agent by name."""
    assert domain.sense is not None
    if agent in RIVALS:
        alone = loop_controller(domain, ThresholdGate(SHUT, largest=1), seed=seed)
        return replace(alone, backbone=LoopPredictor(model_of(RIVALS[agent]), domain.sense.hinge))
    gate = shipped_gate() if agent == "esm" else ThresholdGate(0.0, first=TINY, largest=DEPTH, still=0.0)
    return loop_controller(domain, gate, seed=seed)


def played(data: str, episode: BentLoop, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Records of one episode: each agent's, and one that says it is done."""
    torch.set_num_threads(1)
    native = packed_structure(*read_both(data), episode.chain)
    first, last = episode.first, episode.last
    try:
        start = perturb_structure(native, episode)
    except GeofoldError as error:
        return [(episode.name, "done", {"left_out": str(error)})]
    domain = domain_with_features(start, first, last)
    model = EnergyModel.of(native, domain.tree.steering, seed=seed)
    atoms = domain.fold.kin.atoms.numpy()

    def judged(xyz: np.ndarray) -> dict[str, float]:
        found = loop_in_place(replace(native, xyz=xyz), first, last, seed=seed)
        return {
            "energy": model.energy(xyz), "minimised": model.energy(found.xyz),
            "rmsd": backbone_rmsd(native, first, last, xyz, native.xyz),
            "overlaps": float(severe_overlaps(replace(native, xyz=xyz))),
        }  # fmt: skip

    rows = [(episode.name, "native", judged(native.xyz)), (episode.name, "start", judged(start.xyz))]
    for agent in AGENTS:
        xyz, numbers = _streamed(agent, domain, start.xyz, atoms, seed, count=episode.number < COUNTED)
        rows.append((episode.name, agent, judged(xyz) | numbers))
    return [*rows, (episode.name, "done", {})]


def _streamed(
    agent: str, domain: LoopDomain, start: np.ndarray, atoms: np.ndarray, seed: int, *, count: bool
) -> tuple[np.ndarray, dict[str, float]]:
    """Where an agent ends, its mean K, its milliseconds a step, and its operations a step if they are counted."""
    parts = parts_of(agent, domain, seed)
    state, spent, took = parts.init(domain, domain.start(start)), 0, []
    counted = Operations()
    for _ in range(GUIDED_SWEEPS * domain.length):
        if count:
            with counted:
                state, info = parts.step(domain, state, domain.goal)
        else:
            state, info = parts.step(domain, state, domain.goal)
        spent += int(info.inner_steps[0])
        took.append(info.milliseconds)
    xyz = start.copy()
    xyz[atoms] = state.domain.fold.xyz[0].numpy()
    # counting slows a step down
    told = {"operations": counted.total / len(took)} if count else {"milliseconds": float(np.median(took))}
    return xyz, {"inner": spent / len(took), **told}


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Table and summary; residual energies are above the native's, relative to the plain SSM's."""
    from scipy.stats import wilcoxon

    native = {row["episode"]: row for row in records.of("native")}
    residual = {
        (agent, key): np.array([row[key] - native[row["episode"]][key] for row in records.of(agent)])
        for agent in ("start", *AGENTS) for key in ("energy", "minimised")
    }  # fmt: skip
    metrics: dict[str, float] = {"episodes": float(len(native))}
    body = []
    for agent in ("start", *AGENTS):
        rows = records.of(agent)
        numbers = {key: float(np.median(residual[agent, key])) for key in ("energy", "minimised")}
        numbers["minimised_mean"], numbers["minimised_ci"] = mean_and_half_width(residual[agent, "minimised"])
        numbers |= {"median_rmsd": float(np.median([r["rmsd"] for r in rows])),
                    "overlaps": float(np.mean([r["overlaps"] for r in rows]))}  # fmt: skip
        for key in ("inner", "operations", "milliseconds"):
            known = [row[key] for row in rows if key in row]
            if known:
                numbers[key] = float(np.mean(known))
        metrics |= {f"{agent}.{key}": value for key, value in numbers.items()}
        told = [f"{numbers[key]:.{digits}f}" if key in numbers else "" for key, digits in COLUMNS.items()]
        body.append([agent, *told])
    for key, name in (("minimised", "protein_energy"), ("energy", "protein_energy_as_it_ends")):
        for agent in AGENTS:
            metrics[f"{agent}.{name}"] = metrics[f"{agent}.{key}"] / metrics[f"ssm.{key}"]
    for other in (*RIVALS, "esm_uniform"):
        apart = residual["esm", "minimised"] - residual[other, "minimised"]
        metrics[f"esm.minimised_less_{other}"] = float(np.median(apart))
        metrics[f"esm.minimised_p_{other}"] = float(wilcoxon(apart).pvalue) if np.any(apart) else 1.0
    if "transformer.operations" in metrics:
        for agent in AGENTS:
            metrics[f"{agent}.protein_compute"] = metrics[f"{agent}.operations"] / metrics["transformer.operations"]
    table = table_of(
        ["agent", "residual energy as it ends (kJ/mol, median)", "minimised (median)", "minimised (mean)",
         "median RMSD (A)", "severe overlaps", "mean K", "operations a step", "ms a step"], body,
    )  # fmt: skip
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"esm, {split} split")


COLUMNS = {
    "energy": 0, "minimised": 0, "minimised_mean": 0, "median_rmsd": 2, "overlaps": 1, "inner": 2, "operations": 0,
    "milliseconds": 2,
}  # fmt: skip
