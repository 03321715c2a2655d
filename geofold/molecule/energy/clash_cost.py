"""Overlapping pairs found among all listed ones, their cost and its gradient, in a fixed number of operations.

Glossary: ``B`` rows, ``m`` local atoms, ``w`` atoms of the sterics (local heavy atoms, then fixed ones), ``h`` hits.

Few of the thousands of pairs overlap. All squared distances are looked at once, without a root, and only the hits go
on: with a short list of all pairs by one matrix product in single precision (with a margin, so that nothing is
missed), else pair by pair along the neighbour list.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from geofold.molecule.energy.vdw_radii import SEVERE_OVERLAP

TOLERATED = 0.02
"""nm of overlap that native structures show everywhere; only what goes beyond costs anything."""
WIDTH = SEVERE_OVERLAP - TOLERATED
SOFTENING = 4.0
"""Where the cost turns from quadratic to linear, in units of the scale: deep overlaps must not drown the rest."""
SCREEN_MARGIN = 1e-4
"""nm^2; far more than single precision loses on squared distances of centred coordinates."""
SMALL = 50_000
"""Entries up to which the screen looks at all of them twice: cheaper than finding out which rows need it."""
TINY = 1e-12
"""nm^2 added to squared distances: the gradient stays finite where two atoms coincide."""


def overlap_cost(overlap: Tensor) -> Tensor:
    """Cost of overlaps (nm): zero up to what natives show, one at a severe clash, linear when deep."""
    x = torch.relu(overlap - TOLERATED) / WIDTH
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
    apart : (h, 3)
        From j to i, nm.
    gap : (h,)
        Distance, nm.
    overlap : (h,)
        nm.
    excess : (h,)
        What of the overlap costs something, in units of its scale.
    root : (h,)
        Root of 1 + (excess / softening)^2.
    batch : int
    """

    row: Tensor
    i: Tensor
    j: Tensor
    apart: Tensor
    gap: Tensor
    overlap: Tensor
    excess: Tensor
    root: Tensor
    batch: int

    @classmethod
    def of(cls, row: Tensor, i: Tensor, j: Tensor, apart: Tensor, contact: Tensor, batch: int) -> Clashes:
        """Clashes of pairs whose radii add up to `contact` (h,)."""
        gap = (apart.square().sum(-1) + TINY).sqrt()
        overlap = contact - gap
        excess = (overlap - TOLERATED).clamp_min_(0.0).div_(WIDTH)
        root = (excess / SOFTENING).square_().add_(1.0).sqrt_()
        return cls(row, i, j, apart, gap, overlap, excess, root, batch)

    def cost(self) -> Tensor:
        """(h,), as `overlap_cost` has it."""
        return (self.root - 1) * (2 * SOFTENING**2)

    def total(self, each: Tensor) -> Tensor:
        """Sum of a quantity (h,) in each row, (B,)."""
        return each.new_zeros(self.batch).index_add_(0, self.row, each)

    def worst(self) -> Tensor:
        """Largest overlap beyond a severe one in each row, (B,) in nm; zero where there is none."""
        start = self.overlap.new_zeros(self.batch)
        return start.scatter_reduce_(0, self.row, self.overlap - SEVERE_OVERLAP, "amax")

    def gradient(self, weight: Tensor | None, place: Tensor, local: int) -> Tensor:
        """Gradient (B, m, 3) of the summed cost.

        Parameters
        ----------
        weight : (h,) or None
            Factor of each hit's cost.
        place : (w,) int
            Local row of each atom of the sterics, `local` for the fixed ones.
        local : int
            m.
        """
        pull = self.excess / (self.root * self.gap) * (-2 / WIDTH)
        force = self.apart * (pull if weight is None else pull * weight)[:, None]
        base = self.row * (local + 1)
        sums = force.new_zeros(self.batch * (local + 1), 3)
        sums.index_add_(0, base + place[self.i], force).index_add_(0, base + place[self.j], force, alpha=-1)
        return sums.view(self.batch, local + 1, 3)[:, :local]


def screen(every: Tensor, local: int, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (row, i, j: (h,) each) whose squared distance is below a limit, by one matrix product.

    Parameters
    ----------
    every : (B, w, 3)
        All atoms, the local ones first.
    local : int
        How many of them.
    limit : (local, w) single precision
        nm^2, margin included; negative for pairs that do not count.
    """
    # row by row in memory, whatever the layout that came: a batched product of other layouts is five times slower
    x = (every - every[:, :1]).to(torch.float32, memory_format=torch.contiguous_format)
    square = x.square().sum(-1, keepdim=True)
    right = torch.nn.functional.pad(torch.cat([x, square], -1), (0, 1), value=1.0)
    left = right if local == right.shape[1] else right[:, :local]
    size = (len(x), local, right.shape[1])
    left = torch.nn.functional.linear(left, _distance(x.device))
    if math.prod(size) < SMALL:
        beyond = torch.baddbmm(limit, left, right.mT, beta=-1)
        return (beyond < 0).nonzero().unbind(1)  # type: ignore[return-value]
    beyond = torch.baddbmm(limit, left, right.mT, beta=-1, out=_scratch(size, x.device))
    # atoms that overlap with nothing are most; the search for pairs goes on among the others
    row, i = (beyond.amin(-1) < 0).nonzero().unbind(1)
    hit, j = (beyond[row, i] < 0).nonzero().unbind(1)
    return row[hit], i[hit], j


_memory = threading.local()


def _scratch(size: tuple[int, int, int], device: torch.device) -> Tensor:
    """Megabytes to write into, kept from call to call: a fresh page costs more than what is computed on it."""
    kept: Tensor | None = getattr(_memory, "kept", None)
    if kept is None or kept.device != device or kept.numel() < math.prod(size):
        kept = _memory.kept = torch.empty(math.prod(size), dtype=torch.float32, device=device)
    return kept[: math.prod(size)].view(size)


@cache
def _distance(device: torch.device) -> Tensor:
    """(x, |x|^2, 1) times this (symmetric) matrix times (y, |y|^2, 1)' is |x - y|^2."""
    form = torch.diag(torch.tensor([-2.0, -2.0, -2.0, 0.0, 0.0], device=device))
    form[3, 4] = form[4, 3] = 1.0
    return form
