"""Conversion from and to biotite atom arrays, whose coordinates are in Angstrom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.selection import guess_element
from geofold.molecule.structure import Floats, Structure

if TYPE_CHECKING:
    from biotite.structure import AtomArray, AtomArrayStack

SOURCE = "the biotite atoms"


def structure_from_biotite(source: AtomArray | AtomArrayStack) -> Structure:
    """Structure of an AtomArray or of the first model of a stack, with its order of atoms.

    Occupancies, B-factors, serial numbers and alternate locations are those of the annotations ``occupancy``,
    ``b_factor``, ``atom_id`` and ``altloc_id``, where the array has them.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    size = source.array_length()
    if not size:
        raise NoProteinError(f"{SOURCE} are an empty array", "an array with a protein", "select other atoms")
    present = set(source.get_annotation_categories())

    def column(name: str, default: Any) -> list[Any]:
        return list(source.get_annotation(name).tolist()) if name in present else [default] * size

    names, resnames = ([text.strip().upper() for text in column(name, "")] for name in ("atom_name", "res_name"))
    elements = [
        element.strip().upper() or guess_element(f" {name}", resname)
        for element, name, resname in zip(column("element", ""), names, resnames, strict=True)
    ]
    chains, insertions = ([text.strip() for text in column(name, "")] for name in ("chain_id", "ins_code"))
    letters = ["" if text in (".", "?", " ") else text for text in column("altloc_id", "")]
    numbers = column("res_id", 0), column("atom_id", 0)
    values = column("hetero", False), column("occupancy", 1.0), column("b_factor", 0.0)
    places = (np.asarray(_coordinates(source), dtype=np.float64) / 10.0).T.tolist()
    rows = zip(names, resnames, chains, insertions, letters, elements, *numbers, *values, *places, strict=True)
    keys = list(zip(chains, numbers[0], insertions, resnames, strict=True))
    return require_protein(Structure.from_rows(rows, SOURCE, keys))


def biotite_with_coordinates(original: AtomArray | AtomArrayStack, xyz: Floats) -> AtomArray | AtomArrayStack:
    """Copy of an array, or of the first model of a stack, with coordinates (n, 3) in nm."""
    copy = original.copy() if original.coord.ndim == 2 else original[:1].copy()
    placed = 10.0 * np.asarray(xyz, dtype=np.float64)
    copy.coord = placed.astype(copy.coord.dtype).reshape(copy.coord.shape)
    return copy


def _coordinates(source: AtomArray | AtomArrayStack) -> Any:
    """Coordinates (n, 3) in A of an array, or of the first model of a stack."""
    return source.coord if source.coord.ndim == 2 else source.coord[0]
