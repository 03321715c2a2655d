"""Overlapping pairs among all candidates, their cost and its gradient, in a fixed number of operations.

Glossary: ``B`` rows, ``m`` local atoms, ``w`` atoms of the sterics (local heavy atoms, then fixed ones), ``h`` hits.

Only a few of the thousands of pairs overlap. All squared distances are evaluated once, without square roots, and
only the hits are processed further. A complete table of pairs is screened by one matrix product in single precision
(with a margin, so that no overlap is missed), a neighbour list pair by pair.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from geofold.molecule.vdw_radii import SEVERE_OVERLAP

OVERLAP_TOLERANCE = 0.02
"""Overlap without cost (nm), since it is common in native structures."""
COST_SCALE = SEVERE_OVERLAP - OVERLAP_TOLERANCE
"""Scale of the cost (nm)."""
SOFTENING = 4.0
"""Transition from quadratic to linear cost, in units of `COST_SCALE`, so that deep overlaps do not dominate the sum."""
SCREEN_MARGIN = 1e-4
"""Margin of the screen (nm^2), larger than the rounding error of squared distances in single precision."""
SMALL_TABLE = 50_000
"""Number of table entries up to which a second complete pass is cheaper than selecting rows first."""
SCREENED_ROWS = 32
"""Rows that `screened_cost` evaluates at once: their table of pairs stays in the cache."""
DISTANCE_OFFSET = 1e-12
"""Offset of squared distances (nm^2), which keeps the gradient finite for coincident atoms."""


def overlap_cost(overlap: Tensor) -> Tensor:
    """Cost of overlaps (nm): zero up to `OVERLAP_TOLERANCE`, about one for a severe overlap, linear for deep ones."""
    x = torch.relu(overlap - OVERLAP_TOLERANCE) / COST_SCALE
    return 2 * SOFTENING**2 * ((1 + (x / SOFTENING).square()).sqrt() - 1)


@dataclass(frozen=True)
class Clashes:
    """Overlapping pairs of all rows in one list.

    Attributes
    ----------
    row : (h,) int
        Row of the batch.
    i, j : (h,) int
        Atoms of the sterics; i is always a local one.
    separation : (h, 3) float
        Vector from j to i, nm.
    distance : (h,) float
        Distance, nm.
    overlap : (h,) float
        Overlap, nm.
    excess : (h,) float
        Overlap beyond `OVERLAP_TOLERANCE`, in units of `COST_SCALE`.
    root : (h,) float
        Square root of 1 + (excess / SOFTENING)^2.
    batch : int
        Number of rows B.
    """

    row: Tensor
    i: Tensor
    j: Tensor
    separation: Tensor
    distance: Tensor
    overlap: Tensor
    excess: Tensor
    root: Tensor
    batch: int

    @classmethod
    def of(cls, row: Tensor, i: Tensor, j: Tensor, separation: Tensor, contact: Tensor, batch: int) -> Clashes:
        """Clashes of pairs of atoms.

        Parameters
        ----------
        row, i, j : (h,) int
            Row of the batch and both atoms of each pair.
        separation : (h, 3) float
            Vector from j to i, nm.
        contact : (h,) float
            Contact distance, nm.
        batch : int
            Number of rows B.
        """
        distance = (separation.square().sum(-1) + DISTANCE_OFFSET).sqrt()
        overlap = contact - distance
        excess = (overlap - OVERLAP_TOLERANCE).clamp_min_(0.0).div_(COST_SCALE)
        root = (excess / SOFTENING).square_().add_(1.0).sqrt_()
        return cls(row, i, j, separation, distance, overlap, excess, root, batch)

    def cost(self) -> Tensor:
        """Cost (h,) of each hit, see `overlap_cost`."""
        return (self.root - 1) * (2 * SOFTENING**2)

    def total(self, each: Tensor) -> Tensor:
        """Sum a quantity (h,) over the pairs of each row, (B,)."""
        return each.new_zeros(self.batch).index_add_(0, self.row, each)

    def worst(self) -> Tensor:
        """Find the largest excess over a severe overlap in each row, (B,) in nm; zero if there is none."""
        start = self.overlap.new_zeros(self.batch)
        return start.scatter_reduce_(0, self.row, self.overlap - SEVERE_OVERLAP, "amax")

    def gradient(self, weight: Tensor | None, local_row: Tensor, local: int) -> Tensor:
        """Compute the gradient (B, m, 3) of the summed cost (1/nm).

        Parameters
        ----------
        weight : (h,) or None
            Factor of each hit's cost.
        local_row : (w,) int
            Local row of each atom of the sterics, `local` for the fixed ones.
        local : int
            Number of local atoms m.
        """
        pull = self.excess / (self.root * self.distance) * (-2 / COST_SCALE)
        force = self.separation * (pull if weight is None else pull * weight)[:, None]
        base = self.row * (local + 1)
        sums = force.new_zeros(self.batch * (local + 1), 3)
        sums.index_add_(0, base + local_row[self.i], force).index_add_(0, base + local_row[self.j], force, alpha=-1)
        return sums.view(self.batch, local + 1, 3)[:, :local]


def screen(points: Tensor, local: int, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Find pairs whose squared distance is below a limit, by one matrix product.

    Parameters
    ----------
    points : (B, w, 3) float
        Coordinates of all atoms, the local ones first, nm.
    local : int
        Number of local atoms.
    limit : (local, w) float32
        Limits including the margin, nm^2; negative for excluded pairs.

    Returns
    -------
    row, i, j : (h,) int
        Row of the batch and both atoms of each hit.
    """
    # contiguous memory: the batched product is five times slower for other layouts
    x = (points - points[:, :1]).to(torch.float32, memory_format=torch.contiguous_format)
    square = x.square().sum(-1, keepdim=True)
    right = torch.nn.functional.pad(torch.cat([x, square], -1), (0, 1), value=1.0)
    left = right if local == right.shape[1] else right[:, :local]
    size = (len(x), local, right.shape[1])
    left = torch.nn.functional.linear(left, _distance_form(x.device))
    if math.prod(size) < SMALL_TABLE:
        excess = torch.baddbmm(limit, left, right.mT, beta=-1)
        return (excess < 0).nonzero().unbind(1)  # type: ignore[return-value]
    excess = torch.baddbmm(limit, left, right.mT, beta=-1, out=_scratch(size, x.device))
    # most atoms have no overlap, so the pairs are searched among the remaining rows only
    row, i = (excess.amin(-1) < 0).nonzero().unbind(1)
    hit, j = (excess[row, i] < 0).nonzero().unbind(1)
    return row[hit], i[hit], j


