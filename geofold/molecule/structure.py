"""Structure of a file: all atoms of its first model, and the document that writes it back.

Coordinates are in nm, B-factors in square angstrom. All alternate locations are kept; `Structure.conformer` selects one
conformer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from geofold.errors import AltlocError
from geofold.molecule.conformers import Mask, first_of_each_name, select_conformer
from geofold.molecule.modelled_residue import ModelledResidue, ResidueKey
from geofold.molecule.records import NewResidue, RecordedSequence, Side

Floats = NDArray[np.float64]
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


class Document(Protocol):
    """A file of some format with the place of each atom of the structure in it.

    Documents are immutable: an edit returns another document. The `structure` that a method takes is the one that the
    document describes before the edit.
    """

    @property
    def last_serial(self) -> int:
        """Highest serial number of an atom, deleted ones included; new atoms are numbered from the next."""

    def render(self, structure: Structure, xyz: Floats, moved: Mask) -> bytes:
        """Write the file with the coordinates of `moved` atoms; see `geofold.molecule.io.write.render`."""

    def insert_atoms(self, structure: Structure, added: Sequence[AddedAtom]) -> Document:
        """Insert atoms, sorted by residue, each after the last atom of its residue."""

    def insert_residues(
        self, structure: Structure, anchor: int, new: Sequence[NewResidue], side: Side = "between"
    ) -> Document:
        """Insert residues next to a residue; see `geofold.molecule.io.edit.with_residues`.

        Parameters
        ----------
        structure : Structure
        anchor : int
            Residue that the new ones follow or, on the side 'before', precede.
        new : sequence of NewResidue
        side : 'between', 'after' or 'before'
        """

    def delete_atoms(self, gone: Mask) -> Document:
        """Delete the atoms of a mask (n_atoms,), with the records that belong to them alone."""

    def links(self, structure: Structure) -> tuple[Link, ...]:
        """Bonds between atoms of `structure` that the file records."""

    def sequences(self) -> dict[str, RecordedSequence]:
        """Return the recorded sequence of each chain id, as far as the file has them."""

    def describe_residues(self, structure: Structure, errors: Mapping[int, float | None]) -> Document:
        """Say which residues were modelled, and write their expected errors (A) as B-factors where they are known.

        Earlier statements stay, except on residues that are named again.
        """

    def modelled_residues(self) -> dict[ResidueKey, ModelledResidue]:
        """Return what `describe_residues` said of the file's residues, at any time."""

    def prediction(self) -> str | None:
        """Record that says that B-factors are pLDDT; empty if none does, None if one names an experiment."""


COLUMNS = (
    *("name", "resname", "chain", "icode", "altloc", "element", "resnum", "serial", "hetatm"),
    *("occupancy", "bfactor", "xyz"),
)
"""Fields of `Structure` with one row for each atom that come from a file."""
DTYPES = (*[np.str_] * 6, np.int64, np.int64, np.bool_, np.float64, np.float64)
"""Types of these columns, without ``xyz``."""


