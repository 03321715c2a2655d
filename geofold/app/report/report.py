"""The report: one JSON object, schema ``geofold-report/1``.

Everything except the times (``seconds`` and, under ``stream``, ``seconds``, ``seconds_to_goal`` and ``latency_ms``) is
reproducible for a given input and seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geofold.app.report.audit import Check
from geofold.app.report.energies import energy_notes, infinite_notes
from geofold.app.report.provenance import REPORT_SCHEMA, chemistry_notes, described, versions
from geofold.learn.loop_score.confidence import probability_within
from geofold.modelling.build.missing_loops import BuiltLoops
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, RepackedAlternative, StreamOutcome, inner_steps_per_frame
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import AddedAtom, Structure

WITHIN = (1, 2)
"""Distances (A) from the native that the report has the probability of: another crystal form, the right basin."""
RESIDUE_ERRORS = "residue_error_angstrom"
"""Key of the expected error of each residue."""


def build_report(
    command: str,
    structure: Structure,
    original: Structure,
    added: list[AddedAtom],
    outcomes: list[StreamOutcome],
    options: RunOptions,
    before: dict[str, Any],
    after: dict[str, Any],
    checks: list[Check],
    xyz: np.ndarray,
    *,
    loops: list[str],
    contacts: tuple[Contact, ...],
    model: EnergyModel | None,
    seconds: float,
    built: BuiltLoops | None,
    models: Sequence[LoopModel],
    along: Sequence[tuple[Contact, ...]] = (),
) -> dict[str, Any]:
    """Assemble the report.

    Parameters
    ----------
    command : str
        'repair', 'constrain' or 'live'.
    structure, original : Structure
        The initial structure, completed by `added`, and the input.
    added : list of AddedAtom
        Missing side-chain atoms that were built.
    outcomes : list of StreamOutcome
        Outcome of each moving segment.
    options : RunOptions
        Options of the run.
    before, after : dict
        Measurements of the initial and the final coordinates.
    checks : list of Check
        The audit.
    xyz : (n_atoms, 3)
        Final coordinates (nm).
    loops : list of str
        Ranges that were requested or detected.
    contacts : tuple of Contact
        Contacts at the end of the run.
    model : EnergyModel or None
        Energy model of the final coordinates, for the notes.
    seconds : float
        Duration of the run.
    built : BuiltLoops or None
        Loops that were missing in the input.
    models : sequence of LoopModel
        The outcomes with their costs.
    along : sequence of tuple of Contact
        Contacts of the step that led to each frame, if they changed during the run.

    Returns
    -------
    dict
    """
    shift = 10 * np.linalg.norm(xyz - structure.xyz, axis=1)
    if built is not None:
        shift[built.atoms] = 0.0  # new atoms have not moved
    owner = structure if built is None else built.original  # added atoms are numbered by the residues of this one
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "command": command,
        "versions": versions(),
        "seed": options.seed,
        "options": options.values("steer" if along else command),
        "input": described(original),
        "predictor": _named([m.predictor for m in outcomes]),
        "gate": _named([m.gate for m in outcomes]),
    }
    if loops:
        report["loops"] = loops
    if built is not None:
        report["built"] = built.report()
    if models:
        report |= _model_scores(structure, models)
    if options.shell:
        report["repacked"] = _repacked_section(structure, outcomes, options.shell)
    if contacts:
        report["contacts"] = [_contact(structure, c, xyz, along) for c in contacts]
    earlier = dict.fromkeys(c for active in along for c in active if c not in contacts)
    if earlier:
        report["contacts_earlier"] = [_contact(structure, c, xyz, along) for c in earlier]
    return report | {
        "before": before,
        "after": after,
        "audit": {"passed": all(c.passed for c in checks), "checks": [c.as_dict() for c in checks]},
        "moved": _moved_section(structure, shift),
        "added_atoms": [f"{owner.residues[a.residue].label}@{a.name}" for a in added],
        "stream": _stream_section(structure, outcomes),
        "notes": [
            *_notes(command, structure, outcomes, model),
            *_alternative_notes(structure, models),
            *infinite_notes(before=before, after=after),
            *(built.notes() if built is not None else []),
        ],
        "seconds": round(seconds, 3),
    }


def _model_scores(structure: Structure, models: Sequence[LoopModel]) -> dict[str, Any]:
    """Cost of the models and its terms, and the expected RMSD if every model has one."""
    scores: dict[str, Any] = {
        "score": round(sum(model.cost for model in models), 3),
        "score_terms": [{name: round(value, 3) for name, value in model.terms.items()} for model in models],
    }
    if any(model.external_rmsd for model in models):
        scores["candidate_rmsd_angstrom"] = [[round(rmsd, 2) for rmsd in model.external_rmsd] for model in models]
    if any(model.confidence is not None for model in models):
        scores["confidence"] = [_confidence(structure, model) for model in models]
    if any(model.alternative is not None for model in models):
        scores["with_neighbours_repacked"] = [_alternative(model.alternative) for model in models]
    return scores


def _alternative(other: RepackedAlternative | None) -> dict[str, Any] | None:
    """Return what repacked neighbours would give, in numbers; None where that is not surely better."""
    if other is None:
        return None
    section: dict[str, Any] = {"neighbours": other.neighbours, "backbone_rmsd_angstrom": round(other.rmsd, 2)}
    if other.expected is not None:
        names = ("expected_rmsd_angstrom_now", "expected_rmsd_angstrom")
        section |= dict(zip(names, (round(value, 2) for value in other.expected), strict=True))
    return section


def _confidence(structure: Structure, model: LoopModel) -> dict[str, Any] | None:
    """Return an expected RMSD with its interval, probabilities and residues; None for a loop without a search."""
    confidence = model.confidence
    if confidence is None:
        return None
    residues = structure.residues[model.outcome.tree.first : model.outcome.tree.last + 1]
    errors = zip(residues, model.residue_errors, strict=True)
    names = ("expected_rmsd_angstrom", "from_angstrom", "to_angstrom")
    scores: dict[str, Any] = dict(zip(names, (round(value, 2) for value in confidence), strict=True)) | {
        f"probability_within_{limit}_angstrom": round(probability_within(confidence, limit), 2) for limit in WITHIN
    }
    return scores | {RESIDUE_ERRORS: {residue.label: round(error, 2) for residue, error in errors}}


def _moved_section(structure: Structure, shift: np.ndarray) -> dict[str, Any]:
    """Atoms and residues that moved, and the largest of the displacements (n_atoms,) in A."""
    moved = np.unique(structure.residue_of[shift > 0])
    return {
        "atoms": int((shift > 0).sum()),
        "residues": [structure.residues[k].label for k in moved],
        "max_displacement_angstrom": round(float(shift.max(initial=0.0)), 3),
    }


def _repacked_section(structure: Structure, outcomes: list[StreamOutcome], shell: float) -> dict[str, Any]:
    """Residues whose side chains were repacked within the shell (A)."""
    atoms = np.concatenate([np.zeros(0, dtype=np.int64), *(m.repacked.atoms for m in outcomes)])
    residues = np.unique(structure.residue_of[atoms])
    return {"shell_angstrom": shell, "residues": [structure.residues[k].label for k in residues]}


def _stream_section(structure: Structure, outcomes: list[StreamOutcome]) -> dict[str, Any]:
    """Return steps, inner steps K and wall-clock times of the streams."""
    clock = np.array([ms for outcome in outcomes for ms in outcome.milliseconds] or [0.0])
    return {
        "status": [m.status for m in outcomes],
        "steps": sum(len(m.milliseconds) for m in outcomes),
        "inner_steps_per_step": [k for m in outcomes for k in m.trace],
        "inner_steps_per_frame": inner_steps_per_frame(outcomes),
        "accepted": sum(m.accepted for m in outcomes),
        "inner_steps": sum(sum(m.trace) for m in outcomes),
        "inner_steps_per_residue": {
            structure.residues[k].label: count for m in outcomes for k, count in m.inner_steps.items()
        },
        "seconds": round(float(clock.sum()) / 1e3, 3),
        "seconds_to_goal": round(sum(m.goal_milliseconds for m in outcomes) / 1e3, 3),
        "latency_ms": {"mean": round(float(clock.mean()), 3), "p99": round(float(np.percentile(clock, 99)), 3)},
    }


def _named(names: list[str]) -> str:
    """List each name once; 'none' if nothing ran."""
    return ", ".join(sorted({part for name in names for part in name.split(", ")})) or "none"


def _contact(
    structure: Structure, contact: Contact, xyz: np.ndarray, along: Sequence[tuple[Contact, ...]]
) -> dict[str, Any]:
    def identity(atom: int) -> dict[str, Any]:
        residue = structure.residues[structure.residue_of[atom]]
        return {
            "chain": residue.chain,
            "resnum": residue.resnum,
            "icode": residue.icode,
            "name": str(structure.name[atom]),
        }

    before, after = (float(np.linalg.norm(x[contact.i] - x[contact.j])) for x in (structure.xyz, xyz))
    return {
        "contact": contact.text,
        "kind": "upper" if contact.upper else "lower",
        "bound_angstrom": round(10 * contact.bound, 3),
        "before_angstrom": round(10 * before, 3),
        "after_angstrom": round(10 * after, 3),
        "satisfied": contact.satisfied(after),
        "atoms": [identity(contact.i), identity(contact.j)],
    } | ({"wanted_in_frames": _runs([contact in active for active in along])} if along else {})


def _runs(flags: Sequence[bool]) -> list[list[int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int))).reshape(-1, 2)
    return [[int(first), int(end) - 1] for first, end in edges]


def _notes(command: str, structure: Structure, outcomes: list[StreamOutcome], model: EnergyModel | None) -> list[str]:
    """Limitations of a run: of its input, of its energy, and of what became of each segment.

    Parameters
    ----------
    command : str
    structure : Structure
    outcomes : list of StreamOutcome
    model : EnergyModel or None
    """
    notes = [*structure.notes, *chemistry_notes(structure), *energy_notes(model)]
    for outcome in outcomes:
        labels = f"{structure.residues[outcome.tree.first].label} to {structure.residues[outcome.tree.last].label}"
        if not outcome.tree.closed and command == "repair":
            notes.append(f"{labels} reaches a chain end or a chain break: that end moves freely")
        if outcome.status == "rigid":
            notes.append(f"{labels} has no torsional freedom once its ends are held (rigid): add residues on each side")
        if outcome.status == "kept":
            notes.append(f"{labels} stays as it is: no model is clearly better")
        if outcome.status == "stuck":
            notes.append(f"{labels}: the stream ended before everything was clean")
    return notes


def _alternative_notes(structure: Structure, models: Sequence[LoopModel]) -> list[str]:
    """Say what the loops would gain if the side chains around them were repacked."""
    notes = []
    for model in models:
        if (other := model.alternative) is not None:
            first, last = (structure.residues[k].label for k in (model.outcome.tree.first, model.outcome.tree.last))
            errors = ""
            if other.expected is not None:
                errors = " (estimated error {1:.1f} A instead of {0:.1f} A)".format(*other.expected)
            notes.append(
                f"{first} to {last} may be held in a wrong place by the side chains around it: --repack-shell auto "
                f"would give another loop{errors}, {other.rmsd:.1f} A away, and repack {other.neighbours} neighbours"
            )
    return notes
