"""Last stage of every run: write the structure, read it back, measure, audit and report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app.report.audit import Check, audit
from geofold.app.report.audit_added import audit_added
from geofold.app.report.audit_built import audit_built
from geofold.app.report.metrics import measure
from geofold.app.report.report import build_report
from geofold.app.result import Result
from geofold.modelling.build.missing_loops import BuiltLoops
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LOOP_SEARCH, LoopModel, StreamOutcome, expected_errors
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.edit import with_expected_errors
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.detection import overlaps
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.molecule.vdw_radii import SEVERE_OVERLAP

PATH_BYTES = 200_000_000
"""Largest size of the frames of a result, all atoms included; paths in very large structures are thinned to it."""


def finish(
    command: str,
    structure: Structure,
    original: Structure,
    added: list[AddedAtom],
    outcomes: list[StreamOutcome],
    options: RunOptions,
    began: float,
    *,
    loops: list[str] | None = None,
    contacts: tuple[Contact, ...] = (),
    built: BuiltLoops | None = None,
    models: Sequence[LoopModel] = (),
    along: Sequence[tuple[Contact, ...]] = (),
    energies: EnergySource | None = None,
) -> Result:
    """Write the structure, read it back, measure, audit and report.

    Parameters
    ----------
    command : str
        'repair', 'constrain' or 'live'.
    structure : Structure
        The initial structure, completed by `added`.
    original : Structure
        The input.
    added : list of AddedAtom
        Missing side-chain atoms that were built.
    outcomes : list of StreamOutcome
        Outcome of each moving segment.
    options : RunOptions
        Options of the run.
    began : float
        Start of the run on `time.perf_counter` (s).
    loops : list of str, optional
        Ranges that were requested or detected.
    contacts : tuple of Contact
        Contacts at the end of the run.
    built : BuiltLoops, optional
        Loops that were missing in the input.
    models : sequence of LoopModel
        The outcomes with their costs, for the report.
    along : sequence of tuple of Contact
        Contacts of the step that led to each frame, if they changed during the run.
    energies : EnergySource, optional
        Of the structure, if the caller has one already.

    Returns
    -------
    Result
    """
    if not along and outcomes:
        frames = PATH_BYTES // (structure.xyz.nbytes * len(outcomes))
        outcomes = [outcome.thinned(max(frames, 2)) for outcome in outcomes]
    end, moved = _end_coordinates(structure, outcomes)
    if built is not None:
        moved |= built.atoms
    if options.confidence_in_b:
        structure = with_expected_errors(structure, expected_errors(outcomes, models))
    content = render(structure, end, moved)
    # audit the coordinates of the file, rounding included; toolkit objects have no file and keep full precision
    written = read(content, name=structure.source).xyz if original.document is not None else end
    energies = EnergySource.of(structure, options) if energies is None else energies
    model = None if energies is None else energies.model_at(written)
    after = measure(structure, [m.tree for m in outcomes], written, model, options.altloc)
    if built is None:
        start = None if energies is None else energies.model_at(structure.xyz)
        before, checks = _compare_with_input(structure, outcomes, written, start, after, options)
        if command != "repair" or _searched_with_repacking(outcomes, options):
            checks = [check for check in checks if not check.name.startswith("energy")]
    else:
        before = {"missing_residues": built.missing} | _repaired_before(built, options)
        after = {"missing_residues": 0} | after
        checks = audit_built(structure, built, written, (before, after), options.altloc, cis_pro=options.allow_cis_pro)
    if options.shell:
        checks.append(_neighbours(structure, outcomes, written))
    owner = structure if built is None else built.original
    checks += audit_added(structure, written, added, owner, options.altloc)
    checks += [Check(f"contact {c.text} violation_angstrom", round(_violation(c, written), 3), 0.0) for c in contacts]
    checks.append(Check("loops_without_freedom", float(sum(m.status == "rigid" for m in outcomes)), 0.0))
    report = build_report(
        command,
        structure,
        original,
        added,
        outcomes,
        options,
        before,
        after,
        checks,
        written,
        loops=loops or [],
        contacts=contacts,
        model=model,
        seconds=time.perf_counter() - began,
        built=built,
        models=models,
        along=along,
    )
    spans = tuple((outcome.tree.first, outcome.tree.last) for outcome in outcomes)
    return Result(structure, written, _path(structure, outcomes), content, report, options.altloc, spans)


def _end_coordinates(structure: Structure, outcomes: list[StreamOutcome]) -> tuple[np.ndarray, np.ndarray]:
    """Return final coordinates (n_atoms, 3) in nm, and a mask (n_atoms,) of the atoms that moved."""
    end = structure.xyz
    for outcome in outcomes:
        end = outcome.apply(end)
    moved_atoms = np.concatenate([np.zeros(0, dtype=np.int64), *(outcome.moved_atoms for outcome in outcomes)])
    movable = np.isin(np.arange(len(structure)), moved_atoms)
    return end, movable & (np.abs(end - structure.xyz).max(1) > 0)


def _compare_with_input(
    structure: Structure,
    outcomes: list[StreamOutcome],
    xyz: np.ndarray,
    start: EnergyModel | None,
    after: dict[str, Any],
    options: RunOptions,
) -> tuple[dict[str, Any], list[Check]]:
    """Measure the initial coordinates and audit the final ones, `xyz` (n_atoms, 3) in nm, against them."""
    trees = [outcome.tree for outcome in outcomes]
    before = measure(structure, trees, structure.xyz, start, options.altloc)
    repacked = np.concatenate([np.zeros(0, dtype=np.int64), *(outcome.repacked.atoms for outcome in outcomes)])
    numbers = (before, after)
    return before, audit(structure, trees, structure.xyz, xyz, numbers, options.altloc, repacked=repacked)


def _repaired_before(built: BuiltLoops, options: RunOptions) -> dict[str, Any]:
    """Measure the loops of the input that were repaired while others were built; empty if there are none."""
    if not built.repaired:
        return {}
    original = built.original
    trees = [torsion_tree(original, first, last, altloc=options.altloc) for first, last in built.repaired]
    return measure(original, trees, original.xyz, None, options.altloc)


def compare_models(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Tabulate several models of one loop for the report: cost, energy and audit of each, and RMSD to the first."""
    first = results[0]
    rows = []
    for rank, result in enumerate(results, 1):
        shift = np.linalg.norm(result.xyz - first.xyz, axis=1)
        conformer = result.structure.conformer(result.altloc)
        atoms = [
            atom
            for start, end in result.spans
            for atom in backbone_atoms(result.structure, start, end, conformer)
            if atom is not None
        ]
        rows.append(
            {
                "rank": rank,
                "score": result.report["score"],
                "score_terms": result.report["score_terms"],
                "status": result.report["stream"]["status"][0],
                "energy_kj_mol": result.report["after"].get("energy_kj_mol"),
                "audit_passed": result.passed,
                "severe_overlaps": result.report["after"]["severe_overlaps"],
                "backbone_rmsd_to_first_angstrom": round(float(10 * np.sqrt(np.square(shift[atoms]).mean())), 2),
            }
        )
    return rows


