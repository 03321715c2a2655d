"""Residues to insert into a structure, and sequences that a file records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.residues import STANDARD_RESIDUES

Side = Literal["between", "after", "before"]
"""Where new residues are: between a residue and the next, which they join, or at a chain end after or before one."""


@dataclass(frozen=True, eq=False)
class NewResidue:
    """A residue to insert: name, number with insertion code, names and elements of its m atoms, xyz (m, 3) in nm."""

    name: str
    number: tuple[int, str]
    atoms: tuple[str, ...]
    elements: tuple[str, ...]
    xyz: NDArray[np.float64]

    @property
    def hetatm(self) -> bool:
        """Whether its atoms are HETATM records: it is none of the twenty amino acids."""
        return self.name not in STANDARD_RESIDUES


@dataclass(frozen=True)
class RecordedSequence:
    """Sequence of one chain as the file records it, residues without coordinates included.

    Attributes
    ----------
    names : tuple of str
        Residue names (n), upper case.
    numbers : tuple of (int, str) or None
        Number and insertion code of each residue (n); None if the record does not give it.
    source : str
        Name of the record.
    """

    names: tuple[str, ...]
    numbers: tuple[tuple[int, str] | None, ...]
    source: str


def neighbours_of_new(anchor: int, side: Side) -> tuple[int, ...]:
    """Return the residues next to new ones that are inserted on a side of residue `anchor`."""
    return (anchor, anchor + 1) if side == "between" else (anchor,)
