"""The report: one JSON object, schema ``geofold-report/1``, described key by key in the README.

Everything but the times (``seconds`` and, under ``stream``, ``seconds``, ``seconds_to_goal`` and ``latency_ms``) is
the same for the same input and seed.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from geofold import __version__
from geofold.app.report.audit import Check
from geofold.app.report.energies import energy_notes, infinite_notes
from geofold.geometry import rmsd
from geofold.modelling.build.missing_loops import BuiltLoops
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, StreamOutcome, inner_steps_per_frame
from geofold.molecule.analysis.chirality import chirality_notes
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.covalent_links import link_notes

if TYPE_CHECKING:
    from geofold.app.result import Result

REPORT_SCHEMA = "geofold-report/1"


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    named = {name: metadata.version(name) for name in ("torch", "openmm", "mdtraj", "pdbfixer", "biopython", "numpy")}
    return {"geofold": __version__, "python": platform.python_version()} | named


def described(structure: Structure) -> dict[str, Any]:
    """What was read."""
    amino = sum(structure.is_amino_acid(k) for k in range(len(structure.residues)))
    return {"name": structure.source, "atoms": len(structure), "amino_acids": amino, "models": structure.n_models}


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
    """Put the report together.

    Parameters
    ----------
    along
        What was wanted in the step that led to each frame, where contacts changed.
    """
    shift = 10 * np.linalg.norm(xyz - structure.xyz, axis=1)
    if built is not None:
        shift[built.atoms] = 0.0  # they came in; nothing of the input moved
    moved = np.unique(structure.residue_of[shift > 0])
    owner = structure if built is None else built.original  # whose residues the added atoms are counted by
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "command": command,
        "versions": versions(),
        "seed": options.seed,
        "input": described(original),
        "predictor": _named([m.predictor for m in outcomes]),
        "gate": _named([m.gate for m in outcomes]),
    }
    if loops:
        report["loops"] = loops
    if built is not None:
        report["built"] = built.report()
    if models:
        report["score"] = round(sum(model.cost for model in models), 3)
        report["score_terms"] = [{name: round(value, 3) for name, value in model.terms.items()} for model in models]
    sure = [model.confidence for model in models if model.confidence is not None]
    if len(sure) == len(models) and sure:
        names = ("expected_rmsd_angstrom", "from_angstrom", "to_angstrom")
        report["confidence"] = [dict(zip(names, (round(value, 2) for value in told), strict=True)) for told in sure]
    if options.repack_shell:
        turned = np.unique(np.concatenate([structure.residue_of[m.repacked.atoms] for m in outcomes] or [moved[:0]]))
        report["repacked"] = {
            "shell_angstrom": options.repack_shell,
            "residues": [structure.residues[k].label for k in turned],
        }
    if contacts:
        report["contacts"] = [_contact(structure, c, xyz, along) for c in contacts]
    earlier = dict.fromkeys(c for wanted in along for c in wanted if c not in contacts)
    if earlier:
        report["contacts_earlier"] = [_contact(structure, c, xyz, along) for c in earlier]
    clock = np.array([ms for outcome in outcomes for ms in outcome.milliseconds] or [0.0])
    report |= {
        "before": before,
        "after": after,
        "audit": {"passed": all(c.passed for c in checks), "checks": [c.as_dict() for c in checks]},
        "moved": {
            "atoms": int((shift > 0).sum()),
            "residues": [structure.residues[k].label for k in moved],
            "max_displacement_angstrom": round(float(shift.max(initial=0.0)), 3),
        },
        "added_atoms": [f"{owner.residues[a.residue].label}@{a.name}" for a in added],
        "stream": {
            "status": [m.status for m in outcomes],
            "steps": sum(len(m.milliseconds) for m in outcomes),
            "inner_steps_per_step": [k for m in outcomes for k in m.trace],
            "inner_steps_per_frame": inner_steps_per_frame(outcomes),
            "accepted": sum(m.accepted for m in outcomes),
            "inner_steps": sum(sum(m.trace) for m in outcomes),
            "inner_steps_per_residue": {
                structure.residues[k].label: spent for m in outcomes for k, spent in m.inner_steps.items()
            },
            "seconds": round(float(clock.sum()) / 1e3, 3),
            "seconds_to_goal": round(sum(m.goal_milliseconds for m in outcomes) / 1e3, 3),
            "latency_ms": {"mean": round(float(clock.mean()), 3), "p99": round(float(np.percentile(clock, 99)), 3)},
        },
        "notes": [
            *_notes(structure, outcomes, model),
            *infinite_notes(before=before, after=after),
            *(built.notes() if built is not None else []),
        ],
        "seconds": round(seconds, 3),
    }
    return report


def compare_models(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Several models of one loop side by side: what each is worth, and how far it is from the first."""
    first, told = results[0], []
    names = ("N", "CA", "C", "O")
    for rank, one in enumerate(results, 1):
        own = [
            atom
            for outcome in one.spans
            for k in range(outcome[0], outcome[1] + 1)
            for name in names
            if (atom := one.structure.atom(k, name, one.structure.steering(one.altloc))) is not None
        ]
        told.append(
            {
                "rank": rank,
                "score": one.report["score"],
                "score_terms": one.report["score_terms"],
                "status": one.report["stream"]["status"][0],
                "energy_kj_mol": one.report["after"].get("energy_kj_mol"),
                "audit_passed": one.passed,
                "severe_overlaps": one.report["after"]["severe_overlaps"],
                "backbone_rmsd_to_first_angstrom": round(float(10 * rmsd(one.xyz[own], first.xyz[own])), 2),
            }
        )
    return told


def _named(names: list[str]) -> str:
    """Each name once; 'none' where nothing ran."""
    return ", ".join(sorted({part for name in names for part in name.split(", ")})) or "none"


def _contact(
    structure: Structure, contact: Contact, xyz: np.ndarray, along: Sequence[tuple[Contact, ...]]
) -> dict[str, Any]:
    def place(atom: int) -> dict[str, Any]:
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
        "atoms": [place(contact.i), place(contact.j)],
    } | ({"wanted_in_frames": _runs([contact in wanted for wanted in along])} if along else {})


def _runs(flags: Sequence[bool]) -> list[list[int]]:
    """First and last place of each run of true ones."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int))).reshape(-1, 2)
    return [[int(first), int(end) - 1] for first, end in edges]


def chemistry_notes(structure: Structure) -> list[str]:
    """Notes on the chirality of amino acids and on covalent links other than disulfides."""
    steering = structure.steering_mask
    return [*chirality_notes(structure, structure.xyz, steering), *link_notes(structure, steering)]


def _notes(structure: Structure, outcomes: list[StreamOutcome], model: EnergyModel | None) -> list[str]:
    notes = [*structure.notes, *chemistry_notes(structure), *energy_notes(model)]
    for outcome in outcomes:
        if not outcome.tree.closed:
            one, other = structure.residues[outcome.tree.first].label, structure.residues[outcome.tree.last].label
            notes.append(f"{one} to {other} reaches a chain end or a chain break: that end moves freely")
        labels = f"{structure.residues[outcome.tree.first].label} to {structure.residues[outcome.tree.last].label}"
        if outcome.status == "rigid":
            notes.append(f"{labels} has no torsional freedom left once its ends are held (rigid): nothing moved")
        if outcome.status == "stuck":
            notes.append(f"{labels}: the stream ended before everything was clean")
    return notes
