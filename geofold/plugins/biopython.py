"""Conversion from and to Biopython structures, whose coordinates are in Angstrom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.structure import Floats, Row, Structure

if TYPE_CHECKING:
    from Bio.PDB.Chain import Chain
    from Bio.PDB.Model import Model
    from Bio.PDB.Structure import Structure as BioStructure

    BioEntity = BioStructure | Model | Chain

SOURCE = "the Biopython structure"


def _chains(entity: BioEntity) -> list[Any]:
    """Chains of a structure's first model, of a model, or the chain itself."""
    if entity.level == "C":
        return [entity]
    models = [entity] if entity.level == "M" else list(entity)[:1]
    return [chain for model in models for chain in model]


def _atoms(entity: BioEntity) -> Iterator[Any]:
    """Every atom, alternate locations and point mutants included, in Biopython's order."""
    for chain in _chains(entity):
        for residue in chain:
            variants = residue.disordered_get_list() if residue.is_disordered() == 2 else [residue]
            for variant in variants:
                yield from variant.get_unpacked_list()


def structure_from_biopython(structure: BioEntity) -> Structure:
    """Structure of a Biopython model or chain; of a Biopython structure, its first model.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    atoms = list(_atoms(structure))
    if not atoms:
        raise NoProteinError(f"{SOURCE} has no atoms", "a model with a protein", "load the coordinates first")
    keys = [(atom.get_parent().get_parent().id, atom.get_parent().id) for atom in atoms]
    return require_protein(Structure.from_rows(map(_row, atoms), SOURCE, keys))


def _row(atom: Any) -> Row:
    residue = atom.get_parent()
    flag, number, icode = residue.id
    x, y, z = (float(value) / 10.0 for value in atom.coord)
    occupancy = 1.0 if atom.occupancy is None else float(atom.occupancy)
    return (
        atom.name.upper(),
        residue.resname.strip().upper(),
        residue.get_parent().id.strip(),
        icode.strip(),
        atom.altloc.strip(),
        (atom.element or "").strip().upper(),
        int(number),
        int(atom.serial_number or 0),
        bool(flag.strip()),
        occupancy,
        float(atom.bfactor or 0.0),
        x,
        y,
        z,
    )


def biopython_with_coordinates(original: BioEntity, structure: Structure, xyz: Floats) -> BioEntity:
    """Copy of a Biopython structure with new coordinates in its first model.

    Parameters
    ----------
    original : Bio.PDB.Structure.Structure
        It is not modified.
    structure : Structure
        Result of ``structure_from_biopython`` for ``original``.
    xyz : (n, 3)
        Coordinates (nm).

    Returns
    -------
    Bio.PDB.Structure.Structure
    """
    copy: BioEntity = original.copy()
    atoms = list(_atoms(copy))
    if len(atoms) != len(structure) or np.shape(xyz) != (len(atoms), 3):
        raise ValueError(f"coordinates {np.shape(xyz)} do not fit a structure of {len(atoms)} atoms")
    for atom, position in zip(atoms, np.asarray(xyz, dtype=np.float64) * 10.0, strict=True):
        atom.set_coord(position.astype(atom.coord.dtype))
    return copy
