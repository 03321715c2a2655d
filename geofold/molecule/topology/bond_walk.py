"""Walking the bond graph: which torsions there are, what each carries, and which links tie it down."""

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
    """Torsions of a stretch of residues and the atoms they carry.

    Attributes
    ----------
    first, last : int
        Residue indices of the stretch, inclusive.
    closed : bool
        Whether both ends are anchored, so that the stretch has to stay closed.
    kind : tuple of str
        'phi', 'psi' or 'chi1' ... 'chi4', one per torsion (n).
    residue, near, far, parent : (n,) int
        Residue index, axis atoms (the axis points from near to far), parent torsion (-1: the root).
    atoms, body : (m,) int
        Moving atoms (every conformer, ascending) and the torsion that carries each.
    anchor : (3,) int or None
        N, CA and C of the residue after a closed stretch (or N, CA, CA where C is missing).
    end : int
        Torsion that carries the anchor of a closed stretch; -1 without one.
    links : tuple of (int, int)
        Covalent links from a moving atom to a fixed atom, or across the tree: more rows for the closure.
    steering : (n_atoms,) bool
        The conformer that the tree was built on.
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
    steering: NDArray[np.bool_]
    adjacency: list[list[int]]

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def backbone(self) -> NDArray[np.bool_]:
        """(n,) bool: the phi and psi torsions."""
        return np.array([kind in ("phi", "psi") for kind in self.kind], dtype=bool)

    @cached_property
    def influence(self) -> NDArray[np.bool_]:
        """(n, n) bool: ``influence[k, j]``, torsion j moves what torsion k carries (j is k or an ancestor of k)."""
        influence = np.eye(len(self), dtype=bool)
        for k, parent in enumerate(self.parent.tolist()):  # parents are numbered before their children
            if parent >= 0:
                influence[k] |= influence[parent]
        return influence


class Walk:
    """Breadth-first walk over the bonds of the moving stretch."""

    def __init__(
        self,
        structure: Structure,
        steering: NDArray[np.bool_],
        adjacency: list[list[int]],
        axes: dict[tuple[int, int], tuple[str, int]],
        first: int,
        last: int,
    ) -> None:
        self.structure, self.steering, self.adjacency, self.axes = structure, steering, adjacency, axes
        self.first, self.last = first, last
        self.group: dict[int, int] = {}
        self.torsions: list[tuple[str, int, int, int, int]] = []  # kind, residue, near, far, parent
        self.links: list[tuple[int, int]] = []

    def run(self, start: int) -> None:
        """Visit everything that hangs from `start`, numbering torsions in the order they are met."""
        riders = self._riders()
        self.group[start] = -1
        queue = deque([start])
        while queue:
            atom = queue.popleft()
            for other in self.adjacency[atom]:
                if other in self.group:
                    continue
                if self._same_part(atom, other) or other in riders:
                    self.group[other] = self._enter(atom, other)
                    queue.append(other)
        self.links = self._cross_links()

    def torsion_of(self, carbon: int) -> int:
        """Torsion that carries what follows the last carbonyl carbon."""
        return self.group[carbon]

    def tree(self, *, closed: bool, anchor: tuple[int, int, int] | None, end: int) -> TorsionTree:
        self._carry_other_conformers()
        atoms = np.array(sorted(a for a, g in self.group.items() if g >= 0), dtype=np.int64)
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
            steering=self.steering,
            adjacency=self.adjacency,
        )

    def _enter(self, atom: int, other: int) -> int:
        """Torsion of `other`, reached from `atom`: a new one if this bond turns."""
        turning = self.axes.get((min(atom, other), max(atom, other)))
        if turning is None:
            return self.group[atom]
        self.torsions.append((*turning, atom, other, self.group[atom]))
        return len(self.torsions) - 1

    def _inside(self, atom: int) -> bool:
        return self.first <= self.structure.residue_of[atom] <= self.last

    def _same_part(self, atom: int, other: int) -> bool:
        """Whether the bond stays within a residue of the stretch, or is a peptide bond inside it."""
        if not self._inside(other) or not self._inside(atom):
            return False
        here, there = self.structure.residue_of[atom], self.structure.residue_of[other]
        names = {str(self.structure.name[atom]), str(self.structure.name[other])}
        return bool(here == there or (abs(here - there) == 1 and names == {"N", "C"}))

    def _riders(self) -> set[int]:
        """Atoms of ligands and glycans that hang from the stretch and from nothing else."""
        riders: set[int] = set()
        for start in range(len(self.adjacency)):
            if not self._inside(start):
                continue
            for other in self.adjacency[start]:
                residue = int(self.structure.residue_of[other])
                if self._inside(other) or self.structure.is_amino_acid(residue) or other in riders:
                    continue
                component, free = self._component(other)
                if free:
                    riders |= component
        return riders

    def _component(self, start: int) -> tuple[set[int], bool]:
        """The non-protein group around `start`, and whether it touches no atom outside the stretch."""
        seen, queue, free = {start}, [start], True
        while queue:
            for other in self.adjacency[queue.pop()]:
                if other in seen or self._inside(other):
                    continue
                if self.structure.is_amino_acid(int(self.structure.residue_of[other])):
                    free = False
                    continue
                seen.add(other)
                queue.append(other)
        return seen, free

    def _cross_links(self) -> list[tuple[int, int]]:
        """Bonds that the tree does not hold together by itself, peptide bonds to the anchors excepted."""
        links = []
        for atom, group in self.group.items():
            for other in self.adjacency[atom]:
                if other in self.group:
                    crossing = atom < other and not self._tree_bond(atom, other)
                    if crossing and group != self.group[other]:
                        links.append((atom, other))
                elif group >= 0 and not self._to_anchor(atom, other):
                    links.append((atom, other))
        return links

    def _tree_bond(self, atom: int, other: int) -> bool:
        """Bonds along the tree: both sides keep their distance whatever turns."""
        one, two = self.group[atom], self.group[other]
        for inner, outer, far in ((one, two, other), (two, one, atom)):
            if outer >= 0 and self.torsions[outer][4] == inner and self.torsions[outer][3] == far:
                return True
        return one == two

    def _to_anchor(self, atom: int, other: int) -> bool:
        here, there = int(self.structure.residue_of[atom]), int(self.structure.residue_of[other])
        names = (str(self.structure.name[atom]), str(self.structure.name[other]))
        return (there == self.last + 1 and here == self.last and names == ("C", "N")) or (
            there == self.first - 1 and here == self.first and names == ("N", "C")
        )

    def _carry_other_conformers(self) -> None:
        """Conformers that do not steer ride on their residue's N-CA-C frame, backbone ones on their namesake."""
        for k in range(self.first, self.last + 1):
            frame = self._frame_group(k)
            for atom in self.structure.residues[k].atoms:
                if int(atom) not in self.group:
                    twin = self.structure.atom(k, str(self.structure.name[atom]), self.steering)
                    backbone = str(self.structure.name[atom]) in BACKBONE and twin is not None
                    self.group[int(atom)] = self.group.get(int(twin), frame) if backbone and twin is not None else frame

    def _frame_group(self, k: int) -> int:
        for name in ("CB", "HA", "HA2", "C"):
            atom = self.structure.atom(k, name, self.steering)
            if atom is not None and atom in self.group:
                group = self.group[atom]
                if name == "C" and group >= 0 and self.torsions[group][0] == "psi":
                    return self.torsions[group][4]
                return group
        return -1
