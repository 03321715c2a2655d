"""What `check` says of a structure as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geofold.app.report.chain_breaks import breaks
from geofold.app.report.energies import NumbersAndNotes
from geofold.app.report.measure import measure
from geofold.app.report.report import REPORT_SCHEMA, chemistry_notes, described, versions
from geofold.app.report.torsion_likelihood import likelihood
from geofold.errors import ForceFieldError
from geofold.modelling.repair.detection import trouble
from geofold.molecule.selection import SHOWN_SPANS, incomplete_backbones, residue_spans
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import stretches
from geofold.molecule.topology.torsion_tree import torsion_tree


def inspect(
    structure: Structure, *, energy: Callable[[Structure], NumbersAndNotes] | None = None, altloc: str | None = None
) -> dict[str, Any]:
    """Report with chains, breaks, clashes, Ramachandran counts, cis bonds and the energy.

    Parameters
    ----------
    energy
        What tells energies of the structure; None: the report has none. Where the force field refuses the structure, a
        note says why.
    """
    spans = stretches(structure)
    trees = []
    for first, last in spans:
        if last > first:
            # clashes of every residue count here; where a conformer has to be chosen, the steering one is taken
            letter = altloc or any_altloc(structure, first, last)
            trees.append(torsion_tree(structure, first, last, altloc=letter, torn=True))
    report: dict[str, Any] = {
        "schema": REPORT_SCHEMA,
        "command": "check",
        "versions": versions(),
        "input": described(structure),
        "residues": residue_spans(structure),
        "chain_breaks": breaks(structure),
        "before": measure(structure, trees, structure.xyz, None, altloc),
        "prior": likelihood(structure, [span for span in spans if span[1] > span[0]]),
        "trouble": trouble(structure, altloc),
    }
    numbers: dict[str, Any] = {}
    notes: list[str] = []
    try:
        if energy is not None:  # last: it may be evaluated meanwhile
            numbers, notes = energy(structure)
    except ForceFieldError as error:  # who looks at what is broken wants to see the rest
        notes = [f"no energy: {error}"]
    notes = [*structure.notes, *_torn(structure), *chemistry_notes(structure), *notes]
    return report | {"before": numbers | report["before"], "notes": notes}


def _torn(structure: Structure) -> list[str]:
    """A note of the residues that lack atoms of their backbone."""
    found = incomplete_backbones(structure)
    more = f" and {len(found) - SHOWN_SPANS} more" if len(found) > SHOWN_SPANS else ""
    return [f"incomplete backbones: {'; '.join(found[:SHOWN_SPANS])}{more}"] if found else []


def any_altloc(structure: Structure, first: int, last: int) -> str | None:
    """The first conformer that residues `first` to `last` have beside the common one; None where there is none."""
    letters = [str(structure.altloc[a]) for k in range(first, last + 1) for a in structure.residues[k].atoms]
    return next((letter for letter in letters if letter), None)
