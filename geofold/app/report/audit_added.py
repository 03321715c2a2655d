"""Audit of the atoms that side chains lacked: their bonds have the lengths of their residue type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from geofold.app.report.audit import Check
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.residues import one_letter_codes, standard_name
from geofold.molecule.structure import AddedAtom, Floats, Structure
from geofold.molecule.topology.bonds import templates

ADDED_BOND = 0.1
"""Limit (A): rings that are closed with present atoms of other geometry deviate by half of it, a torn bond by more."""


def audit_added(
    structure: Structure, xyz: Floats, added: Sequence[AddedAtom], owner: Structure, altloc: str | None = None
) -> list[Check]:
    """Check the bonds of atoms that were added to side chains.

    Parameters
    ----------
    structure : Structure
        The structure with the added atoms.
    xyz : (n_atoms, 3)
        Its coordinates (nm) as in the file.
    added : sequence of AddedAtom
    owner : Structure
        Structure whose residues they are numbered by; residues of both are matched by their labels.
    altloc : str or None
        Conformer that they belong to.

    Returns
    -------
    list of Check
        One check; none if no atom was added to one of the twenty amino acids.
    """
    conformer, errors = structure.conformer(altloc), []
    places = {residue.label: k for k, residue in enumerate(structure.residues)} if added else {}
    for atom in added:
        k = places[owner.residues[atom.residue].label]
        own = structure.atom(k, atom.name, conformer)
        for name, length in bond_lengths(standard_name(structure.residues[k].resname)).get(atom.name, ()):
            other = structure.atom(k, name, conformer)
            if own is not None and other is not None:
                errors.append(abs(10 * float(np.linalg.norm(xyz[own] - xyz[other])) - length))
    return [Check("added_bond_error_angstrom", round(max(errors), 4), ADDED_BOND)] if errors else []


@cache
def bond_lengths(name: str) -> dict[str, list[tuple[str, float]]]:
    """Bonded atoms of each heavy atom of an amino acid, with the length of the bond (A); empty for another residue."""
    if name not in one_letter_codes():
        return {}
    ideal = peptide(f"A{one_letter_codes()[name]}A")
    atoms = {str(ideal.name[a]): ideal.xyz[a] for a in ideal.residues[1].atoms}
    lengths: dict[str, list[tuple[str, float]]] = {}
    for one, other in templates()[name]:
        if one in atoms and other in atoms:
            length = 10 * float(np.linalg.norm(atoms[one] - atoms[other]))
            lengths.setdefault(one, []).append((other, length))
            lengths.setdefault(other, []).append((one, length))
    return lengths
