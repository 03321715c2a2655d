"""Atoms that side chains of a structure lack."""

from __future__ import annotations

from collections.abc import Collection

from geofold.molecule.energy.all_atom import complete
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.structure import AddedAtom, Structure


def missing_atoms(
    structure: Structure,
    first: int,
    last: int,
    *,
    altloc: str | None = None,
    seed: int = 0,
    only: Collection[int] | None = None,
    force_field: ForceField = AMBER14,
) -> list[AddedAtom]:
    """Missing side-chain atoms of residues `first` to `last`; see `complete`.

    Parameters
    ----------
    structure : Structure
        Input structure.
    first, last : int
        Indices of the first and the last residue.
    altloc : str or None
        Alternate location to complete; None for the default conformer.
    seed : int
        Seed of packing.
    only : collection of int or None
        Residues among which the atoms are placed; None for all.
    force_field : ForceField
        Force field of the run, for the messages; it does not change the atoms.

    Returns
    -------
    list of AddedAtom
        Missing atoms; none for residues that PDBFixer replaced.

    Raises
    ------
    ForceFieldError
        If PDBFixer cannot process a residue.
    """
    conformer = structure.conformer(altloc)
    completed = complete(structure, conformer, hydrogens=False, seed=seed, only=only, force_field=force_field)
    added = []
    replaced = set(completed.replaced)
    for atom, source, residue, position in zip(
        completed.topology.atoms(), completed.source, completed.residue, completed.xyz, strict=True
    ):
        missing = first <= residue <= last and source < 0 and atom.name != "OXT" and atom.element.symbol != "H"
        if missing and structure.residues[residue].label not in replaced:
            added.append(AddedAtom(int(residue), atom.name, atom.element.symbol.upper(), position))
    return added
