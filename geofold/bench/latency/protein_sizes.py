"""Large proteins of any size from a small one: copies on a lattice, so that only the size differs."""

from __future__ import annotations

import itertools
import math
from typing import cast

import numpy as np

from geofold.molecule.structure import Row, Structure

GAP = 0.3
"""nm between the boxes of two copies."""


def assembly(structure: Structure, copies: int) -> Structure:
    """`copies` of a structure, box beside box on a cubic lattice; the first is the original, in the middle.

    Parameters
    ----------
    copies : int
        At least one. Copy k > 0 has chain ids with k appended, so that no two chains share one.
    """
    if copies < 1:
        raise ValueError(f"{copies} copies, expected at least one")
    pitch = np.ptp(structure.xyz, axis=0) + GAP
    side = math.ceil(copies ** (1 / 3))
    nearest = sorted(itertools.product(range(-side, side + 1), repeat=3), key=lambda p: (_square(p), p))
    rows: list[Row] = []
    keys: list[tuple[int, int]] = []
    for number, place in enumerate(nearest[:copies]):
        shift = np.array(place) * pitch
        for a in range(len(structure)):
            chain = f"{structure.chain[a]}{number or ''}"
            labels = (structure.name[a], structure.resname[a], chain, structure.icode[a], structure.altloc[a],
                      structure.element[a])  # fmt: skip
            numbers = (int(structure.resnum[a]), len(rows) + 1, bool(structure.hetatm[a]))
            values = (structure.occupancy[a], structure.bfactor[a], *(structure.xyz[a] + shift))
            rows.append(cast(Row, (*map(str, labels), *numbers, *map(float, values))))
            keys.append((number, int(structure.residue_of[a])))
    return Structure.from_rows(rows, f"{structure.source} x {copies}", keys)


def _square(place: tuple[int, ...]) -> int:
    return sum(k * k for k in place)
