"""The peptide benchmark: stepping agents side by side on shared episodes, and OpenMM's and scipy's own ways on some.

A job is an episode under a seed: all agents play it in turn, in one process, on one thread. The constraint of the
nonstationary panel changes mid-stream; fragments of real structures come with contacts of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.app.report.audit import audit
from geofold.app.report.measure import measure
from geofold.bench.common.openmm_min import peptide_to_contact
from geofold.bench.common.records import Records, gather
from geofold.bench.peptide.agents.lbfgs import walked_to_contact
from geofold.bench.peptide.agents.openmm_anneal import anneal_to_contact
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import TEST_SEED, TUNING_SEED, Episode, changing, episodes, real_episodes
from geofold.bench.peptide.reference_ensemble import Ensemble, ensemble, loaded, nearest_rmsd, relaxed_energy, saved
from geofold.bench.peptide.rollout import LIMIT, Played, Stage, ca_of, overlaps_per_step, play, staged, whole
from geofold.bench.peptide.tables import summarise
from geofold.bench.peptide.train_rivals import require_rivals
from geofold.files import write_npz
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.topology.torsion_tree import torsion_tree

EPISODES, QUICK, SEEDS = 256, 8, 5
OUTSIDE = 128
"""Episodes on which energies are compared, and OpenMM and scipy play."""
CHANGING = 96
WORKERS = 2
TOLERANCES = {"openmm_min": 10.0, "openmm_min_loose": 30.0}
"""Of the minimiser in kJ/mol/nm: OpenMM's default, which damages least, and a looser, faster one."""
RANDOM, MOVING, REAL = "random", "changing", "real"
Rows = list[tuple[str, str, dict[str, Any]]]


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Play what is not in the records yet, then write tables, plots and summary.

    A quick or limited run looks at the tuning episodes. `seed` is the first of `seeds`.
    """
    require_rivals()
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    count, several = limit or (QUICK if quick else EPISODES), seeds or (1 if quick else SEEDS)
    split = TUNING_SEED if tuning else TEST_SEED
    references = str(records.folder / "references")
    left = [(*job, references) for job in _jobs(count, several, seed, split) if not records.has(job[1], "done")]
    gather(records, "peptide", _played, left, WORKERS)
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def _jobs(count: int, seeds: int, first: int, split: int) -> Iterator[tuple[Episode, str, str, int, bool, bool]]:
    """Episode, key of its records, panel, seed, whether its references have energies, and whether outsiders play too.

    Seeds one after the other, so that no two workers make the references of one episode.
    """
    for seed in range(first, first + seeds):
        for number, episode in enumerate(episodes(count, seed=split)):
            few = number < OUTSIDE
            yield episode, f"{RANDOM}/{episode.name}/{seed}", RANDOM, seed, few, few and seed == first
    for episode in changing(min(count, CHANGING), seed=split):
        yield episode, f"{MOVING}/{episode.name}/{first}", MOVING, first, False, False
    for episode in real_episodes()[:count]:
        yield episode, f"{REAL}/{episode.name}/{first}", REAL, first, False, False


def _played(episode: Episode, key: str, panel: str, seed: int, energies: bool, outside: bool, references: str) -> Rows:
    """Records of all agents on an episode, and one that says it is done."""
    stage = staged(episode, seed)
    members = None if panel == MOVING else _ensemble(episode, stage, Path(references), energies=energies)
    rows: Rows = []
    for agent in AGENTS:
        played = play(agent, stage, seed)
        rows.append((key, agent.name, _numbers(stage, played, members, panel, energy=outside, seed=seed)))
    if outside:
        rows += [(key, name, numbers) for name, numbers in _outsiders(episode, stage, members, seed)]
    return [*rows, (key, "done", {})]


def _ensemble(episode: Episode, stage: Stage, folder: Path, *, energies: bool) -> Ensemble:
    """Reference ensemble of an episode, made once and kept."""
    path = folder / f"{episode.name.replace(':', '_')}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        contact = parse_contact(stage.structure, episode.contact)
        made = ensemble(stage.structure, stage.domain, contact, seed=1, energies=energies)
        write_npz(path, saved(made))
    return loaded(dict(np.load(path)))


def _numbers(
    stage: Stage, played: Played, members: Ensemble | None, panel: str, *, energy: bool, seed: int
) -> dict[str, Any]:
    """What is measured of a stepping agent's path."""
    end = played.frames[-1]
    numbers: dict[str, Any] = {
        "panel": panel, "success": played.held is not None, "steps": played.steps,
        "clash_energy": overlaps_per_step(stage.domain, played.frames), "made": len(played.inner),
        "inner": int(played.inner.sum()), "ms": [round(float(ms), 3) for ms in played.milliseconds],
        "outliers": int(stage.domain.angles.outliers(torch.as_tensor(played.angle[-1:]))[0]),
        "change": stage.change, "cis_made": 0, "chirality_changed": 0,
        "seconds_to_contact": float(played.milliseconds[: stage.change + played.steps].sum() / 1e3),
    }  # fmt: skip
    if panel == MOVING:
        # what the new contact asks for where the path stands when it comes
        there = torch.as_tensor(played.frames[stage.change : stage.change + 1])
        numbers["jump"] = 10 * float(stage.domain.wanted(there, stage.goal(stage.change).contacts)[1][0, 0])
    if members is not None and len(members.ca):
        numbers["rmsd"] = nearest_rmsd(ca_of(stage, end), members.ca)
        if energy:
            numbers["energy"] = _above(stage, relaxed_energy(stage.structure, stage.domain, end, seed=seed), members)
    if energy:
        numbers |= _damage(stage, whole(stage, end))
    return numbers


