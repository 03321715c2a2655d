"""Protein chains as sequences of residues and torsions, from a file of backbones (`geofold data build`).

Glossary: ``R`` residues of all chains end to end, ``C`` chains, ``T`` residues of a window. Angles are in radian,
NaN where a chain ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from geofold.errors import InputFileError
from geofold.geometry import dihedral

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
PROLINE = AMINO_ACIDS.index("P")
SPLITS = ("train", "valid", "test")
FIELDS = ("dxyz", "aa", "start", "length", "split")
"""Arrays that a file of backbones must have."""
DSSP = "HGIEBTSC"

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Chains:
    """Chains end to end.

    Attributes
    ----------
    residue : (R,) uint8
        Amino acids, as indices into `AMINO_ACIDS`.
    torsions : (R, 3) float32
        phi, psi and omega, the latter of the bond before the residue (radian).
    start, length, split : (C,) int
        First residue, number of residues, and index into `SPLITS`.
    steps : (R, 4, 3) int16
        N, CA, C and O as differences of consecutive atoms, in units of 0.01 A and modulo 2^16.
    dssp : (R,) uint8 or None
        Secondary structure, as indices into `DSSP`; None if the file has none.
    """

    residue: NDArray[np.uint8]
    torsions: Floats
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    split: NDArray[np.int64]
    steps: NDArray[np.int16]
    dssp: NDArray[np.uint8] | None = None

    def xyz(self, number: int) -> NDArray[np.float64]:
        """N, CA, C and O (n, 4, 3) of a chain (A), with its first N at the origin."""
        first = int(self.start[number])
        steps = self.steps[first : first + int(self.length[number])].copy()
        steps[0, 0] = 0  # the step from the end of the chain before has no meaning
        return np.cumsum(steps.reshape(-1, 3), axis=0, dtype=np.int16).reshape(-1, 4, 3) / 100

    def letters(self, number: int) -> str:
        """One-letter sequence of a chain."""
        first = int(self.start[number])
        return "".join(AMINO_ACIDS[k] for k in self.residue[first : first + int(self.length[number])])

    def windows(self, split: str, size: int) -> NDArray[np.int64]:
        """First residues (n,) of non-overlapping windows of `size` residues of a split, in the order of the file."""
        chosen = np.flatnonzero((self.split == SPLITS.index(split)) & (self.length >= size))
        return np.concatenate(
            [np.arange(self.start[c], self.start[c] + self.length[c] - size + 1, size) for c in chosen]
            or [np.zeros(0, dtype=np.int64)]
        )


def read_chains(path: str | Path) -> Chains:
    """Read the chains of a `backbones.npz`.

    Raises
    ------
    InputFileError
        If the file is missing or has another format.
    """
    try:
        with np.load(path) as file:
            dxyz, aa, start, length, split = (file[name] for name in FIELDS)
            dssp = file["dssp"] if "dssp" in file.files else None
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputFileError(f"{path} holds no backbones ({error})", "a backbones.npz", "check --data") from None
    xyz = np.cumsum(dxyz.reshape(-1, 3), axis=0, dtype=np.int16).reshape(-1, 4, 3).astype(np.float32) / 100
    n, ca, c = (xyz[:, k] for k in range(3))
    torsions = np.full((len(aa), 3), np.nan, dtype=np.float32)
    torsions[1:, 0] = dihedral(c[:-1], n[1:], ca[1:], c[1:])
    torsions[:-1, 1] = dihedral(n[:-1], ca[:-1], c[:-1], n[1:])
    torsions[1:, 2] = dihedral(ca[:-1], c[:-1], n[1:], ca[1:])
    first, last = start, start + length - 1
    torsions[first, 0] = torsions[first, 2] = torsions[last, 1] = np.nan
    start, length, split = (part.astype(np.int64) for part in (start, length, split))
    return Chains(aa, torsions, start, length, split, dxyz, dssp)
