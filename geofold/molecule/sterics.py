"""Soft sterics between heavy atoms: who is near whom, and what an overlap costs.

Glossary: ``B`` rows, ``m`` local (moving) atoms, ``e`` fixed atoms around, ``p`` pairs. Pairs that cannot
change their distance (carried by the same torsion, or both fixed) and pairs up to three bonds apart are
left out. Waters are left out as well: they find their own place around a loop.

The pair list is a neighbour list with a skin: it is exact as long as no atom has moved further than the
skin allows, and whoever evaluates it beyond that gets a fresh one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geofold.molecule.bonds import separations
from geofold.molecule.kinematics import Kinematics
from geofold.molecule.radii import EXCLUDED_BONDS, POLAR, POLAR_ALLOWANCE, SEVERE_OVERLAP, radius_of
from geofold.molecule.structure import WATER, Structure
from geofold.molecule.torsions import TorsionTree

CONTACT = 0.42
"""nm; no two radii add up to more, so pairs further apart never overlap."""
SKIN = 0.25
FEW = 20_000
"""Up to so many pairs (a peptide alone) all are listed: cheaper than looking for the near ones after every step."""
TOLERATED = 0.02
"""nm of overlap that native structures show everywhere; only what goes beyond costs anything."""
WIDTH = SEVERE_OVERLAP - TOLERATED
SOFTENING = 4.0
"""Where the cost turns from quadratic to linear, in units of the scale: deep overlaps must not drown the rest."""


class PairList(NamedTuple):
    """Pairs within reach of coordinates `built` (B, m, 3): columns of local atoms, then fixed ones.

    Without `built` the list holds every pair there is and never ages.
    """

    i: Tensor
    j: Tensor
    distance: Tensor
    built: Tensor | None


@dataclass(frozen=True)
class Sterics:
    """Heavy-atom pairs of a moving stretch and its surroundings.

    Attributes
    ----------
    local : (m',) int
        Local rows of the heavy steering atoms.
    fixed : (e, 3) float
        Coordinates of the fixed heavy atoms.
    radius : (m' + e,) float
        nm.
    polar : (m' + e,) bool
    excluded : (m', m' + e) bool
        Pairs that do not count.
    residue : (m',) int
        Residue index of each local heavy atom, counted from the first of the stretch (clamped to it).
    """

    local: Tensor
    fixed: Tensor
    radius: Tensor
    polar: Tensor
    excluded: np.ndarray
    residue: Tensor
    tree: cKDTree
    atoms: np.ndarray

    @classmethod
    def of(cls, structure: Structure, tree: TorsionTree, kin: Kinematics, reach: float) -> Sterics:
        """Pairs of a torsion tree with everything within `reach` (nm) of its moving atoms."""
        local_atoms = kin.atoms.cpu().numpy()
        heavy = np.array([radius_of(str(e)) > 0 for e in structure.element]) & tree.steering
        heavy &= ~np.isin(structure.resname, list(WATER))
        rows = np.flatnonzero(heavy[local_atoms])
        inside = local_atoms[rows]
        outside = np.setdiff1d(np.flatnonzero(heavy), inside)
        around = cKDTree(structure.xyz[tree.atoms]).query(structure.xyz[outside], distance_upper_bound=reach)[0]
        outside = outside[np.isfinite(around)]
        atoms = np.concatenate([inside, outside]).astype(np.int64)
        carrier = np.concatenate([kin.carrier.cpu().numpy()[rows], np.full(len(outside), len(tree))])
        excluded = carrier[: len(inside), None] == carrier[None]
        excluded |= _bonded(tree, inside, atoms)
        # a pair of local atoms is listed once, under its lower row
        excluded[:, : len(inside)] |= np.tril(np.ones((len(inside), len(inside)), dtype=bool))
        device, dtype = kin.influence.device, kin.influence.dtype
        element = [str(structure.element[a]) for a in atoms]
        residue = np.clip(structure.residue_of[inside], tree.first, tree.last) - tree.first
        return cls(
            local=torch.as_tensor(rows, device=device),
            fixed=torch.as_tensor(structure.xyz[outside], dtype=dtype, device=device),
            radius=torch.as_tensor([radius_of(e) for e in element], dtype=dtype, device=device),
            polar=torch.as_tensor([e in POLAR for e in element], device=device),
            excluded=excluded,
            residue=torch.as_tensor(residue, device=device),
            tree=cKDTree(structure.xyz[outside].reshape(-1, 3)),
            atoms=atoms,
        )

    def pairs(self, xyz: Tensor) -> PairList:
        """Neighbour list of local coordinates (B, m, 3), one for all rows of the batch."""
        if self.excluded.size <= FEW:
            i, j = (torch.as_tensor(index, device=xyz.device) for index in np.nonzero(~self.excluded))
            return PairList(i, j, self._contact(i, j), None)
        points = xyz[:, self.local].detach()
        inner, width = points.shape[1], points.shape[1] + len(self.fixed)
        codes = []
        for row in points.cpu().numpy():
            here = cKDTree(row)
            for other, offset in ((here, 0), (self.tree, inner)):
                if other.n:
                    near = here.sparse_distance_matrix(other, CONTACT + SKIN, output_type="coo_matrix")
                    codes.append(near.row.astype(np.int64) * width + near.col + offset)
        unique = np.unique(np.concatenate(codes)) if codes else np.zeros(0, dtype=np.int64)
        rows, columns = unique // width, unique % width
        keep = ~self.excluded[rows, columns]
        i, j = (torch.as_tensor(index[keep], device=xyz.device) for index in (rows, columns))
        return PairList(i, j, self._contact(i, j), points)

    def overlaps(self, xyz: Tensor, pairs: PairList) -> tuple[Tensor, PairList]:
        """Overlap (B, p) in nm of every listed pair, negative where they are apart; the list that was used."""
        points = xyz[:, self.local]
        pairs = self._fresh(points, pairs, xyz)
        every = torch.cat([points, self.fixed.expand(len(points), -1, -1)], dim=1)
        separation = every[:, pairs.i] - every[:, pairs.j]
        # the tiny offset keeps the gradient finite where two atoms coincide
        return pairs.distance - (separation.square().sum(-1) + 1e-12).sqrt(), pairs

    def total(self, xyz: Tensor, pairs: PairList) -> Tensor:
        """Sum of `cost` over all pairs, (B,): the same number with its gradient in closed form (first order only)."""
        points = xyz[:, self.local]
        pairs = self._fresh(points, pairs, xyz)
        return _TotalCost.apply(points, self.fixed, pairs)

    def cost(self, overlap: Tensor) -> Tensor:
        """Cost (B, p) of overlaps: zero up to what natives show, one at a severe clash, linear when deep."""
        x = torch.relu(overlap - TOLERATED) / WIDTH
        return 2 * SOFTENING**2 * ((1 + (x / SOFTENING).square()).sqrt() - 1)

    def severe(self, xyz: Tensor, pairs: PairList) -> Tensor:
        """Number of severe overlaps in each row, (B,)."""
        with torch.no_grad():
            return (self.overlaps(xyz, pairs)[0] >= SEVERE_OVERLAP).sum(-1)

    def _fresh(self, points: Tensor, pairs: PairList, xyz: Tensor) -> PairList:
        """The list, or a new one if atoms went further than its skin allows."""
        if pairs.built is None:
            return pairs
        moved = (points.detach() - pairs.built).square().sum(-1).amax()
        return self.pairs(xyz) if float(moved) > (SKIN / 2) ** 2 else pairs

    def _contact(self, i: Tensor, j: Tensor) -> Tensor:
        allowance = POLAR_ALLOWANCE * (self.polar[i] & self.polar[j]).to(self.radius)
        return self.radius[i] + self.radius[j] - allowance


class _TotalCost(torch.autograd.Function):
    """Summed cost of all pairs; the gradient costs little once the distances are there, so no graph is kept."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, fixed: Tensor, pairs: PairList) -> Tensor:
        every = torch.cat([points, fixed.expand(len(points), -1, -1)], dim=1)
        separation = every[:, pairs.i] - every[:, pairs.j]
        distance = (separation.square().sum(-1) + 1e-12).sqrt()
        x = torch.relu(pairs.distance - distance - TOLERATED) / WIDTH
        root = (1 + (x / SOFTENING).square()).sqrt()
        if ctx.needs_input_grad[0]:
            force = separation * (-2 * x / (root * distance * WIDTH))[..., None]
            gradient = torch.zeros_like(every).index_add_(1, pairs.i, force).index_add_(1, pairs.j, -force)
            ctx.save_for_backward(gradient[:, : points.shape[1]])
        return 2 * SOFTENING**2 * (root - 1).sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return grads[0][:, None, None] * gradient, None, None


def _bonded(tree: TorsionTree, inside: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """(m', m' + e) bool: pairs at most three bonds apart."""
    row = {int(a): k for k, a in enumerate(inside)}
    column = {int(a): k for k, a in enumerate(atoms)}
    near = np.zeros((len(inside), len(atoms)), dtype=bool)
    for a, b in separations(tree.table, inside, EXCLUDED_BONDS):
        if b in column:
            near[row[a], column[b]] = True
    return near
