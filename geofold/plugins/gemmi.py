"""Conversion from and to gemmi structures, whose coordinates are in Angstrom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.structure import Floats, Row, Structure

if TYPE_CHECKING:
    import gemmi

SOURCE = "the gemmi structure"


def structure_from_gemmi(source: gemmi.Structure) -> Structure:
    """Structure of the first model of a gemmi structure, with its order of atoms.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    rows, keys = list[Row](), list[tuple[str, str, str]]()
    for chain, residue, atom in _atoms(source):
        rows.append(_row(chain, residue, atom))
        keys.append((chain.name, str(residue.seqid), residue.name))
    if not rows:
        raise NoProteinError(f"{SOURCE} has no atoms", "a model with a protein", "load the coordinates first")
    return require_protein(Structure.from_rows(rows, SOURCE, keys))


def gemmi_with_coordinates(original: gemmi.Structure, xyz: Floats) -> gemmi.Structure:
    """Copy of a gemmi structure whose first model has the coordinates (n, 3) in nm."""
    copy = original.clone()
    for (_, _, atom), place in zip(_atoms(copy), (10.0 * np.asarray(xyz)).tolist(), strict=True):
        atom.pos.fromlist(place)
    return copy


def _atoms(structure: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Chain, residue and atom of each atom of the first model, in its order."""
    for chain in structure[0] if len(structure) else []:
        for residue in chain:
            for atom in residue:
                yield chain, residue, atom


def _row(chain: Any, residue: Any, atom: Any) -> Row:
    x, y, z = (value / 10.0 for value in atom.pos.tolist())
    return (
        atom.name.upper(),
        residue.name.strip().upper(),
        chain.name,
        residue.seqid.icode.strip(),
        atom.altloc.strip("\0 "),
        "" if atom.element.name == "X" else atom.element.name.upper(),
        residue.seqid.num,
        atom.serial,
        residue.het_flag == "H",
        float(atom.occ),
        float(atom.b_iso),
        x,
        y,
        z,
    )
