"""Walk over the bond graph of a segment, which finds its torsions, the atoms that each moves, and covalent links."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.structure import Structure

BACKBONE = ("N", "CA", "C", "O")


@dataclass(frozen=True)
class TorsionTree:
    """Torsions of a segment of residues and the atoms that they move.

    Attributes
    ----------
    first, last : int
        First and last residue index of the segment, inclusive.
    closed : bool
        Whether both ends are anchored, so that the segment has to stay closed.
    kind : tuple of str
        'phi', 'psi' or 'chi1' ... 'chi4', one per torsion (n).
    residue, near, far, parent : (n,) int
        Residue index, axis atoms (the axis points from near to far), parent torsion (-1 for the root).
    atoms, body : (m,) int
        Moving atoms (of all conformers, ascending), and the rigid body of each: the last torsion that moves it.
    anchor : (3,) int or None
        N, CA and C of the residue after a closed segment (or N, CA, CA if C is missing).
    end : int
        Rigid body of the anchor of a closed segment; -1 without an anchor.
    links : tuple of (int, int)
        Covalent links from a moving atom to a fixed atom, or across the tree; they are conditions of closure.
    conformer : (n_atoms,) bool
        Atoms of the conformer that the tree is built on.
    adjacency : list of list of int
        Adjacency list of the bond graph.
    """

    first: int
    last: int
    closed: bool
    kind: tuple[str, ...]
    residue: NDArray[np.int64]
    near: NDArray[np.int64]
    far: NDArray[np.int64]
    parent: NDArray[np.int64]
    atoms: NDArray[np.int64]
    body: NDArray[np.int64]
    anchor: tuple[int, int, int] | None
    end: int
    links: tuple[tuple[int, int], ...]
    conformer: NDArray[np.bool_]
    adjacency: list[list[int]]

    def __len__(self) -> int:
        """Return the number of torsions."""
        return len(self.kind)

    @property
    def backbone(self) -> NDArray[np.bool_]:
        """(n,) bool: whether a torsion is phi or psi."""
        return np.array([kind in ("phi", "psi") for kind in self.kind], dtype=bool)

    @cached_property
    def influence(self) -> NDArray[np.bool_]:
        """(n, n) bool: whether torsion j (column) is torsion k (row) or one of its ancestors."""
        influence = np.eye(len(self), dtype=bool)
        for k, parent in enumerate(self.parent.tolist()):  # parents are numbered before their children
            if parent >= 0:
                influence[k] |= influence[parent]
        return influence


class Walk:
    """Breadth-first walk over the bonds of a moving segment.

    Parameters
    ----------
    structure : Structure
        Structure with the segment.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    adjacency : list of list of int
        Adjacency list of the bond graph.
    axes : dict
        Rotatable bonds (lower atom, higher atom) with kind and residue of their torsion.
    first, last : int
        First and last residue index of the segment, inclusive.
    """

    def __init__(
        self,
        structure: Structure,
        conformer: NDArray[np.bool_],
        adjacency: list[list[int]],
        axes: dict[tuple[int, int], tuple[str, int]],
        first: int,
        last: int,
    ) -> None:
        self.structure, self.conformer, self.adjacency, self.axes = structure, conformer, adjacency, axes
        self.first, self.last = first, last
        self.group: dict[int, int] = {}
        self.torsions: list[tuple[str, int, int, int, int]] = []  # kind, residue, near, far, parent
        self.links: list[tuple[int, int]] = []
        self.pivot: int | None = None

    def run(self, start: int, pivot: int | None = None) -> None:
        """Visit all atoms that are connected to `start`, numbering torsions in the order of the walk.

        With a `pivot`, the segment is entered through this atom outside of it, which stays on the axis of a torsion.
        """
        ligand_atoms = self._ligand_atoms()
        self.group[start] = -1
        queue = deque([start])
        if pivot is not None:
            self.pivot, self.group[pivot] = pivot, self._enter(start, pivot)
            queue = deque([pivot])
        while queue:
            atom = queue.popleft()
            for neighbour in self.adjacency[atom]:
                if neighbour in self.group:
                    continue
                if self._same_part(atom, neighbour) or neighbour in ligand_atoms:
                    self.group[neighbour] = self._enter(atom, neighbour)
                    queue.append(neighbour)
        self.links = self._cross_links()

    def torsion_of(self, atom: int) -> int:
        """Return the last torsion that moves an atom, -1 if none does."""
        return self.group[atom]

    def tree(self, *, closed: bool, anchor: tuple[int, int, int] | None, end: int) -> TorsionTree:
        """Return the tree of a finished walk; for the arguments see `TorsionTree`."""
        self._assign_other_conformers()
        atoms = np.array(sorted(a for a, g in self.group.items() if g >= 0 and a != self.pivot), dtype=np.int64)
        parent = np.array([t[4] for t in self.torsions], dtype=np.int64)
        column = {i: np.array([t[i] for t in self.torsions], dtype=np.int64) for i in (1, 2, 3)}
        return TorsionTree(
            first=self.first,
            last=self.last,
            closed=closed,
            kind=tuple(t[0] for t in self.torsions),
            residue=column[1],
            near=column[2],
            far=column[3],
            parent=parent,
            atoms=atoms,
            body=np.array([self.group[int(a)] for a in atoms], dtype=np.int64),
            anchor=anchor,
            end=end,
            links=tuple(self.links),
            conformer=self.conformer,
            adjacency=self.adjacency,
        )

    def _enter(self, atom: int, neighbour: int) -> int:
        """Return the last torsion that moves `neighbour`, reached from `atom`: a new one if the bond is rotatable."""
        torsion = self.axes.get((min(atom, neighbour), max(atom, neighbour)))
        if torsion is None:
            return self.group[atom]
        self.torsions.append((*torsion, atom, neighbour, self.group[atom]))
        return len(self.torsions) - 1

    def _inside(self, atom: int) -> bool:
        return self.first <= self.structure.residue_of[atom] <= self.last

    def _same_part(self, atom: int, neighbour: int) -> bool:
        """Return whether a bond is within a residue of the segment, or a peptide bond inside it."""
        if not self._inside(neighbour) or not (self._inside(atom) or atom == self.pivot):
            return False
        first, second = self.structure.residue_of[atom], self.structure.residue_of[neighbour]
        names = {str(self.structure.name[atom]), str(self.structure.name[neighbour])}
        return bool(first == second or (abs(first - second) == 1 and names == {"N", "C"}))

    def _ligand_atoms(self) -> set[int]:
        """Find atoms of ligands and glycans that are bonded to the segment and to no other residue."""
        ligand_atoms: set[int] = set()
        residues = self.structure.residues[self.first : self.last + 1]
        for start in (atom for residue in residues for atom in residue.atoms.tolist()):
            for neighbour in self.adjacency[start]:
                residue = int(self.structure.residue_of[neighbour])
                if self._inside(neighbour) or self.structure.is_amino_acid(residue) or neighbour in ligand_atoms:
                    continue
                component, free = self._component(neighbour)
                if free:
                    ligand_atoms |= component
        return ligand_atoms

    def _component(self, start: int) -> tuple[set[int], bool]:
        """Find the non-protein group around `start`, and whether it is bonded to no amino acid outside the segment."""
        visited, queue, free = {start}, [start], True
        while queue:
            for neighbour in self.adjacency[queue.pop()]:
                if neighbour in visited or self._inside(neighbour):
                    continue
                if self.structure.is_amino_acid(int(self.structure.residue_of[neighbour])):
                    free = False
                    continue
                visited.add(neighbour)
                queue.append(neighbour)
        return visited, free

    def _cross_links(self) -> list[tuple[int, int]]:
        """Find bonds whose length the torsions can change, except the peptide bonds to the anchors."""
        links = []
        for atom, group in self.group.items():
            for neighbour in self.adjacency[atom]:
                if neighbour in self.group:
                    crossing = atom < neighbour and not self._tree_bond(atom, neighbour)
                    if crossing and group != self.group[neighbour]:
                        links.append((atom, neighbour))
                elif group >= 0 and not self._to_anchor(atom, neighbour):
                    links.append((atom, neighbour))
        return links

    def _tree_bond(self, atom: int, neighbour: int) -> bool:
        """Return whether a bond is along the tree, so that its length does not depend on the torsions."""
        first, second = self.group[atom], self.group[neighbour]
        for inner, outer, far in ((first, second, neighbour), (second, first, atom)):
            if outer >= 0 and self.torsions[outer][4] == inner and self.torsions[outer][3] == far:
                return True
        return first == second

    def _to_anchor(self, atom: int, neighbour: int) -> bool:
        """Return whether a bond is the peptide bond to an anchor."""
        inner, outer = int(self.structure.residue_of[atom]), int(self.structure.residue_of[neighbour])
        names = (str(self.structure.name[atom]), str(self.structure.name[neighbour]))
        return (outer == self.last + 1 and inner == self.last and names == ("C", "N")) or (
            outer == self.first - 1 and inner == self.first and names == ("N", "C")
        )

    def _assign_other_conformers(self) -> None:
        """Move other conformers with their residue's N-CA-C frame, backbone atoms with the atom of the same name."""
        for k in range(self.first, self.last + 1):
            frame = self._frame_group(k)
            for atom in self.structure.residues[k].atoms:
                if int(atom) not in self.group:
                    twin = self.structure.atom(k, str(self.structure.name[atom]), self.conformer)
                    backbone = str(self.structure.name[atom]) in BACKBONE and twin is not None
                    self.group[int(atom)] = self.group.get(int(twin), frame) if backbone and twin is not None else frame

    def _frame_group(self, k: int) -> int:
        """Return the last torsion that moves the N-CA-C frame of a residue."""
        for name in ("CB", "HA", "HA2", "C"):
            atom = self.structure.atom(k, name, self.conformer)
            if atom is not None and atom in self.group:
                group = self.group[atom]
                if name == "C" and group >= 0 and self.torsions[group][0] == "psi":
                    return self.torsions[group][4]
                return group
        return -1
