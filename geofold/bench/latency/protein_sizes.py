"""Large proteins as copies of a small one on a lattice, so that only the size differs."""

from __future__ import annotations

import itertools
import math
from typing import cast

import numpy as np

from geofold.molecule.structure import Row, Structure

BOX_GAP = 0.3
"""Distance (nm) between the bounding boxes of two copies."""


def make_lattice(structure: Structure, copies: int) -> Structure:
    """Make a structure of copies on a lattice of bounding boxes; the first, in the middle, is the original.

    Parameters
    ----------
    structure : Structure
        Is copied.
    copies : int
        At least one. Chain ids of copy k > 0 have k appended, so that they are unique.

    Raises
    ------
    ValueError
        If there is no copy.
    """
    if copies < 1:
        raise ValueError(f"{copies} copies, expected at least one")
    pitch = np.ptp(structure.xyz, axis=0) + BOX_GAP
    side = math.ceil(copies ** (1 / 3))
    nearest = sorted(itertools.product(range(-side, side + 1), repeat=3), key=lambda p: (_square(p), p))
    rows: list[Row] = []
    keys: list[tuple[int, int]] = []
    for number, cell in enumerate(nearest[:copies]):
        shift = np.array(cell) * pitch
        for a in range(len(structure)):
            chain = f"{structure.chain[a]}{number or ''}"
            labels = (
                structure.name[a],
                structure.resname[a],
                chain,
                structure.icode[a],
                structure.altloc[a],
                structure.element[a],
            )
            numbers = (int(structure.resnum[a]), len(rows) + 1, bool(structure.hetatm[a]))
            values = (structure.occupancy[a], structure.bfactor[a], *(structure.xyz[a] + shift))
            rows.append(cast(Row, (*map(str, labels), *numbers, *map(float, values))))
            keys.append((number, int(structure.residue_of[a])))
    return Structure.from_rows(rows, f"{structure.source} x {copies}", keys)


def _square(cell: tuple[int, ...]) -> int:
    return sum(k * k for k in cell)