def screened_cost(points: Tensor, fixed: Tensor, limit: Tensor, contact: Tensor) -> Tensor:
    """Cost (B,) of all overlaps of local atoms, without a neighbour list: for many unlike conformations.

    Parameters
    ----------
    points : (B, m, 3)
        Local atoms (nm).
    fixed : (e, 3)
        Fixed atoms (nm).
    limit : (m, m + e) float32
        See `screen`.
    contact : (m, m + e)
        Contact distances (nm).
    """
    totals = [points.new_zeros(0)]
    for part in points.split(SCREENED_ROWS):
        atoms = torch.cat([part, fixed.expand(len(part), -1, -1)], 1)
        row, i, j = screen(atoms, part.shape[1], limit)
        clashes = Clashes.of(row, i, j, atoms[row, i] - atoms[row, j], contact[i, j], len(part))
        totals.append(clashes.total(clashes.cost()))
    return torch.cat(totals)


_memory = threading.local()


def _scratch(size: tuple[int, int, int], device: torch.device) -> Tensor:
    """Buffer reused between calls of a thread, since allocating new pages costs more than the computation."""
    buffer: Tensor | None = getattr(_memory, "buffer", None)
    if buffer is None or buffer.device != device or buffer.numel() < math.prod(size):
        buffer = _memory.buffer = torch.empty(math.prod(size), dtype=torch.float32, device=device)
    return buffer[: math.prod(size)].view(size)


@cache
def _distance_form(device: torch.device) -> Tensor:
    """Symmetric matrix M (5, 5) with (x, |x|^2, 1) M (y, |y|^2, 1)' = |x - y|^2."""
    form = torch.diag(torch.tensor([-2.0, -2.0, -2.0, 0.0, 0.0], device=device))
    form[3, 4] = form[4, 3] = 1.0
    return form
