"""The peptide benchmark: stepping agents on shared episodes, with end points of OpenMM and L-BFGS for some of them.

A job is an episode and a seed; all agents run it one after another, in one process, on one thread. In the panel
`changing` the contact changes during the stream; in the panel `real` fragments of real structures have contacts of
their own.
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
from geofold.app.report.metrics import measure
from geofold.bench.common.openmm_min import minimise_to_contact
from geofold.bench.common.records import Records, gather
from geofold.bench.peptide.agents.lbfgs import walk_to_contact
from geofold.bench.peptide.agents.openmm_anneal import anneal_to_contact
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import TEST_SEED, TUNING_SEED, Episode, changing_episodes, episodes, real_episodes
from geofold.bench.peptide.reference_ensemble import (
    Ensemble,
    from_arrays,
    make_ensemble,
    nearest_rmsd,
    relaxed_energy,
    to_arrays,
)
from geofold.bench.peptide.rollout import (
    MAX_STEPS,
    Rollout,
    Setup,
    ca_coordinates,
    make_setup,
    overlaps_per_step,
    run_episode,
    with_local_atoms,
)
from geofold.bench.peptide.tables import summarise
from geofold.bench.peptide.train_rivals import require_rivals
from geofold.files import write_npz
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.topology.torsion_tree import torsion_tree

DEFAULT_EPISODES, QUICK_EPISODES, DEFAULT_SEEDS = 256, 8, 5
COMPARED_EPISODES = 128
"""Number of episodes for which energies are compared, and which OpenMM and L-BFGS run."""
CHANGING_EPISODES = 96
WORKERS = 2
TOLERANCES = {"openmm_min": 10.0, "openmm_min_loose": 30.0}
"""Tolerances (kJ/mol/nm) of the minimiser: OpenMM's default, with the least damage, and a faster one."""
RANDOM, MOVING, REAL = "random", "changing", "real"
Rows = list[tuple[str, str, dict[str, Any]]]


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Run what is not in the records yet, then write tables, plots and summary.

    A quick or limited run takes the tuning episodes.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run eight episodes with one seed.
    limit : int or None
        Number of episodes.
    seeds : int or None
        Number of seeds, five by default.
    seed : int
        First of the seeds.

    Raises
    ------
    OptionError
        If the weights of a rival are missing.
    """
    require_rivals()
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    count = limit or (QUICK_EPISODES if quick else DEFAULT_EPISODES)
    seed_count = seeds or (1 if quick else DEFAULT_SEEDS)
    split = TUNING_SEED if tuning else TEST_SEED
    references = str(records.folder / "references")
    jobs = [(*job, references) for job in _make_jobs(count, seed_count, seed, split) if not records.has(job[1], "done")]
    gather(records, "peptide", _run_job, jobs, WORKERS)
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def _make_jobs(count: int, seeds: int, first: int, split: int) -> Iterator[tuple[Episode, str, str, int, bool, bool]]:
    """Yield episode, key of its records, panel, seed, whether its reference has energies, whether end points are run.

    The seeds of an episode are far apart, so that no two workers make its reference ensemble at the same time.
    """
    for seed in range(first, first + seeds):
        for number, episode in enumerate(episodes(count, seed=split)):
            compared = number < COMPARED_EPISODES
            yield episode, f"{RANDOM}/{episode.name}/{seed}", RANDOM, seed, compared, compared and seed == first
    for episode in changing_episodes(min(count, CHANGING_EPISODES), seed=split):
        yield episode, f"{MOVING}/{episode.name}/{first}", MOVING, first, False, False
    for episode in real_episodes()[:count]:
        yield episode, f"{REAL}/{episode.name}/{first}", REAL, first, False, False


def _run_job(
    episode: Episode, key: str, panel: str, seed: int, energies: bool, end_points: bool, references: str
) -> Rows:
    """Run all agents on an episode; the last record marks the episode as done."""
    setup = make_setup(episode, seed)
    reference = None if panel == MOVING else _reference_ensemble(episode, setup, Path(references), energies=energies)
    rows: Rows = []
    for agent in AGENTS:
        rollout = run_episode(agent, setup, seed)
        rows.append((key, agent.name, _measure_rollout(setup, rollout, reference, panel, energy=end_points, seed=seed)))
    if end_points:
        rows += [(key, name, numbers) for name, numbers in _run_end_point_methods(episode, setup, reference, seed)]
    return [*rows, (key, "done", {})]


def _reference_ensemble(episode: Episode, setup: Setup, folder: Path, *, energies: bool) -> Ensemble:
    """Return the reference ensemble of an episode, from its file or made and written to it."""
    path = folder / f"{episode.name.replace(':', '_')}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        contact = parse_contact(setup.structure, episode.contact)
        reference = make_ensemble(setup.structure, setup.domain, contact, seed=1, energies=energies)
        write_npz(path, to_arrays(reference))
    return from_arrays(dict(np.load(path)))


def _measure_rollout(
    setup: Setup, rollout: Rollout, reference: Ensemble | None, panel: str, *, energy: bool, seed: int
) -> dict[str, Any]:
    """Measure the path of a stepping agent."""
    end = rollout.frames[-1]
    numbers: dict[str, Any] = {
        "panel": panel,
        "success": rollout.held is not None,
        "steps": rollout.steps,
        "clash_energy": overlaps_per_step(setup.domain, rollout.frames),
        "made": len(rollout.inner),
        "inner": int(rollout.inner.sum()),
        "ms": [round(float(ms), 3) for ms in rollout.milliseconds],
        "outliers": int(setup.domain.angles.count_outliers(torch.as_tensor(rollout.torsions[-1:]))[0]),
        "change": setup.change,
        "cis_made": 0,
        "chirality_changed": 0,
        "seconds_to_contact": float(rollout.milliseconds[: setup.change + rollout.steps].sum() / 1e3),
        **_measure_metric(rollout),
    }
    if panel == MOVING:
        # violation (A) of the new contact at the step at which it is set
        xyz = torch.as_tensor(rollout.frames[setup.change : setup.change + 1])
        numbers["jump"] = 10 * float(setup.domain.contact_errors(xyz, setup.goal(setup.change).contacts)[1][0, 0])
    if reference is not None and len(reference.ca):
        numbers["rmsd"] = nearest_rmsd(ca_coordinates(setup, end), reference.ca)
        if energy:
            numbers["energy"] = _energy_above(
                setup, relaxed_energy(setup.structure, setup.domain, end, seed=seed), reference
            )
    if energy:
        numbers |= _audit_end(setup, with_local_atoms(setup, end))
    return numbers


def _measure_metric(rollout: Rollout) -> dict[str, float]:
    """Geometric mean of the metric's condition numbers, and mean angle (degrees) by which it turns a step."""
    known = np.isfinite(rollout.condition) & np.isfinite(rollout.angle)
    if not known.any():
        return {}
    return {
        "condition": float(np.exp(np.log(rollout.condition[known]).mean())),
        "angle_degrees": float(np.degrees(rollout.angle[known].mean())),
    }


