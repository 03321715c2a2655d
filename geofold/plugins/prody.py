"""Conversion from and to ProDy atom groups and selections, whose coordinates are in Angstrom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from geofold.errors import NoProteinError
from geofold.molecule.io.read import require_protein
from geofold.molecule.selection import guess_element
from geofold.molecule.structure import Floats, Row, Structure

SOURCE = "the ProDy atoms"


def structure_from_prody(source: Any) -> Structure:
    """Structure of the active coordinates of a `prody.AtomGroup` or a selection, with its order of atoms.

    Raises
    ------
    NoProteinError, CoordinateError
    """
    if not source.numAtoms() or source.getCoords() is None:
        raise NoProteinError(f"{SOURCE} have no coordinates", "a protein", "load the coordinates first")
    return require_protein(Structure.from_rows(_rows(source), SOURCE, source.getResindices().tolist()))


def prody_with_coordinates(original: Any, xyz: Floats) -> Any:
    """Copy of the atoms, an AtomGroup, with the coordinates (n, 3) in nm as the active ones."""
    moved, present = original.copy(), original.getCoords()
    # a tenth times ten may round: what did not move keeps its value
    moved.setCoords(np.where(xyz == present / 10.0, present, 10.0 * np.asarray(xyz)))
    return moved


def _rows(source: Any) -> Iterator[Row]:
    count = source.numAtoms()

    def column(values: Any, missing: Any) -> list[Any]:
        return [missing] * count if values is None else values.tolist()

    numbers = (column(values, 0) for values in (source.getResnums(), source.getSerials()))
    texts = (
        [str(text).strip() for text in column(values, "")]
        for values in (
            source.getNames(),
            source.getResnames(),
            source.getChids(),
            source.getIcodes(),
            source.getAltlocs(),
            source.getElements(),
        )
    )
    names, resnames, chains, icodes, altlocs, elements = texts
    resnums, serials = numbers
    hetero = column(source.getFlags("hetatm"), False)
    occupancies, betas = column(source.getOccupancies(), 1.0), column(source.getBetas(), 0.0)
    for k, (x, y, z) in enumerate((source.getCoords() / 10.0).tolist()):
        yield (
            names[k].upper(),
            resnames[k].upper(),
            chains[k],
            icodes[k],
            altlocs[k],
            elements[k].upper() or guess_element(f" {names[k]}", resnames[k].upper()),
            resnums[k],
            serials[k],
            bool(hetero[k]),
            float(occupancies[k]),
            float(betas[k]),
            x,
            y,
            z,
        )
