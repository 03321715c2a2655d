"""What `check` says of a structure as it is."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from geofold.app.likelihood import likelihood
from geofold.app.measure import measure
from geofold.app.reporting import REPORT_SCHEMA, described, energy_notes, versions
from geofold.molecule.energy import EnergyModel
from geofold.molecule.residue_range import residue_spans
from geofold.molecule.structure import Structure
from geofold.molecule.torsions import torsion_tree


def inspect(structure: Structure, *, energy: bool, altloc: str | None) -> dict[str, Any]:
    """Report with chains, breaks, clashes, Ramachandran counts, cis bonds and the energy."""
    spans, breaks = _chains(structure)
    trees = []
    for first, last in spans:
        if last > first:
            # clashes of every residue count here; where a conformer has to be chosen, the steering one is taken
            letter = altloc or _any_altloc(structure, first, last)
            trees.append(torsion_tree(structure, first, last, altloc=letter))
    model = EnergyModel.of(structure, structure.steering(altloc)) if energy else None
    return {
        "schema": REPORT_SCHEMA, "command": "check", "versions": versions(), "input": described(structure),
        "residues": residue_spans(structure), "chain_breaks": breaks,
        "before": measure(structure, trees, structure.xyz, model, altloc),
        "prior": likelihood(structure, [span for span in spans if span[1] > span[0]]),
        "notes": [*structure.notes, *energy_notes(model)],
    }  # fmt: skip


def _any_altloc(structure: Structure, first: int, last: int) -> str | None:
    letters = [str(structure.altloc[a]) for k in range(first, last + 1) for a in structure.residues[k].atoms]
    return next((letter for letter in letters if letter), None)


def _chains(structure: Structure) -> tuple[list[tuple[int, int]], list[dict[str, Any]]]:
    """Unbroken stretches of amino acids, and the breaks between those of one chain id."""
    amino = [k for k in range(len(structure.residues)) if structure.is_amino_acid(k)]
    spans: list[tuple[int, int]] = []
    for k in amino:
        if spans and spans[-1][1] == k - 1 and structure.bonded(k - 1, k):
            spans[-1] = (spans[-1][0], k)
        else:
            spans.append((k, k))
    breaks = []
    for (_, end), (start, _) in pairwise(spans):
        if structure.residues[end].chain == structure.residues[start].chain:
            distance = structure.peptide_distance(end, start)
            breaks.append({
                "after": structure.residues[end].label, "before": structure.residues[start].label,
                "distance_angstrom": None if distance is None else round(10 * float(np.asarray(distance)), 2),
            })  # fmt: skip
    return spans, breaks
