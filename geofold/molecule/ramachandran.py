"""Ramachandran classes, percentiles and verdicts after MolProbity, and a smooth landscape to climb.

The percentile of a (phi, psi) pair is the share of well-ordered Top8000 residues of its class that lie in sparser
territory; the contours are those of Lovell et al. (Proteins 50:437, 2003), re-made from the Top8000 (Hintze et al.,
Proteins 84:1177, 2016; Williams et al., Protein Sci. 27:293, 2018). ``score`` and ``verdict`` judge, exactly as
MolProbity does. ``RamachandranDensity`` steers: twice differentiable, and with a slope where the maps are flat zero.

Angles are in radians. Shapes: T frames, L residues, C = 6 classes; maps are indexed [class, phi, psi].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor

from geofold.resources import find

if TYPE_CHECKING:
    import mdtraj

CLASSES = ("general", "ile_val", "pre_pro", "gly", "trans_pro", "cis_pro")
GENERAL, ILE_VAL, PRE_PRO, GLY, TRANS_PRO, CIS_PRO = range(len(CLASSES))

FAVOURED, ALLOWED, OUTLIER, UNDEFINED = 0, 1, 2, -1
FAVOURED_FROM = 0.02
ALLOWED_FROM = np.array([0.0005, 0.001, 0.001, 0.001, 0.001, 0.002])
"""Percentile at which a class becomes allowed, in the order of ``CLASSES`` (MolProbity, as in cctbx's rama_eval)."""

CORE_FROM = 0.05
"""Percentile from which ``penalty`` is zero: inside the favoured contour, so that minima do not sit on its edge."""

_BINS = 180
_STEP = 2.0 * np.pi / _BINS
_ORIGIN = np.deg2rad(-179.0)
_PADDED = _BINS + 3
_MAX_CN = 0.2
"""Longest C-N distance of a peptide bond, nm: 0.133 nm is ideal, anything above 0.2 nm is a gap in the chain."""


def class_of(resname: str, next_resname: str | None, omega: float | None) -> int:
    """Class of a residue by MolProbity's rules, as an index into ``CLASSES``.

    Glycine and proline come first, then whatever precedes a proline, then isoleucine and valine; everything else,
    modified residues included, is general. A proline is cis when the peptide bond before it has ``|omega|`` below
    90 degrees: MolProbity once asked for 30 (ramalyze's ``is_cis_peptide``) and now sends twisted bonds to
    the nearer class (``is_cislike_peptide``). An omega that is None or NaN counts as trans, as it does there.
    """
    name = resname.strip().upper()
    if name == "GLY":
        return GLY
    if name == "PRO":
        return CIS_PRO if omega is not None and np.cos(omega) > 0.0 else TRANS_PRO
    if next_resname is not None and next_resname.strip().upper() == "PRO":
        return PRE_PRO
    return ILE_VAL if name in ("ILE", "VAL") else GENERAL


def classes_of(topology: mdtraj.Topology, omega: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Classes (L,) of all residues of a topology; ``omega`` (L,) as ``phi_psi_omega`` gives it, for one frame."""
    names = [[residue.name for residue in chain.residues] for chain in topology.chains]
    pairs = [pair for chain in names for pair in zip(chain, [*chain[1:], None], strict=True)]
    return np.array([class_of(name, after, float(w)) for (name, after), w in zip(pairs, omega, strict=True)], dtype=int)


@cache
def _percentiles() -> NDArray[np.float64]:
    """The six maps (6, 180, 180), bins centred at odd degrees."""
    with np.load(find("ramachandran_top8000.npz"), allow_pickle=False) as data:
        if tuple(data["classes"]) != CLASSES:
            raise ValueError(f"ramachandran_top8000.npz holds the classes {data['classes']}, expected {CLASSES}")
        table: NDArray[np.float64] = data["percentile"].astype(np.float64)
    table.flags.writeable = False
    return table


def score(phi: ArrayLike, psi: ArrayLike, cls: ArrayLike) -> NDArray[np.float64]:
    """Top8000 percentile, from 0 to 1, by bilinear periodic interpolation (cctbx's ``RamachandranEval.evaluate``).

    Parameters
    ----------
    phi, psi : array, radians
        Any shapes that broadcast; any period. NaN gives NaN.
    cls : int array
        Indices into ``CLASSES``, broadcast against the angles.
    """
    x, y = ((np.asarray(angle, dtype=np.float64) - _ORIGIN) / _STEP for angle in (phi, psi))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - i, y - j
    table, kind = _percentiles(), np.asarray(cls)

    def corner(di: int, dj: int) -> NDArray[np.float64]:
        return np.asarray(table[kind, (i + di) % _BINS, (j + dj) % _BINS])

    low = (1.0 - u) * corner(0, 0) + u * corner(1, 0)
    high = (1.0 - u) * corner(0, 1) + u * corner(1, 1)
    return np.where(known, (1.0 - v) * low + v * high, np.nan)


def verdict(score: ArrayLike, cls: ArrayLike) -> NDArray[np.int64]:
    """Favoured (0), allowed (1) or outlier (2) for each percentile; -1 where it is NaN, as at the ends of a chain."""
    value = np.asarray(score, dtype=np.float64)
    allowed = value >= ALLOWED_FROM[np.asarray(cls)]
    judged = np.where(value >= FAVOURED_FROM, FAVOURED, np.where(allowed, ALLOWED, OUTLIER))
    return np.where(np.isnan(value), UNDEFINED, judged)


def _funnel(height: NDArray[np.float64], seed: NDArray[np.bool_], slope: float) -> NDArray[np.float64]:
    """Lower ``height`` until every point outside ``seed`` has a neighbour that is higher by ``slope`` per bin.

    Greyscale reconstruction by dilation (Vincent, IEEE Trans. Image Process. 2:176, 1993) with a toll for the
    distance: hilltops outside the seed are cut down to their pass and tilted, so no path of ascent ends on them.
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
    """Spline coefficients (6, 180, 180) of the log-density, and its levels (6,) at the core and at the outliers.

    log(p * G2 + 0.003 p * G12 + 1e-5), where Gn is a Gaussian of n degrees: the narrow one keeps the contours,
    the wide one softens the cliffs of the small classes, the floor closes the empty rest. The funnel then gives at
    least 0.05 per degree outside favoured territory, and a last Gaussian of 3 degrees rounds its creases.
    """

    def blur(maps: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
        return np.stack([ndimage.gaussian_filter(m, degrees / 2.0, mode="wrap", truncate=6.0) for m in maps])

    table = _percentiles()
    height = np.log(blur(table, 2.0) + 0.003 * blur(table, 12.0) + 1e-5)
    if funnel:
        height = blur(_funnel(height, table >= FAVOURED_FROM, slope=0.1), 3.0)
    coefficients = np.stack([ndimage.spline_filter(m, order=3, mode="grid-wrap") for m in height])

    fine = np.arange(0.0, _BINS, 0.5)
    grid = np.stack(np.meshgrid(fine, fine, indexing="ij"))
    core, outlier = np.empty(len(CLASSES)), np.empty(len(CLASSES))
    for k, allowed in enumerate(ALLOWED_FROM):
        value = ndimage.map_coordinates(coefficients[k], grid, order=3, mode="grid-wrap", prefilter=False)
        share = score(grid[0] * _STEP + _ORIGIN, grid[1] * _STEP + _ORIGIN, k)
        # Sampled extremes miss the true ones by a little; the gap between the levels is about 3.
        core[k] = value[share >= CORE_FROM].min() - 0.05
        outlier[k] = value[share < allowed].max() + 0.1
    return coefficients, core, outlier


_CUBIC = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6.0
"""Uniform cubic B-spline: weights of the knots -1, 0, 1, 2 are the powers (1, t, t^2, t^3) times this matrix."""


class RamachandranDensity:
    """Smooth, periodic Ramachandran landscape for losses; every method works under ``torch.func`` transforms.

    Parameters
    ----------
    dtype, device
        Of the stored maps; angles should have the same.
    funnel : bool
        True (default): no local maxima outside favoured territory, so ascent from anywhere ends there. The price is
        that islands which are merely allowed, such as left-handed helix for Ile and Val, count as low as the pass
        that leads out of them. False: the plain statistical landscape, islands included.
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
        """Indices and weights, both (..., L, 4), of the knots around an angle."""
        x = (angle - _ORIGIN) / _STEP
        below = x.floor()
        t = x - below
        square = t * t
        powers = torch.stack((torch.ones_like(t), t, square, square * t), dim=-1)
        return (below.long().unsqueeze(-1) + self._offsets).remainder(_BINS), powers @ self._cubic

    def log_density(self, phi: Tensor, psi: Tensor, cls: Tensor) -> Tensor:
        """Log of the smoothed percentile (not normalised), twice continuously differentiable.

        Parameters
        ----------
        phi, psi : Tensor (..., L), radians
        cls : int Tensor (L,)
            Indices into ``CLASSES``.

        Returns
        -------
        Tensor (..., L)
            About 0 at the mode, -4 at the favoured contour, below -5.7 for outliers.
        """
        index, weight = self._knots(torch.stack((phi, psi)))
        flat = ((cls.long()[:, None] * _BINS + index[0]) * _BINS).unsqueeze(-1) + index[1].unsqueeze(-2)
        return ((self._coefficients[flat] @ weight[1].unsqueeze(-1)).squeeze(-1) * weight[0]).sum(-1)

    def penalty(self, phi: Tensor, psi: Tensor, cls: Tensor) -> Tensor:
        """Hinge (..., L): 0 from the 5 % contour inwards, at least 1 for every outlier; shapes as ``log_density``.

        A function of the log-density only: with u its depth below the core in units of the gap between core and
        outliers, 2u^3 - u^4 up to u = 1 and its tangent 2u - 1 beyond, which is C2.
        """
        core, outlier = self._core[cls.long()], self._outlier[cls.long()]
        depth = (core - self.log_density(phi, psi, cls)) / (core - outlier)
        u = depth.clamp(0.0, 1.0)
        return u**3 * (2.0 - u) + 2.0 * torch.relu(depth - 1.0)

    def penalty_and_slopes(self, knots: Tensor, first: Tensor, cls: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """`penalty` of angles counted in knots, and what gives its derivatives, in closed form and few operations.

        Parameters
        ----------
        knots : Tensor (..., 2, L)
            Phi and psi as `in_knots` counts them.
        first : Tensor (L,) int
            `first_knot` of the residues' classes.
        cls : int Tensor (L,)

        Returns
        -------
        Tensor (..., L), callable
            The callable gives the derivatives by the knots, (..., 2, L).
        """
        below = knots.floor()
        t = knots - below
        square = t * t
        weight = (torch.stack((torch.ones_like(t), t, square, square * t), -1) @ self._basis).unflatten(-1, (2, 4))
        cell = below.remainder(_BINS).long()
        corner = cell.select(-2, 0) * _PADDED + cell.select(-2, 1) + first
        patch = self._patches[corner.unsqueeze(-1) + self._around].unflatten(-1, (4, 4))
        # values in the corner, derivatives beside and below it
        found = weight.select(-4, 0) @ patch @ weight.select(-4, 1).mT
        gap = self._gap[cls]
        depth = (self._core[cls] - found[..., 0, 0]) / gap
        beyond = depth.clamp_min(0.0)
        u = beyond.clamp_max(1.0)
        penalty = u**3 * (2.0 - u) + 2.0 * (beyond - u)

        def slopes() -> Tensor:
            depth_slope = u * u * (4.0 * u - 6.0) / gap
            return depth_slope.unsqueeze(-2) * torch.stack((found[..., 1, 0], found[..., 0, 1]), -2)

        return penalty, slopes

    def in_knots(self, angle: Tensor, total: bool = True) -> Tensor:
        """Angles (radian) in units of the knots' spacing, from the first knot; `total=False`: differences of angles."""
        return (angle - _ORIGIN if total else angle) / _STEP

    def first_knot(self, cls: Tensor) -> Tensor:
        """Place of each class's map among all of them, for `penalty_and_slopes`."""
        return cls.long() * _PADDED**2

    @cached_property
    def _patches(self) -> Tensor:
        """The maps with a wrapped margin (one knot before, two behind), flat: no index has to be wrapped."""
        maps = self._coefficients.view(-1, _BINS, _BINS)
        reach = torch.arange(-1, _BINS + 2, device=maps.device).remainder(_BINS)
        return maps[:, reach][:, :, reach].reshape(-1).contiguous()

    @cached_property
    def _around(self) -> Tensor:
        """(16,): the knots around a cell, from its first one."""
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


class BackboneDihedrals(NamedTuple):
    """Backbone dihedrals (T, L) in radians, NaN where undefined; omega is that of the bond before the residue."""

    phi: NDArray[np.float64]
    psi: NDArray[np.float64]
    omega: NDArray[np.float64]


def phi_psi_omega(trajectory: mdtraj.Trajectory) -> BackboneDihedrals:
    """Phi, psi and omega of every residue of every frame, by mdtraj.

    NaN at chain ends, for what is no amino acid, and across gaps: mdtraj links consecutive residues of a chain
    however far apart they are, so a dihedral whose C-N distance exceeds 0.2 nm in a frame is taken out there.
    Coordinates are taken as they are, without minimum images. ``omega`` of a residue is CA(i-1)-C(i-1)-N(i)-CA(i),
    the bond that makes a proline cis or trans.
    """
    import mdtraj as md

    owner = np.array([atom.residue.index for atom in trajectory.topology.atoms], dtype=int)

    # Position, in the four atoms, of one atom of the residue itself, then of the C and the N of the peptide bond.
    def aligned(compute: str, own: int, carbon: int, nitrogen: int) -> NDArray[np.float64]:
        result = np.full((trajectory.n_frames, trajectory.n_residues), np.nan)
        atoms, angles = getattr(md, compute)(trajectory, periodic=False)
        if len(atoms):
            bond = trajectory.xyz[:, atoms[:, carbon]] - trajectory.xyz[:, atoms[:, nitrogen]]
            linked = np.linalg.norm(bond, axis=-1) <= _MAX_CN
            result[:, owner[atoms[:, own]]] = np.where(linked, angles, np.nan)
        return result

    return BackboneDihedrals(
        phi=aligned("compute_phi", 1, 0, 1),
        psi=aligned("compute_psi", 0, 2, 3),
        omega=aligned("compute_omega", 2, 1, 2),
    )
