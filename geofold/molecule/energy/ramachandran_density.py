"""Smooth Ramachandran density: twice differentiable, with a non-zero gradient where the percentile maps are zero.

It is derived from the percentiles of `ramachandran`. Angles are in radians; L residues, C = 6 classes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from geofold.kernels.structures import Torsions
from geofold.molecule.energy.ramachandran import (
    ALLOWED_PERCENTILE,
    BINS,
    CLASSES,
    FAVOURED_PERCENTILE,
    ORIGIN,
    STEP,
    load_percentiles,
    percentile,
)

CORE_PERCENTILE = 0.05
"""Percentile from which ``penalty`` is zero: inside the favoured contour, so that minima are not on its edge."""

_PADDED = BINS + 3


def _funnel(height: NDArray[np.float64], seed: NDArray[np.bool_], slope: float) -> NDArray[np.float64]:
    """Lower ``height`` until every point outside ``seed`` has a neighbour that is higher by ``slope`` per bin.

    Greyscale reconstruction by dilation (Vincent, IEEE Trans. Image Process. 2:176, 1993) with a cost per
    distance: maxima outside the seed are lowered to their saddle point and tilted, so no path of ascent ends there.
    """
    moves = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
    reached = np.where(seed, height, -np.inf)
    while True:
        best = reached.copy()
        for move in moves:
            np.maximum(best, np.roll(reached, move, (-2, -1)) - slope * np.hypot(*move), out=best)
        raised = np.where(seed, height, np.minimum(height, best))
        if np.array_equal(raised, reached):
            return reached
        reached = raised


@cache
def _landscape(funnel: bool) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute spline coefficients (6, 180, 180) of the log-density, and its levels (6,) at the core and at outliers.

    The density is log(p * G2 + 0.003 p * G12 + 1e-5), where Gn is a Gaussian of n degrees: the narrow one preserves
    the contours, the wide one smooths the edges of the small classes, and the constant bounds empty regions. The
    funnel then gives a slope of at least 0.05 per degree outside favoured regions, and a last Gaussian of 3 degrees
    smooths its creases.
    """

    def blur(maps: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
        return np.stack([ndimage.gaussian_filter(m, degrees / 2.0, mode="wrap", truncate=6.0) for m in maps])

    table = load_percentiles()
    height = np.log(blur(table, 2.0) + 0.003 * blur(table, 12.0) + 1e-5)
    if funnel:
        height = blur(_funnel(height, table >= FAVOURED_PERCENTILE, slope=0.1), 3.0)
    coefficients = np.stack([ndimage.spline_filter(m, order=3, mode="grid-wrap") for m in height])

    fine = np.arange(0.0, BINS, 0.5)
    grid = np.stack(np.meshgrid(fine, fine, indexing="ij"))
    core, outlier = np.empty(len(CLASSES)), np.empty(len(CLASSES))
    for k, allowed in enumerate(ALLOWED_PERCENTILE):
        value = ndimage.map_coordinates(coefficients[k], grid, order=3, mode="grid-wrap", prefilter=False)
        level = percentile(grid[0] * STEP + ORIGIN, grid[1] * STEP + ORIGIN, k)
        # The margins cover the error of sampled extremes; the two levels differ by about 3.
        core[k] = value[level >= CORE_PERCENTILE].min() - 0.05
        outlier[k] = value[level < allowed].max() + 0.1
    return coefficients, core, outlier


_CUBIC = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6.0
"""Uniform cubic B-spline: weights of the knots -1, 0, 1, 2 are the powers (1, t, t^2, t^3) times this matrix."""


class RamachandranDensity:
    """Smooth, periodic Ramachandran density for losses; every method works under ``torch.func`` transforms.

    Parameters
    ----------
    dtype, device
        Type and device of the stored maps; angles should have the same.
    funnel : bool
        True (default): no local maxima outside favoured regions, so ascent from anywhere ends in one. The drawback
        is that islands which are merely allowed, such as left-handed helix for Ile and Val, are as low as the saddle
        point next to them. False: the plain statistical density, islands included.
    """

    def __init__(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu", funnel: bool = True
    ) -> None:
        maps, core, outlier = _landscape(funnel)
        self._coefficients = torch.tensor(maps, dtype=dtype, device=device).reshape(-1)
        self._core = torch.tensor(core, dtype=dtype, device=device)
        self._outlier = torch.tensor(outlier, dtype=dtype, device=device)
        self._offsets = torch.arange(-1, 3, device=device)
        self._cubic = torch.tensor(_CUBIC, dtype=dtype, device=device)

    def _knots(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Find indices and weights, both (..., L, 4), of the knots around an angle."""
        x = (angle - ORIGIN) / STEP
        below = x.floor()
        t = x - below
        square = t * t
        powers = torch.stack((torch.ones_like(t), t, square, square * t), dim=-1)
        return (below.long().unsqueeze(-1) + self._offsets).remainder(BINS), powers @ self._cubic

    def log_density(self, phi: Tensor, psi: Tensor, cls: Tensor) -> Tensor:
        """Evaluate the log of the smoothed percentile (not normalised), twice continuously differentiable.

        Parameters
        ----------
        phi, psi : (..., L)
            Angles in radians.
        cls : (L,) int
            Indices into ``CLASSES``.

        Returns
        -------
        Tensor (..., L)
            About 0 at the mode, -4 at the favoured contour, below -5.7 for outliers.
        """
        index, weight = self._knots(torch.stack((phi, psi)))
        flat = ((cls.long()[:, None] * BINS + index[0]) * BINS).unsqueeze(-1) + index[1].unsqueeze(-2)
        return ((self._coefficients[flat] @ weight[1].unsqueeze(-1)).squeeze(-1) * weight[0]).sum(-1)

    def penalty(self, phi: Tensor, psi: Tensor, cls: Tensor) -> Tensor:
        """Evaluate the penalty (..., L): 0 within the 5 % contour, at least 1 for outliers; shapes as ``log_density``.

        It is a function of the log-density only: with u its depth below the core in units of the gap between core and
        outliers, 2u^3 - u^4 up to u = 1 and its tangent 2u - 1 beyond, which is C2.
        """
        core, outlier = self._core[cls.long()], self._outlier[cls.long()]
        depth = (core - self.log_density(phi, psi, cls)) / (core - outlier)
        u = depth.clamp(0.0, 1.0)
        return u**3 * (2.0 - u) + 2.0 * torch.relu(depth - 1.0)

    def penalty_and_slopes(self, knots: Tensor, first: Tensor, cls: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Evaluate `penalty` of angles in units of knots, and a function for its derivatives, in few operations.

        Parameters
        ----------
        knots : Tensor (..., 2, L)
            Phi and psi as converted by `to_knots`.
        first : Tensor (L,) int
            `map_offset` of the residues' classes.
        cls : int Tensor (L,)

        Returns
        -------
        Tensor (..., L), callable
            The callable gives the derivatives by the knots, (..., 2, L).
        """
        knots, shape = knots.movedim(-2, 0), knots.shape
        below = knots.floor()
        t = knots - below
        square = t * t
        powers = torch.stack((torch.ones_like(t), t, square, square * t), -1)
        weight = torch.mm(powers.view(-1, 4), self._basis).view(2, -1, 2, 4)
        cell = below.remainder_(BINS).long()
        corner = cell[0] * _PADDED + cell[1] + first
        patch = self._patches[corner.view(-1, 1) + self._patch_offsets].view(-1, 4, 4)
        # value in the first entry, derivatives in the second and third
        values = torch.bmm(torch.bmm(weight[0], patch), weight[1].mT).view(*shape[:-2], shape[-1], 4)
        value, by_psi, by_phi, _ = values.unbind(-1)
        gap = self._gap[cls]
        beyond = ((self._core[cls] - value) / gap).clamp_min_(0.0)
        u = beyond.clamp_max(1.0)
        penalty = u**3 * (2.0 - u) + 2.0 * (beyond - u)

        def slopes() -> Tensor:
            depth_slope = u * u * (4.0 * u - 6.0) / gap
            return depth_slope.unsqueeze(-2) * torch.stack((by_phi, by_psi), -2)

        return penalty, slopes

    def to_knots(self, angle: Tensor, total: bool = True) -> Tensor:
        """Convert angles (radian) to units of the knot spacing, from the first knot; `total=False` for differences."""
        return (angle - ORIGIN if total else angle) / STEP

    def map_offset(self, cls: Tensor) -> Tensor:
        """Compute the offset (L,) of each class's map in the flat array of all maps, for `penalty_and_slopes`."""
        return cls.long() * _PADDED**2

    def c_struct(self, start: Tensor, torsion: Tensor, residue: Tensor, first: Tensor, cls: Tensor) -> Torsions:
        """Angles and maps for kernels.

        Parameters
        ----------
        start : Tensor (2 L,)
            Phi and psi as converted by `to_knots`.
        torsion : Tensor (2, L) int
            Torsions that turn them, -1 for fixed ones.
        residue : Tensor (L,) int
        first : Tensor (L,) int
            `map_offset` of the residues' classes.
        cls : Tensor (L,) int
        """
        per_knot = float(self.to_knots(start.new_ones(()), total=False))
        maps = self._patches, self._core[cls], self._gap[cls], self._basis.contiguous()
        return Torsions.of(len(residue), BINS, _PADDED, per_knot, start, torsion.contiguous(), residue, first, *maps)

    @cached_property
    def _patches(self) -> Tensor:
        """Flat maps with a periodic margin (one knot before, two after), so that no index has to be wrapped."""
        maps = self._coefficients.view(-1, BINS, BINS)
        reach = torch.arange(-1, BINS + 2, device=maps.device).remainder(BINS)
        return maps[:, reach][:, :, reach].reshape(-1).contiguous()

    @cached_property
    def _patch_offsets(self) -> Tensor:
        """(16,): offsets of the knots around a cell, from its first one."""
        step = torch.arange(4, device=self._cubic.device)
        return (step[:, None] * _PADDED + step).flatten()

    @cached_property
    def _basis(self) -> Tensor:
        """(4, 8): powers of t times this are the four knots' weights and their derivatives."""
        slope = torch.zeros_like(self._cubic)
        slope[:3] = self._cubic[1:] * torch.arange(1, 4).to(self._cubic)[:, None]
        return torch.cat([self._cubic, slope], -1)

    @cached_property
    def _gap(self) -> Tensor:
        return self._core - self._outlier


@cache
def shared_density(dtype: torch.dtype, device: torch.device) -> RamachandranDensity:
    """Return the density that all domains share; its maps for kernels take 2 ms to make.

    Parameters
    ----------
    dtype, device
        Type and device of the stored maps.
    """
    return RamachandranDensity(dtype, device)
