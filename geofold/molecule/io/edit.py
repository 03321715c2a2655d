"""Edits of a structure: atoms and residues are inserted and deleted in its columns and in its document.

Nothing is read again: the columns of new atoms are those that a reader would find in the edited file, with the one
rounding that is named below. New serial numbers follow the highest of the file, so that records that refer to atoms by
number (CONECT) stay valid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.errors import BuildError, NoProteinError
from geofold.molecule.io.pdb_models import document_of
from geofold.molecule.records import NewResidue, Side, neighbours_of_new
from geofold.molecule.structure import (
    COLUMNS,
    AddedAtom,
    Document,
    Floats,
    Link,
    Mask,
    Structure,
)

__all__ = [
    "require_single_model",
    "round_coordinates",
    "with_atoms",
    "with_expected_errors",
    "with_residues",
    "without_atoms",
]


def with_residues(
    structure: Structure, anchor: int, removed: Sequence[int], new: Sequence[NewResidue], side: Side = "between"
) -> Structure:
    """Replace residues `removed` by new ones after residue `anchor`, or insert new ones next to it.

    All coordinates, those of the new residues included, are kept to the last bit. Links of new atoms are not made, even
    if a record of the file names them: nothing ensures that the built residues satisfy them.

    Parameters
    ----------
    structure : Structure
    anchor : int
        Residue before the new ones; on the side 'before', residue after them.
    removed : sequence of int
        Residues to delete; they follow `anchor`, and another residue follows them.
    new : sequence of NewResidue
    side : 'between', 'after' or 'before'
        'between': the new residues join `anchor` to the next residue. 'after' and 'before': the chain ends with them.

    Returns
    -------
    Structure
        With a document; a structure without one gets a PDB document.

    Raises
    ------
    OutputError
        If a coordinate does not fit the format of the document.
    """
    present, document = _with_document(structure)
    gone = np.isin(present.residue_of, np.asarray(removed, dtype=np.int64))
    if gone.any():
        present, document = _without_rows(present, gone), document.delete_atoms(gone)
    count = [len(residue.atoms) for residue in new]
    atoms, number = present.residues[anchor].atoms, anchor if side == "before" else anchor + 1
    first = int(atoms[0]) if side == "before" else int(atoms[-1]) + 1
    columns = _columns_of_new_residues(present, anchor, new, document.last_serial, side)
    residue_of = present.residue_of + len(new) * (present.residue_of >= number)
    inserted = number + np.repeat(np.arange(len(new)), count)
    edited = _with_rows(present, np.full(sum(count), first), columns, residue_of, inserted)
    return replace(edited, document=document.insert_residues(present, anchor, new, side))


def require_single_model(structure: Structure) -> None:
    """Refuse to insert residues into a file with several models, whose atoms would then differ.

    Raises
    ------
    BuildError
    """
    if structure.n_models > 1:
        raise BuildError(f"{structure.source} has {structure.n_models} models", "a single model", "keep one of them")


def with_atoms(structure: Structure, added: Sequence[AddedAtom]) -> Structure:
    """Add atoms at the end of their residues.

    The coordinates of the new atoms are rounded to 0.001 A, as the file has them, so that a run starts from what it
    would write; so are those of all atoms of a structure without a document, which gets a PDB document. Links are
    those that the records of the file name, of new atoms included.

    Parameters
    ----------
    structure : Structure
    added : sequence of AddedAtom

    Raises
    ------
    OutputError
        If a coordinate does not fit the format of the document.
    """
    present, document = _with_document(structure)
    if structure.document is None:
        present = replace(present, xyz=round_coordinates(present.xyz))
    added = sorted(added, key=lambda atom: atom.residue)
    residues = np.array([atom.residue for atom in added], dtype=np.int64)
    last = np.array([present.residues[k].atoms[-1] for k in residues], dtype=np.int64)
    columns: dict[str, Any] = {column: getattr(present, column)[last] for column in COLUMNS}
    columns |= {
        "name": [atom.name.upper() for atom in added],
        "resname": [present.residues[k].resname for k in residues],
        "altloc": [""] * len(added),
        "element": [atom.element.upper() for atom in added],
        "serial": document.last_serial + 1 + np.arange(len(added)),
        "occupancy": np.ones(len(added)),
        "bfactor": [round(present.mean_bfactor((k,)), 2) for k in residues],
        "xyz": round_coordinates(np.array([atom.xyz for atom in added]).reshape(-1, 3)),
    }
    edited = _with_rows(present, last + 1, columns, present.residue_of, residues)
    document = document.insert_atoms(present, added)
    links = edited.links if structure.document is None else document.links(edited)
    return replace(edited, document=document, links=links)


def without_atoms(structure: Structure, gone: Mask) -> Structure:
    """Delete the atoms of a mask (n_atoms,); residues that lose all atoms are deleted, and links of deleted atoms.

    Raises
    ------
    NoProteinError
        If no atom is left.
    """
    if gone.all():
        raise NoProteinError(
            f"{structure.source} without all of its atoms", "atoms that remain", "delete fewer of them"
        )
    document = structure.document
    return replace(_without_rows(structure, gone), document=None if document is None else document.delete_atoms(gone))


def with_expected_errors(structure: Structure, errors: Mapping[int, float | None]) -> Structure:
    """Write the expected error of residues as the B-factor of their atoms, and say in the file that they were modelled.

    Parameters
    ----------
    structure : Structure
    errors : mapping of int to float or None
        Expected error (A) of each modelled residue; if it is None, the B-factors stay.

    Returns
    -------
    Structure
        With a document; a structure without one gets a PDB document.
    """
    present, document = _with_document(structure)
    bfactor = present.bfactor.copy()
    for residue, error in errors.items():
        if error is not None:
            bfactor[present.residues[residue].atoms] = round(error, 2)
    return replace(present, bfactor=bfactor, document=document.describe_residues(present, errors))


def _with_document(structure: Structure) -> tuple[Structure, Document]:
    """Structure and its document; without one, a PDB document, and occupancies and B-factors rounded as in it."""
    if structure.document is not None:
        return structure, structure.document
    occupancy, bfactor = (
        np.array([round(value, 2) for value in column.tolist()]) for column in (structure.occupancy, structure.bfactor)
    )
    return replace(structure, occupancy=occupancy, bfactor=bfactor), document_of(structure)


def _columns_of_new_residues(
    structure: Structure, anchor: int, new: Sequence[NewResidue], last_serial: int, side: Side
) -> dict[str, Any]:
    """`COLUMNS` of the atoms of new residues, which are in the chain of residue `anchor`."""
    atoms = [
        (residue, name, element)
        for residue in new
        for name, element in zip(residue.atoms, residue.elements, strict=True)
    ]
    bfactor = round(structure.mean_bfactor(neighbours_of_new(anchor, side)), 2)
    return {
        "name": [name.upper() for _, name, _ in atoms],
        "resname": [residue.name for residue, _, _ in atoms],
        "chain": [structure.residues[anchor].chain] * len(atoms),
        "icode": [residue.number[1] for residue, _, _ in atoms],
        "altloc": [""] * len(atoms),
        "element": [element.upper() for _, _, element in atoms],
        "resnum": [residue.number[0] for residue, _, _ in atoms],
        "serial": last_serial + 1 + np.arange(len(atoms)),
        "hetatm": np.array([residue.hetatm for residue, _, _ in atoms], dtype=np.bool_),
        "occupancy": np.ones(len(atoms)),
        "bfactor": np.full(len(atoms), bfactor),
        "xyz": np.concatenate([residue.xyz for residue in new]),
    }


def _with_rows(
    structure: Structure,
    places: NDArray[np.int64],
    columns: dict[str, Any],
    residue_of: NDArray[np.int64],
    inserted: NDArray[np.int64],
) -> Structure:
    """Insert m rows into the columns.

    Parameters
    ----------
    structure : Structure
    places : (m,) int
        Atom before which each row is inserted, in increasing order; n_atoms for the end.
    columns : dict of str to (m, ...)
        `COLUMNS` of the new atoms.
    residue_of : (n_atoms,) int
        Residue of each present atom after the edit.
    inserted : (m,) int
        Residue of each new atom.
    """
    order = np.argsort(np.concatenate([np.arange(len(structure)), places - 0.5]), kind="stable")
    merged = {column: np.concatenate([getattr(structure, column), columns[column]])[order] for column in COLUMNS}
    residues = np.concatenate([residue_of, inserted])[order]
    index = np.argsort(order)[: len(structure)]
    links = tuple(Link(int(index[link.i]), int(index[link.j]), link.source) for link in structure.links)
    return _rebuilt(structure, merged, residues, links)


def _without_rows(structure: Structure, gone: Mask) -> Structure:
    """Delete the rows of a mask (n_atoms,); the document, which does not fit any more, is left out."""
    index = np.cumsum(~gone) - 1
    links = tuple(
        Link(int(index[link.i]), int(index[link.j]), link.source)
        for link in structure.links
        if not gone[[link.i, link.j]].any()
    )
    residues = np.unique(structure.residue_of[~gone], return_inverse=True)[1]
    return _rebuilt(structure, {column: getattr(structure, column)[~gone] for column in COLUMNS}, residues, links)


def _rebuilt(
    structure: Structure, columns: dict[str, Any], residue_of: NDArray[np.int64], links: tuple[Link, ...]
) -> Structure:
    """Structure of edited columns, with the title and the notes of the one before the edit."""
    edited = Structure.from_columns(columns, residue_of, structure.source)
    kept = {name: getattr(structure, name) for name in ("title", "n_models", "notes", "given", "given_from")}
    return replace(edited, links=links, **kept)


def round_coordinates(xyz: Floats) -> Floats:
    """Coordinates (..., 3) in nm after rounding to 0.001 A, bit for bit as they are read from a file."""
    return np.array([round(value, 3) for value in (xyz * 10.0).ravel().tolist()]).reshape(xyz.shape) / 10.0
