"""The end of every run: write, read again, measure, audit, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app.report.audit import Check, audit
from geofold.app.report.audit_built import audit_built
from geofold.app.report.measure import measure
from geofold.app.report.report import build_report
from geofold.app.result import Result
from geofold.modelling.build.missing_loops import BuiltLoops
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LOOP_SEARCH, LoopModel, StreamOutcome
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.vdw_radii import SEVERE_OVERLAP
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.detection import overlaps
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import AddedAtom, Structure


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
    begun: EnergyModel | None = None,
) -> Result:
    """Write, read again, measure, audit, report.

    Parameters
    ----------
    models
        The moves again, with what their ends are worth.
    along
        What was wanted in the step that led to each frame, where contacts changed.
    begun
        Energy model of the coordinates that came in, where the caller has it.
    """
    end = structure.xyz
    for outcome in outcomes:
        end = outcome.apply(end)
    moved_atoms = np.isin(
        np.arange(len(structure)), np.concatenate([np.zeros(0, dtype=np.int64), *(m.moved_atoms for m in outcomes)])
    )
    moved = moved_atoms & (np.abs(end - structure.xyz).max(1) > 0)
    if built is not None:
        moved |= built.atoms
    content = render(structure, end, moved)
    # judge what the file holds, rounding included; toolkit objects have no file and keep full precision
    written = read(content, name=structure.source).xyz if original.document is not None else end
    trees = [m.tree for m in outcomes]
    model = energy_model(structure, written, options)
    after = measure(structure, trees, written, model, options.altloc)
    if built is None:
        start = energy_model(structure, structure.xyz, options) if begun is None else begun
        before = measure(structure, trees, structure.xyz, start, options.altloc)
        repacked = np.concatenate([np.zeros(0, dtype=np.int64), *(m.repacked.atoms for m in outcomes)])
        checks = audit(structure, trees, structure.xyz, written, (before, after), options.altloc, repacked=repacked)
        held = command == "repair" and not _traded(outcomes, options)
        checks = [c for c in checks if held or not c.name.startswith("energy")]
    else:
        before, after = {"missing_residues": built.missing}, {"missing_residues": 0} | after
        checks = audit_built(structure, built, written, after, options.altloc, cis_pro=options.allow_cis_pro)
    if options.repack_shell:
        checks.append(_neighbours(structure, outcomes, written))
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


def compare_models(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Section of the report on several models of one loop: cost, energy and audit of each, and RMSD to the first."""
    first = results[0]
    rows = []
    for rank, result in enumerate(results, 1):
        shift = np.linalg.norm(result.xyz - first.xyz, axis=1)
        conformer = result.structure.steering(result.altloc)
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


def _traded(outcomes: list[StreamOutcome], options: RunOptions) -> bool:
    """Whether a loop was searched for among side chains that were packed anew: what fitted the loop that came in says
    nothing of another one, and so its energy is no promise."""
    return options.repack_shell > 0 and any(outcome.predictor == LOOP_SEARCH for outcome in outcomes)


def _neighbours(structure: Structure, outcomes: list[StreamOutcome], xyz: np.ndarray) -> Check:
    """Severe overlaps that repacked side chains have with anything but the loops, more than before."""
    turned = {int(k) for outcome in outcomes for k in structure.residue_of[outcome.repacked.atoms]}
    inside = {k for outcome in outcomes for k in range(outcome.tree.first, outcome.tree.last + 1)}
    count = []
    for place in (structure.xyz, xyz):
        pairs, depth = overlaps(replace(structure, xyz=place))
        severe = pairs[depth >= 10 * SEVERE_OVERLAP].tolist()
        count.append(sum(bool(turned & {i, j}) and not inside & {i, j} for i, j in severe))
    return Check("neighbour_overlaps_added", float(count[1] - count[0]), 0.0)


def energy_model(structure: Structure, xyz: np.ndarray, options: RunOptions) -> EnergyModel | None:
    """Energy model of coordinates; hydrogens that the file lacks are placed afresh, before as after."""
    if not options.energy:
        return None
    return EnergyModel.of(replace(structure, xyz=xyz), structure.steering(options.altloc), seed=options.seed)


def _violation(contact: Contact, xyz: np.ndarray) -> float:
    distance = float(np.linalg.norm(xyz[contact.i] - xyz[contact.j]))
    return 10 * max(0.0, distance - contact.bound if contact.upper else contact.bound - distance)


def _path(structure: Structure, outcomes: list[StreamOutcome]) -> np.ndarray:
    """Whole-structure frames (T, n, 3): one loop after the other."""
    now, frames = structure.xyz.copy(), [structure.xyz]
    for outcome in outcomes:
        carried = np.isin(outcome.atoms, outcome.tree.atoms)
        for frame in outcome.frames[1:]:
            step = now.copy()
            step[outcome.atoms[carried]] = frame[carried]
            frames.append(step)
        now = outcome.repacked.apply(frames[-1])
        frames[-1] = now
    return np.array(frames)