@dataclass(frozen=True, eq=False, repr=False)
class Structure:
    """Atoms of the first model in file order, as columns of shape (n,); ``xyz`` is (n, 3) in nm.

    A blank chain, insertion code or altloc is ``''``; names and elements are upper case. ``document`` is opaque; a
    structure without one, from another program, is written as a PDB file. ``given`` are sequences of chains that a user
    gave, in place of those that the document records, and ``given_from`` is the file that they come from.
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
    given: Mapping[str, RecordedSequence] = field(default_factory=dict)
    given_from: str = ""
    _peptide_distances: dict[tuple[int, int], float | None] = field(default_factory=dict, init=False)

    @classmethod
    def from_rows(cls, rows: Iterable[Row], source: str, keys: Sequence[object] | None = None) -> Structure:
        """Build a structure without links; ``keys``, one per atom, separate residues that share their number."""
        columns: list[Any] = list(zip(*rows, strict=True))
        table: dict[str, NDArray[Any]] = {
            column: np.array(values, dtype=dtype)
            for column, values, dtype in zip(COLUMNS[:11], columns, DTYPES, strict=False)
        }
        table["xyz"] = np.array(columns[11:], dtype=np.float64).T.copy()
        group = keys if keys is not None else list(zip(columns[2], columns[6], columns[3], strict=True))
        starts = np.array([i == 0 or group[i] != group[i - 1] for i in range(len(group))], dtype=np.int64)
        return cls.from_columns(table, np.cumsum(starts) - 1, source)

    @classmethod
    def from_columns(cls, columns: Mapping[str, NDArray[Any]], residue_of: NDArray[np.int64], source: str) -> Structure:
        """Structure without links and without a file.

        Parameters
        ----------
        columns : mapping of str to (n, ...)
            `COLUMNS` by name.
        residue_of : (n,) int
            Residue of each atom; starts at zero and increases by zero or one.
        source : str
        """
        name, altloc, occupancy = columns["name"], columns["altloc"], columns["occupancy"]
        index, starts = np.arange(len(name)), [0, *(np.flatnonzero(np.diff(residue_of)) + 1).tolist()]
        parts = [index[start:end] for start, end in pairwise([*starts, len(name)])]
        labels = zip(*(columns[key][starts].tolist() for key in ("chain", "resnum", "icode", "resname")), strict=True)
        has_letter = np.bincount(residue_of, altloc != "", len(parts)) > 0
        residues = []
        for atoms, (chain, resnum, icode, resname), choice in zip(parts, labels, has_letter.tolist(), strict=True):
            if choice:  # the name is that of the conformer
                conformer = atoms[select_conformer(name[atoms], altloc[atoms], occupancy[atoms], None)]
                shown = next(iter(conformer[altloc[conformer] != ""]), conformer[0])
                resname = str(columns["resname"][shown])
            residues.append(Residue(chain, resnum, icode, resname, atoms))
        fields: dict[str, Any] = {column: columns[column] for column in COLUMNS}
        return cls(source=source, **fields, residue_of=residue_of, residues=tuple(residues))

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self.name)

    def __repr__(self) -> str:
        """Return the source and the numbers of atoms and residues."""
        return f"<Structure of {self.source}: {len(self)} atoms, {len(self.residues)} residues>"

    def conformer(self, altloc: str | None = None) -> Mask:
        """Select one conformer per residue, as a mask (n,).

        It includes the atoms without altloc and those of one letter: ``altloc`` if the residue has it, otherwise the
        letter of the highest summed occupancy; the first of equal letters, and of atoms that repeat a name.

        Raises
        ------
        AltlocError
            If no residue has the requested letter.
        """
        if altloc not in self._conformers:
            self._conformers[altloc] = self._select_conformer(altloc)
        return self._conformers[altloc].copy()

    @cached_property
    def _conformers(self) -> dict[str | None, Mask]:
        """Conformers by letter, of those that were asked for."""
        return {}

    def _select_conformer(self, altloc: str | None) -> Mask:
        letters = sorted(set(self.altloc.tolist()) - {""})
        if altloc is not None and altloc not in letters:
            expected = f"one of {', '.join(letters)}" if letters else "no choice, for the file has none"
            raise AltlocError(f"{self.source} has no alternate location '{altloc}'", expected, "leave the choice out")
        mask: Mask = self.altloc == ""
        for index in np.unique(self.residue_of[~mask]):
            atoms = self.residues[index].atoms
            mask[atoms] = select_conformer(self.name[atoms], self.altloc[atoms], self.occupancy[atoms], altloc)
        return first_of_each_name(self.residue_of, self.name, mask)

    @cached_property
    def conformer_mask(self) -> Mask:
        """Mask of ``conformer()``, computed once and read-only."""
        mask = self.conformer()
        mask.flags.writeable = False
        return mask

    def atom(self, residue_index: int, name: str, mask: Mask) -> int | None:
        """Find the index of a residue's atom by name within ``mask`` (n,); None if it is absent."""
        if (named := self._named_atoms.get(residue_index)) is None:
            named = self._named_atoms[residue_index] = {}
            atoms = self.residues[residue_index].atoms
            for i, own in zip(atoms.tolist(), self.name[atoms].tolist(), strict=True):
                named.setdefault(own, []).append(i)
        return next((i for i in named.get(name, ()) if mask[i]), None)

    @cached_property
    def _named_atoms(self) -> dict[int, dict[str, list[int]]]:
        """Atoms by name, of the residues that `atom` was asked for."""
        return {}

    @cached_property
    def _amino(self) -> Mask:
        amino = np.ones(len(self.residues), dtype=np.bool_)
        for name, element in (("N", "N"), ("CA", "C"), ("C", "C")):
            has = self.conformer_mask & (self.name == name) & (self.element == element)
            amino &= np.bincount(self.residue_of[has], minlength=len(amino)) > 0
        return amino

    def is_amino_acid(self, residue_index: int) -> bool:
        """Return whether the conformer of ``conformer_mask`` has N, CA and C with these elements."""
        return bool(self._amino[residue_index])

    def is_water(self, residue_index: int) -> bool:
        """Return whether the residue has a name of water."""
        return self.residues[residue_index].resname in WATER

    def peptide_distance(self, i: int, j: int) -> float | None:
        """Compute the distance in nm from the carbonyl C of residue i to the N of residue j; None if one is absent."""
        known = self._peptide_distances
        if (i, j) not in known:
            c, n = self.atom(i, "C", self.conformer_mask), self.atom(j, "N", self.conformer_mask)
            known[i, j] = None if c is None or n is None else float(np.linalg.norm(self.xyz[c] - self.xyz[n]))
        return known[i, j]

    def mean_bfactor(self, residues: Sequence[int]) -> float:
        """Mean B-factor (square A) of some residues, of their atoms first and of the residues then."""
        return float(np.mean([self.bfactor[self.residues[k].atoms].mean() for k in residues]))

    def atoms_within(self, first: int, last: int) -> Mask:
        """Mark the atoms of residues `first` to `last` inclusive, (n_atoms,) bool."""
        return (self.residue_of >= first) & (self.residue_of <= last)

    def bonded(self, i: int, j: int) -> bool:
        """Return whether residue j follows residue i in the chain, by the C-N distance (0.10-0.20 nm)."""
        distance = self.peptide_distance(i, j)
        return distance is not None and BONDED[0] <= distance <= BONDED[1]
