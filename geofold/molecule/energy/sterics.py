"""Soft sterics between heavy atoms: neighbour lists and the cost of overlaps.

Glossary: ``B`` rows, ``m`` local (moving) atoms, ``e`` fixed surrounding atoms, ``p`` pairs. Pairs at constant
distance (in the same rigid body, or both fixed) and pairs up to three bonds apart are excluded, and so are waters,
which are mobile.

The pair list is a neighbour list with a skin. It is exact while no atom has moved by more than half the skin, and is
rebuilt otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geofold.kernels.library import call, usable
from geofold.molecule.energy.clash_cost import (
    DISTANCE_OFFSET,
    OVERLAP_TOLERANCE,
    SCREEN_MARGIN,
    Clashes,
    overlap_cost,
    screen,
)
from geofold.molecule.kinematics.forward import Kinematics
from geofold.molecule.structure import WATER, Structure
from geofold.molecule.topology.bonds import pairs_within_bonds
from geofold.molecule.topology.torsion_tree import TorsionTree
from geofold.molecule.vdw_radii import (
    EXCLUDED_BONDS,
    MAX_CONTACT,
    POLAR,
    POLAR_ALLOWANCE,
    SEVERE_OVERLAP,
    radius_of,
)

SKIN = 0.25
"""Skin of the neighbour list (nm)."""
MAX_COMPLETE_PAIRS = 20_000
"""Number of pairs up to which all are listed (peptides), which is cheaper than rebuilding a neighbour list."""
LANES = 16
"""Atoms that the kernel screens at once."""
MAX_TABLE_ENTRIES = 2**22
"""Number of pairs up to which duplicates are removed by a table (4 MB), which is faster than sorting."""


class PairList(NamedTuple):
    """Neighbouring pairs, those of two local atoms first.

    Attributes
    ----------
    i, j : (p,) int
        Atoms of the sterics: local ones, then fixed ones.
    distance : (p,) float
        Contact distance, nm.
    inner : int
        Number of pairs of two local atoms.
    fixed_xyz : (p - inner, 3) float
        Coordinates of the fixed atoms of the remaining pairs, nm.
    reference : (B, m, 3) float or None
        Coordinates at which the list was built; None for a complete list, which never expires.
    """

    i: Tensor
    j: Tensor
    distance: Tensor
    inner: int
    fixed_xyz: Tensor
    reference: Tensor | None

    def select(self, rows: Tensor) -> PairList:
        """Return the list for rearranged rows; its pairs are common to all rows."""
        return self if self.reference is None else self._replace(reference=self.reference[rows])


@dataclass(frozen=True)
class Sterics:
    """Heavy-atom pairs of a moving segment and its surroundings. Build with `Sterics.of`.

    Attributes
    ----------
    local : (m',) int
        Local rows of the heavy atoms of the conformer.
    fixed : (e, 3) float
        Coordinates of the fixed heavy atoms.
    radius : (m' + e,) float
        Van der Waals radii, nm.
    polar : (m' + e,) bool
        Atoms that can form a hydrogen bond.
    body : (m' + e,) int
        Rigid body of each atom; the fixed ones share an index of their own.
    bonded : (b,) int
        Pairs at most `EXCLUDED_BONDS` apart, in ascending order: row of the local atom times m' + e, plus row of the
        second atom.
    residue : (m',) int
        Residue index of each local heavy atom, counted from the first of the segment (clamped to it).
    tree : cKDTree
        Positions of the fixed atoms.
    atoms : (m' + e,) int
        Indices of the atoms in the structure.
    local_count : int
        Number m of local atoms, hydrogens included.
    """

    local: Tensor
    fixed: Tensor
    radius: Tensor
    polar: Tensor
    body: np.ndarray
    bonded: np.ndarray
    residue: Tensor
    tree: cKDTree
    atoms: np.ndarray
    local_count: int

    @classmethod
    def of(cls, structure: Structure, tree: TorsionTree, kinematics: Kinematics, cutoff: float) -> Sterics:
        """Sterics of a torsion tree and of everything near its moving atoms.

        Parameters
        ----------
        structure : Structure
            Structure that the tree belongs to.
        tree : TorsionTree
            Torsions of the segment.
        kinematics : Kinematics
            Kinematics of the tree, which numbers the local atoms.
        cutoff : float
            Fixed atoms up to this distance (nm) from a moving atom are included.
        """
        local_atoms, xyz, moving = kinematics.atoms.cpu().numpy(), structure.xyz, structure.xyz[tree.atoms]
        elements = [e for e in np.unique(structure.element).tolist() if radius_of(e) > 0]
        heavy = np.isin(structure.element, elements) & tree.conformer & ~np.isin(structure.resname, list(WATER))
        rows = np.flatnonzero(heavy[local_atoms])
        inside = local_atoms[rows]
        heavy[inside] = False
        low, high = moving.min(0, initial=np.inf) - cutoff, moving.max(0, initial=-np.inf) + cutoff
        outside = np.flatnonzero(heavy & ((xyz >= low) & (xyz <= high)).all(1))
        outside = outside[np.isfinite(cKDTree(moving).query(xyz[outside], distance_upper_bound=cutoff)[0])]
        atoms = np.concatenate([inside, outside]).astype(np.int64)
        body = np.concatenate([kinematics.body.cpu().numpy()[rows], np.full(len(outside), len(tree))])
        device, dtype, element = kinematics.near.device, kinematics.dtype, structure.element[atoms].tolist()
        residue = np.clip(structure.residue_of[inside], tree.first, tree.last) - tree.first
        return cls(
            local=torch.as_tensor(rows, device=device),
            fixed=torch.as_tensor(structure.xyz[outside], dtype=dtype, device=device),
            radius=torch.as_tensor([radius_of(e) for e in element], dtype=dtype, device=device),
            polar=torch.as_tensor([e in POLAR for e in element], dtype=torch.bool, device=device),
            body=body,
            bonded=_bonded(tree, inside, atoms),
            residue=torch.as_tensor(residue, device=device),
            tree=cKDTree(structure.xyz[outside].reshape(-1, 3)),
            atoms=atoms,
            local_count=len(local_atoms),
        )

    def pairs(self, xyz: Tensor) -> PairList:
        """Neighbour list of local coordinates (B, m, 3), one for all rows of the batch."""
        width = len(self.body)
        if len(self.local) * width <= MAX_COMPLETE_PAIRS:
            i, j = np.nonzero(~self.excluded)
            return self._pair_list(i, j, None)
        points = xyz[:, self.local].detach()
        near = list[np.ndarray]()
        for row in points.cpu().numpy():
            moving = cKDTree(row)
            for partners, offset in ((moving, 0), (self.tree, len(row))):
                if partners.n:
                    pairs = moving.sparse_distance_matrix(partners, MAX_CONTACT + SKIN, output_type="ndarray")
                    near.append(pairs["i"] * width + (pairs["j"] + offset))
        i, j = np.divmod(_unique(near, len(self.local) * width), width)
        included = self.includes(i, j)
        return self._pair_list(i[included], j[included], points)

    def includes(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        """Whether pairs of local atoms i and any atoms j (k,) are included, (k,) bool; local pairs only for i < j."""
        pair = i * len(self.body) + j
        index = np.searchsorted(self.bonded, pair)
        bonded = np.append(self.bonded, -1)[index] == pair
        return (j > i) & (self.body[i] != self.body[j]) & ~bonded

    @cached_property
    def excluded(self) -> np.ndarray:
        """Table (m', m' + e) bool of excluded pairs; quadratic in memory, for few atoms only."""
        rows, width = np.arange(len(self.local)), len(self.body)
        return ~self.includes(rows.repeat(width), np.tile(np.arange(width), len(rows))).reshape(len(rows), width)

    def overlaps(self, xyz: Tensor, pairs: PairList) -> tuple[Tensor, PairList]:
        """Compute the overlap (B, p) in nm of every listed pair, negative for separated atoms, and the list used."""
        points = xyz[:, self.local]
        pairs = self.update_pairs(xyz, pairs)
        # the tiny offset keeps the gradient finite where two atoms coincide
        return pairs.distance - (_separation(points, pairs).square().sum(-1) + DISTANCE_OFFSET).sqrt(), pairs

    def clashes(self, xyz: Tensor, pairs: PairList) -> tuple[Clashes, PairList]:
        """Overlaps beyond the tolerance, of all rows in one list, and the pair list that was used."""
        points = xyz[:, self.local]
        pairs = self.update_pairs(xyz, pairs)
        if pairs.reference is None:
            atoms = torch.cat([points, self.fixed.expand(len(points), -1, -1)], 1) if len(self.fixed) else points
            row, i, j = screen(atoms, points.shape[1], self.screen_limit)
            return Clashes.of(row, i, j, atoms[row, i] - atoms[row, j], self.contact_distances[i, j], len(xyz)), pairs
        separation = _separation(points, pairs)
        row, k = (separation.square().sum(-1) < (pairs.distance - OVERLAP_TOLERANCE).square()).nonzero().unbind(1)
        return Clashes.of(row, pairs.i[k], pairs.j[k], separation[row, k], pairs.distance[k], len(xyz)), pairs

    @cached_property
    def contact_distances(self) -> Tensor:
        """(m', w): contact distance of two atoms, nm."""
        i, j = (torch.arange(k, device=self.radius.device) for k in (len(self.local), len(self.body)))
        return self._contact_distance(i[:, None], j[None])

    @cached_property
    def screen_limit(self) -> Tensor:
        """(m', w): squared distance below which an overlap costs something, for `screen`."""
        limit = (self.contact_distances - OVERLAP_TOLERANCE).square() + SCREEN_MARGIN
        return limit.masked_fill(torch.as_tensor(self.excluded, device=limit.device), -1.0).to(torch.float32)

    @cached_property
    def padded_limit(self) -> Tensor:
        """(m', w rounded up): `screen_limit` for kernels, whose last columns are never below the limit."""
        return torch.nn.functional.pad(self.screen_limit, (0, -len(self.body) % LANES), value=-1.0)

    @cached_property
    def local_row(self) -> Tensor:
        """(w,): local row of each atom; the number of local atoms for fixed atoms."""
        outside = self.local.new_full((len(self.fixed),), self.local_count)
        return torch.cat([self.local, outside])

    def cost(self, overlap: Tensor) -> Tensor:
        """Cost (B, p) of overlaps: see `overlap_cost`."""
        return overlap_cost(overlap)

    def count_severe(self, xyz: Tensor, pairs: PairList) -> Tensor:
        """Count the severe overlaps of each row, (B,)."""
        with torch.no_grad():
            return (self.overlaps(xyz, pairs)[0] >= SEVERE_OVERLAP).sum(-1)

    def update_pairs(self, xyz: Tensor, pairs: PairList) -> PairList:
        """Return the list, or a new one if an atom has moved by more than half the skin."""
        reference, limit = pairs.reference, (SKIN / 2) ** 2
        if reference is None:
            return pairs
        if usable(xyz):
            sizes = xyz.stride(0), len(self.local)
            expired = bool(call("displaced", len(xyz), xyz, *sizes, self.local, reference, limit))
        else:
            expired = float((xyz[:, self.local].detach() - reference).square().sum(-1).amax()) > limit
        return self.pairs(xyz) if expired else pairs

    def _pair_list(self, i: np.ndarray, j: np.ndarray, reference: Tensor | None) -> PairList:
        """Pair list with the pairs of two local atoms first."""
        m = len(self.local)
        order = np.argsort(j >= m, kind="stable")
        first, second = (torch.as_tensor(index[order], device=self.local.device) for index in (i, j))
        inner = int((j < m).sum())
        return PairList(
            first, second, self._contact_distance(first, second), inner, self.fixed[second[inner:] - m], reference
        )

    def _contact_distance(self, i: Tensor, j: Tensor) -> Tensor:
        """`vdw_radii.contact_distance` of tensors, in their own precision."""
        allowance = POLAR_ALLOWANCE * (self.polar[i] & self.polar[j]).to(self.radius)
        return self.radius[i] + self.radius[j] - allowance


def _separation(points: Tensor, pairs: PairList) -> Tensor:
    """Vectors (B, p, 3) from the second to the first atom of every pair, nm."""
    inside = points[:, pairs.i[: pairs.inner]] - points[:, pairs.j[: pairs.inner]]
    if pairs.inner == len(pairs.i):
        return inside
    return torch.cat([inside, points[:, pairs.i[pairs.inner :]] - pairs.fixed_xyz], dim=1)


def _unique(lists: list[np.ndarray], bound: int) -> np.ndarray:
    """Distinct values of the lists, all below `bound`, in ascending order."""
    if bound > MAX_TABLE_ENTRIES:
        return np.unique(np.concatenate(lists))
    table = np.zeros(bound, dtype=bool)
    for values in lists:
        table[values] = True
    return np.flatnonzero(table)


def _bonded(tree: TorsionTree, inside: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Pairs at most `EXCLUDED_BONDS` bonds apart, encoded as in `Sterics.bonded`."""
    row = {int(a): k for k, a in enumerate(atoms)}  # the local ones come first
    pairs = [
        row[a] * len(atoms) + row[b] for a, b in pairs_within_bonds(tree.adjacency, inside, EXCLUDED_BONDS) if b in row
    ]
    return np.array(sorted(pairs), dtype=np.int64)