def _above(stage: Stage, energy: float, members: Ensemble) -> float:
    """kJ/mol per residue above the median of the reference ensemble."""
    return (energy - float(np.median(members.energy))) / len(stage.structure.residues)


def _damage(stage: Stage, xyz: np.ndarray) -> dict[str, Any]:
    """What the audit finds at the end."""
    structure = stage.structure
    tree = torsion_tree(structure, 0, len(structure.residues) - 1)
    before, after = (measure(structure, [tree], x, None) for x in (structure.xyz, xyz))
    checks = {c.name: c.value for c in audit(structure, [tree], structure.xyz, xyz, (before, after))}
    return {
        "cis_made": int(max(checks["cis_peptide_bonds_made"], 0)), "overlaps": int(after["severe_overlaps"]),
        "chirality_changed": int(checks["chiralities_changed"]), "outliers": int(after["ramachandran"]["outliers"]),
    }  # fmt: skip


def _outsiders(
    episode: Episode, stage: Stage, members: Ensemble | None, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """OpenMM's restrained minimisation and annealing, and L-BFGS on the torsions."""
    structure, contact = stage.structure, parse_contact(stage.structure, episode.contact)
    for name, tolerance in TOLERANCES.items():
        outcome = peptide_to_contact(structure, (contact,), seed=seed, tolerance=tolerance)
        yield name, _judged(stage, outcome.xyz, outcome.reached, outcome.seconds, members, seed)
    outcome = anneal_to_contact(structure, (contact,), seed=seed)
    yield "openmm_anneal", _judged(stage, outcome.xyz, outcome.reached, outcome.seconds, members, seed)
    found = walked_to_contact(structure, stage.domain, contact, seed=seed)
    judged = _judged(stage, whole(stage, found.frames[-1]), found.reached, found.seconds, members, seed)
    steps = len(found.frames) - 1 if judged["success"] else LIMIT
    yield "lbfgs", judged | {"steps": steps, "clash_energy": overlaps_per_step(stage.domain, found.frames)}


def _judged(
    stage: Stage, xyz: np.ndarray, reached: bool, seconds: float, members: Ensemble | None, seed: int
) -> dict[str, Any]:
    damage = _damage(stage, xyz)
    local = xyz[stage.domain.fold.kin.atoms.numpy()]
    numbers = {
        "panel": RANDOM, "success": bool(reached and damage["overlaps"] == 0 and damage["outliers"] == 0),
        "reached": bool(reached), "seconds_to_contact": seconds, **damage,
    }  # fmt: skip
    if members is not None and len(members.ca):
        numbers["rmsd"] = nearest_rmsd(ca_of(stage, local), members.ca)
        # what does not move in our domain (a proline amid the chain) has moved here
        moved = replace(stage.structure, xyz=xyz)
        numbers["energy"] = _above(stage, relaxed_energy(moved, stage.domain, local, seed=seed), members)
    return numbers
