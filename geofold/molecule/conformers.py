"""Choice of one conformer of a residue among its alternate locations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def select_conformer(name: NDArray[np.str_], altloc: NDArray[np.str_], occupancy: Floats, letter: str | None) -> Mask:
    """Mark the atoms of one conformer of a residue, including those shared by its conformers.

    Parameters
    ----------
    name, altloc : (m,) str
        Names and alternate locations of the residue's atoms.
    occupancy : (m,)
    letter : str or None
        The conformer, if the residue has it; otherwise the one of highest summed occupancy.
    """
    blank: Mask = altloc == ""
    # in some files the first conformer has no letter; its atoms then share a name with labelled ones
    unlettered = blank & np.isin(name, name[~blank])
    totals: dict[str, float] = {}
    for i in np.flatnonzero(~blank | unlettered):
        totals[str(altloc[i])] = totals.get(str(altloc[i]), 0.0) + float(occupancy[i])
    if not totals:
        return blank
    chosen = letter if letter in totals else max(totals, key=lambda candidate: round(totals[candidate], 6))
    selected: Mask = altloc == chosen
    return selected if not chosen else selected | (blank & ~np.isin(name, name[selected]))


def first_of_each_name(residue_of: NDArray[np.int64], name: NDArray[np.str_], mask: Mask) -> Mask:
    """Leave out atoms of a mask (n,) that repeat a name of their residue.

    Parameters
    ----------
    residue_of : (n,) int
        Residue of each atom.
    name : (n,) str
    mask : (n,) bool
    """
    chosen = np.flatnonzero(mask)
    named = list(zip(residue_of[chosen].tolist(), name[chosen].tolist(), strict=True))
    first = dict(zip(reversed(named), reversed(chosen.tolist()), strict=True))
    selected = np.zeros(len(mask), dtype=bool)
    selected[list(first.values())] = True
    return selected
