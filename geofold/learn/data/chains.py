"""Protein chains as sequences of residues and torsions, from a file of backbones (`geofold data build`).

Glossary: ``R`` residues of all chains end to end, ``C`` chains, ``T`` residues of a window. Angles are in radian,
NaN where a chain ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geofold.errors import InputFileError
from geofold.geometry import dihedral
from geofold.learn.arrays import INTEGERS, Field, read_arrays

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
PROLINE = AMINO_ACIDS.index("P")
SPLITS = ("train", "valid", "test")
FIELDS: dict[str, Field] = {
    "dxyz": (INTEGERS, ("R", 4, 3)),
    "aa": (INTEGERS, ("R",)),
    "start": (INTEGERS, ("C",)),
    "length": (INTEGERS, ("C",)),
    "split": (INTEGERS, ("C",)),
    "dssp": (INTEGERS, ("R",)),
}
"""Arrays of a file of backbones; the secondary structure is optional."""
DSSP = "HGIEBTSC"
CHECK_DATA = "give --data a file that `geofold data build` wrote"

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
        If the file is missing, has another format, or its arrays contradict one another.
    """
    arrays = read_arrays(
        path, FIELDS, optional=("dssp",), content="backbones", expected="a backbones.npz", remedy=CHECK_DATA
    )
    reason = _contradiction(arrays)
    if reason is not None:
        raise InputFileError(f"{path} holds no backbones ({reason})", "a backbones.npz", CHECK_DATA)
    dxyz, aa = arrays["dxyz"].astype(np.int16), arrays["aa"].astype(np.uint8)
    start, length, split = (arrays[name].astype(np.int64) for name in ("start", "length", "split"))
    xyz = np.cumsum(dxyz.reshape(-1, 3), axis=0, dtype=np.int16).reshape(-1, 4, 3).astype(np.float32) / 100
    n, ca, c = (xyz[:, k] for k in range(3))
    torsions = np.full((len(aa), 3), np.nan, dtype=np.float32)
    torsions[1:, 0] = dihedral(c[:-1], n[1:], ca[1:], c[1:])
    torsions[:-1, 1] = dihedral(n[:-1], ca[:-1], c[:-1], n[1:])
    torsions[1:, 2] = dihedral(ca[:-1], c[:-1], n[1:], ca[1:])
    first, last = start, start + length - 1
    torsions[first, 0] = torsions[first, 2] = torsions[last, 1] = np.nan
    dssp = arrays["dssp"].astype(np.uint8) if "dssp" in arrays else None
    return Chains(aa, torsions, start, length, split, dxyz, dssp)


def _contradiction(arrays: dict[str, NDArray[np.generic]]) -> str | None:
    """Why the arrays cannot be those of chains; None if they can."""
    for name, count in (("aa", len(AMINO_ACIDS)), ("split", len(SPLITS)), ("dssp", len(DSSP))):
        values = arrays.get(name, np.zeros(1, np.uint8))
        if not len(values):
            return "it has no chain"
        if int(values.min()) < 0 or int(values.max()) >= count:
            return f"{name} has a value outside 0 to {count - 1}"
    start, length = (arrays[name].astype(np.int64) for name in ("start", "length"))
    size = len(arrays["aa"])
    inside = (start >= 0) & (start < size) & (length >= 1) & (length <= size)
    if not inside.all() or (start + length > np.append(start[1:], size)).any():
        return "start and length are not those of consecutive chains"
    return None


def require_splits(chains: Chains, path: str | Path, shortest: int, splits: tuple[str, ...] = SPLITS[:2]) -> None:
    """Make sure that each of some splits has a chain that is long enough.

    Parameters
    ----------
    chains : Chains
        The data.
    path : str or Path
        Their file, for the message.
    shortest : int
        Smallest number of residues.
    splits : tuple of str
        The splits.

    Raises
    ------
    InputFileError
        If a split has no such chain.
    """
    for split in splits:
        lengths = chains.length[chains.split == SPLITS.index(split)]
        if not len(lengths) or lengths.max() < shortest:
            raise InputFileError(
                f"{path} has no chain of {shortest} residues in its split {split!r} ({len(chains.length)} chains in"
                f" all, {len(lengths)} in this split, the longest of {lengths.max(initial=0)} residues)",
                f"one in each of {' and '.join(splits)}",
                "give `geofold data build` more structures that are not related, or a smaller --shortest",
            )
