"""Structure of a file: all atoms of its first model, and the document that writes it back.

Coordinates are in nm, B-factors in square angstrom. All alternate locations are kept; `Structure.steering` selects one
conformer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geofold.errors import AltlocError

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Row = tuple[str, str, str, str, str, str, int, int, bool, float, float, float, float, float]
"""Name, resname, chain, icode, altloc, element, resnum, serial, hetatm, occupancy, bfactor, x, y, z (nm)."""

WATER = frozenset({"HOH", "DOD", "WAT", "H2O", "D2O", "TIP", "TIP3", "TIP4", "TP3", "SOL", "SPC"})
BONDED = (0.10, 0.20)
"""Range of the C-N distance (nm) of a peptide bond, strained ones included."""


@dataclass(frozen=True, eq=False)
class Residue:
    """Consecutive atoms with the same chain, number and insertion code, in all conformers."""

    chain: str
    resnum: int
    icode: str
    resname: str
    atoms: NDArray[np.int64]

    @property
    def label(self) -> str:
        """Label of the residue, as in ranges: ``A:45A``, or ``:45`` for a blank chain id."""
        return f"{self.chain}:{self.resnum}{self.icode}"


@dataclass(frozen=True)
class Link:
    """Recorded bond between atoms i < j; ``source`` is LINK, SSBOND, CONECT or struct_conn."""

    i: int
    j: int
    source: str


@dataclass(frozen=True, eq=False)
class AddedAtom:
    """Atom that the file lacks: index of its residue, name, element, and position (3,) in nm."""

    residue: int
    name: str
    element: str
    xyz: Floats


class Document(Protocol):  # what can write its file again
    def render(self, structure: Structure, xyz: Floats, moved: Mask, added: Sequence[AddedAtom]) -> bytes:
        """The file with the structure's coordinates; see `geofold.molecule.io.write.render`."""


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """Atoms of the first model in file order, as columns of shape (n,); ``xyz`` is (n, 3) in nm.

    A blank chain, insertion code or altloc is ``''``; names and elements are upper case. ``document`` is opaque; a
    structure without one, from another program, is written as a PDB file.
    """

    source: str
    name: NDArray[np.str_]
    resname: NDArray[np.str_]
    chain: NDArray[np.str_]
    icode: NDArray[np.str_]
    altloc: NDArray[np.str_]
    element: NDArray[np.str_]
    resnum: NDArray[np.int64]
    serial: NDArray[np.int64]
    hetatm: Mask
    occupancy: Floats
    bfactor: Floats
    xyz: Floats
    residue_of: NDArray[np.int64]
    residues: tuple[Residue, ...]
    links: tuple[Link, ...] = ()
    title: str = ""
    n_models: int = 1
    notes: tuple[str, ...] = ()
    document: Document | None = None

    @classmethod
    def from_rows(cls, rows: Iterable[Row], source: str, keys: Sequence[object] | None = None) -> Structure:
        """Build a structure without links; ``keys``, one per atom, separate residues that share their number."""
        columns: list[Any] = list(zip(*rows, strict=True))
        name, resname, chain, icode, altloc, element = (np.array(c, dtype=np.str_) for c in columns[:6])
        resnum, serial = (np.array(c, dtype=np.int64) for c in columns[6:8])
        occupancy, bfactor = (np.array(c, dtype=np.float64) for c in columns[9:11])
        group = keys if keys is not None else list(zip(columns[2], columns[6], columns[3], strict=True))
        starts = [0] + [i for i in range(1, len(group)) if group[i] != group[i - 1]]
        lengths = np.diff([*starts, len(group)])
        residues = []
        for start, length in zip(starts, lengths.tolist(), strict=True):
            atoms = np.arange(start, start + length)
            selected = atoms[_conformer(name[atoms], altloc[atoms], occupancy[atoms], None)]
            lettered = selected[altloc[selected] != ""]
            representative = lettered[0] if len(lettered) else selected[0]
            number, code = int(resnum[start]), str(icode[start])
            residues.append(Residue(str(chain[start]), number, code, str(resname[representative]), atoms))
        return cls(
            source,
            name,
            resname,
            chain,
            icode,
            altloc,
            element,
            resnum,
            serial,
            np.array(columns[8], dtype=np.bool_),
            occupancy,
            bfactor,
            np.array(columns[11:], dtype=np.float64).T.copy(),
            np.repeat(np.arange(len(starts)), lengths),
            tuple(residues),
        )

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.name)

    def __repr__(self) -> str:
        """Return the source and the numbers of atoms and residues."""
        return f"<Structure of {self.source}: {len(self)} atoms, {len(self.residues)} residues>"

    def steering(self, altloc: str | None = None) -> Mask:
        """Select one conformer per residue, as a mask (n,).

        It includes the atoms without altloc and those of one letter: ``altloc`` if the residue has it, otherwise the
        letter of the highest summed occupancy; the first of equal letters, and of atoms that repeat a name.

        Raises
        ------
        AltlocError
            If no residue has the requested letter.
        """
        letters = sorted(set(self.altloc.tolist()) - {""})
        if altloc is not None and altloc not in letters:
            expected = f"one of {', '.join(letters)}" if letters else "no choice, for the file has none"
            raise AltlocError(f"{self.source} has no alternate location '{altloc}'", expected, "leave the choice out")
        mask: Mask = self.altloc == ""
        for index in np.unique(self.residue_of[~mask]):
            atoms = self.residues[index].atoms
            mask[atoms] = _conformer(self.name[atoms], self.altloc[atoms], self.occupancy[atoms], altloc)
        chosen = np.flatnonzero(mask)
        named = list(zip(self.residue_of[chosen].tolist(), self.name[chosen].tolist(), strict=True))
        first = dict(zip(reversed(named), reversed(chosen.tolist()), strict=True))
        return np.isin(np.arange(len(self)), list(first.values()))

    @cached_property
    def steering_mask(self) -> Mask:
        """Mask of ``steering()``, computed once and read-only."""
        mask = self.steering()
        mask.flags.writeable = False
        return mask

    def atom(self, residue_index: int, name: str, mask: Mask) -> int | None:
        """Find the index of a residue's atom by name within ``mask`` (n,); None if it is absent."""
        atoms = self.residues[residue_index].atoms
        return next((int(i) for i in atoms if mask[i] and self.name[i] == name), None)

    @cached_property
    def _amino(self) -> Mask:
        amino = np.ones(len(self.residues), dtype=np.bool_)
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C")):
            has = self.steering_mask & (self.name == name) & (self.element == element)
            amino &= np.bincount(self.residue_of[has], minlength=len(amino)) > 0
        return amino

    def is_amino_acid(self, residue_index: int) -> bool:
        """Return whether the conformer of ``steering_mask`` has N, CA and C with these elements."""
        return bool(self._amino[residue_index])

    def is_water(self, residue_index: int) -> bool:
        """Return whether the residue has a name of water."""
        return self.residues[residue_index].resname in WATER

    def peptide_distance(self, i: int, j: int) -> float | None:
        """Compute the distance in nm from the carbonyl C of residue i to the N of residue j; None if one is absent."""
        c, n = self.atom(i, "C", self.steering_mask), self.atom(j, "N", self.steering_mask)
        return None if c is None or n is None else float(np.linalg.norm(self.xyz[c] - self.xyz[n]))

    def atoms_within(self, first: int, last: int) -> Mask:
        """Mark the atoms of residues `first` to `last` inclusive, (n_atoms,) bool."""
        return (self.residue_of >= first) & (self.residue_of <= last)

    def bonded(self, i: int, j: int) -> bool:
        """Return whether residue j follows residue i in the chain, by the C-N distance (0.10-0.20 nm)."""
        distance = self.peptide_distance(i, j)
        return distance is not None and BONDED[0] <= distance <= BONDED[1]


def _conformer(name: NDArray[np.str_], altloc: NDArray[np.str_], occupancy: Floats, letter: str | None) -> Mask:
    """Mark the atoms of one conformer of a residue, including those shared by its conformers."""
    blank: Mask = altloc == ""
    # in some files the first conformer has no letter; its atoms then share a name with lettered ones
    unlettered = blank & np.isin(name, name[~blank])
    totals: dict[str, float] = {}
    for i in np.flatnonzero(~blank | unlettered):
        totals[str(altloc[i])] = totals.get(str(altloc[i]), 0.0) + float(occupancy[i])
    if not totals:
        return blank
    chosen = letter if letter in totals else max(totals, key=lambda candidate: round(totals[candidate], 6))
    selected: Mask = altloc == chosen
    return selected if not chosen else selected | (blank & ~np.isin(name, name[selected]))