def _energy_above(setup: Setup, energy: float, reference: Ensemble) -> float:
    """Energy above the median of the reference ensemble, in kJ/mol per residue."""
    return (energy - float(np.median(reference.energy))) / len(setup.structure.residues)


def _audit_end(setup: Setup, xyz: np.ndarray) -> dict[str, Any]:
    """Cis bonds made, overlaps, chiralities changed and outliers of an end point."""
    structure = setup.structure
    tree = torsion_tree(structure, 0, len(structure.residues) - 1)
    before, after = (measure(structure, [tree], x, None) for x in (structure.xyz, xyz))
    checks = {c.name: c.value for c in audit(structure, [tree], structure.xyz, xyz, (before, after))}
    return {
        "cis_made": int(max(checks["cis_peptide_bonds_made"], 0)),
        "overlaps": int(after["severe_overlaps"]),
        "chirality_changed": int(checks["chiralities_changed"]),
        "outliers": int(after["ramachandran"]["outliers"]),
    }


def _run_end_point_methods(
    episode: Episode, setup: Setup, reference: Ensemble | None, seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run OpenMM's restrained minimisation and annealing, and L-BFGS on the torsions."""
    structure, contact = setup.structure, parse_contact(setup.structure, episode.contact)
    for name, tolerance in TOLERANCES.items():
        outcome = minimise_to_contact(structure, (contact,), seed=seed, tolerance=tolerance)
        yield name, _evaluate_end(setup, outcome.xyz, outcome.reached, outcome.seconds, reference, seed)
    outcome = anneal_to_contact(structure, (contact,), seed=seed)
    yield "openmm_anneal", _evaluate_end(setup, outcome.xyz, outcome.reached, outcome.seconds, reference, seed)
    walk = walk_to_contact(structure, setup.domain, contact, seed=seed)
    numbers = _evaluate_end(
        setup, with_local_atoms(setup, walk.frames[-1]), walk.reached, walk.seconds, reference, seed
    )
    steps = len(walk.frames) - 1 if numbers["success"] else MAX_STEPS
    yield "lbfgs", numbers | {"steps": steps, "clash_energy": overlaps_per_step(setup.domain, walk.frames)}


def _evaluate_end(
    setup: Setup, xyz: np.ndarray, reached: bool, seconds: float, reference: Ensemble | None, seed: int
) -> dict[str, Any]:
    damage = _audit_end(setup, xyz)
    local = xyz[setup.domain.decoder.kinematics.atoms.numpy()]
    numbers = {
        "panel": RANDOM,
        "success": bool(reached and damage["overlaps"] == 0 and damage["outliers"] == 0),
        "reached": bool(reached),
        "seconds_to_contact": seconds,
        **damage,
    }
    if reference is not None and len(reference.ca):
        numbers["rmsd"] = nearest_rmsd(ca_coordinates(setup, local), reference.ca)
        # atoms that are fixed in the torsion domain (a proline inside the chain) have moved here
        moved = replace(setup.structure, xyz=xyz)
        numbers["energy"] = _energy_above(setup, relaxed_energy(moved, setup.domain, local, seed=seed), reference)
    return numbers