def _searched_with_repacking(outcomes: list[StreamOutcome], options: RunOptions) -> bool:
    """Whether a loop was searched while its neighbours' side chains were repacked.

    The energy then belongs to another environment than that of the input, and the two are not compared.
    """
    return any(outcome.predictor == LOOP_SEARCH and len(outcome.repacked.atoms) for outcome in outcomes)


def _neighbours(structure: Structure, outcomes: list[StreamOutcome], xyz: np.ndarray) -> Check:
    """Check that repacked side chains add no severe overlap with atoms outside the loops."""
    turned = {int(k) for outcome in outcomes for k in structure.residue_of[outcome.repacked.atoms]}
    inside = {k for outcome in outcomes for k in range(outcome.tree.first, outcome.tree.last + 1)}
    count = []
    for coordinates in (structure.xyz, xyz):
        pairs, depth = overlaps(replace(structure, xyz=coordinates))
        severe = pairs[depth >= 10 * SEVERE_OVERLAP].tolist()
        count.append(sum(bool(turned & {i, j}) and not inside & {i, j} for i, j in severe))
    return Check("neighbour_overlaps_added", float(count[1] - count[0]), 0.0)


def _violation(contact: Contact, xyz: np.ndarray) -> float:
    distance = float(np.linalg.norm(xyz[contact.i] - xyz[contact.j]))
    return 10 * max(0.0, distance - contact.bound if contact.upper else contact.bound - distance)


def _path(structure: Structure, outcomes: list[StreamOutcome]) -> np.ndarray:
    """Concatenate the loops' trajectories, one after the other, into frames (T, n_atoms, 3) in nm."""
    current, frames = structure.xyz.copy(), [structure.xyz]
    for outcome in outcomes:
        carried = np.isin(outcome.atoms, outcome.tree.atoms)
        for frame in outcome.frames[1:]:
            step = current.copy()
            step[outcome.atoms[carried]] = frame[carried]
            frames.append(step)
        current = outcome.repacked.apply(frames[-1])
        frames[-1] = current
    return np.array(frames)
