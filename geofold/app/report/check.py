"""Report of `check` on a structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geofold.app.report.chain_breaks import breaks, missing_ends
from geofold.app.report.energies import NumbersAndNotes
from geofold.app.report.metrics import Section, measure
from geofold.app.report.provenance import REPORT_SCHEMA, chemistry_notes, described, versions
from geofold.app.report.torsion_likelihood import likelihood
from geofold.errors import ForceFieldError
from geofold.modelling.repair.detection import report_anomalies, report_plddt
from geofold.molecule.selection import MAX_LISTED, incomplete_backbones, segment_labels
from geofold.molecule.sidechains.repacking import missing_names
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import chain_segments
from geofold.molecule.topology.torsion_tree import torsion_tree


def inspect(
    structure: Structure, *, energy: Callable[[Structure], NumbersAndNotes] | None = None, altloc: str | None = None
) -> dict[str, Any]:
    """Report chains, breaks, clashes, Ramachandran counts, cis bonds and the energy of a structure.

    Parameters
    ----------
    structure : Structure
        The input.
    energy : callable, optional
        Evaluates the energies of the structure; without it, the report has none. If the force field cannot describe
        the structure, a note says why.
    altloc : str, optional
        Conformer to measure if the backbone has several.

    Returns
    -------
    dict
        Schema ``geofold-report/1``, without ``after``.
    """
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "command": "check",
        "versions": versions(),
        "input": described(structure),
        "residues": segment_labels(structure),
        "chain_breaks": breaks(structure),
        "chain_ends": missing_ends(structure),
        "incomplete_side_chains": incomplete_side_chains(structure),
        "before": measure_whole(structure, altloc),
        "prior": likelihood(structure, _segments(structure)),
        "trouble": report_anomalies(structure, altloc),
    }
    if (plddt := report_plddt(structure)) is not None:
        report["plddt"] = plddt
    numbers: dict[str, Any] = {}
    notes: list[str] = []
    try:
        if energy is not None:  # last, since another process may be evaluating it
            numbers, notes = energy(structure)
    except ForceFieldError as error:  # the other numbers of a broken structure are still of interest
        notes = [f"no energy: {error}"]
    notes = [*structure.notes, *_torn(structure), *chemistry_notes(structure), *notes]
    return report | {"before": numbers | report["before"], "notes": notes}


def incomplete_side_chains(structure: Structure) -> list[str]:
    """List the amino acids that lack side-chain atoms, e.g. ``['A:48 LYS lacks CE, NZ']``."""
    conformer = structure.conformer_mask
    amino = [k for k in range(len(structure.residues)) if structure.is_amino_acid(k)]
    return [
        f"{structure.residues[k].label} {structure.residues[k].resname} lacks {', '.join(lacking)}"
        for k in amino
        if (lacking := missing_names(structure, k, conformer))
    ]


def measure_whole(structure: Structure, altloc: str | None = None) -> Section:
    """Measure a structure without its energy; clashes and outliers of every residue count.

    Parameters
    ----------
    structure : Structure
    altloc : str, optional
        Conformer to measure if the backbone has several; the first of each segment if not given.
    """
    trees = [
        torsion_tree(structure, first, last, altloc=altloc or any_altloc(structure, first, last), torn=True)
        for first, last in _segments(structure)
    ]
    return measure(structure, trees, structure.xyz, None, altloc)


def _segments(structure: Structure) -> list[tuple[int, int]]:
    """Segments of two or more residues."""
    return [(first, last) for first, last in chain_segments(structure) if last > first]


def _torn(structure: Structure) -> list[str]:
    """Note on the residues that lack backbone atoms."""
    spans = incomplete_backbones(structure)
    rest = f" and {len(spans) - MAX_LISTED} more" if len(spans) > MAX_LISTED else ""
    return [f"incomplete backbones: {'; '.join(spans[:MAX_LISTED])}{rest}"] if spans else []


def any_altloc(structure: Structure, first: int, last: int) -> str | None:
    """First alternate location of residues `first` to `last`; None if they have no alternate locations."""
    letters = [str(structure.altloc[a]) for k in range(first, last + 1) for a in structure.residues[k].atoms]
    return next((letter for letter in letters if letter), None)
