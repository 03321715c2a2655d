"""Geometry of points and angles, for numpy arrays and torch tensors alike.

Angles are in radian, lengths in the unit of the input. Every function takes either arrays or tensors, never a mixture,
and is differentiable for tensors where the formula is.

Two formulas of a dihedral and two of a frame are equal in exact arithmetic but round differently. Both are here, since
results are reproducible bit for bit and some of them were computed with the one, some with the other. So are gradients,
which are sums over the uses of a tensor: these depend on the order of the operations, too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the force field judges in a process that does without torch
    from torch import Tensor

Array = NDArray[Any]
Angle = TypeVar("Angle", float, NDArray[Any], "Tensor")
MIN_LENGTH = 1e-9
"""Length below which an axis counts as this long, so that a dihedral about coincident points is finite."""
MIN_NORM = 1e-12
"""Norm below which a vector is not scaled to unit length, as in `torch.nn.functional.normalize`."""


def wrap(angle: Angle) -> Angle:
    """Return the equivalent angle in [-pi, pi), as (angle + pi) mod 2 pi - pi.

    The sum rounds: an angle that is in the interval already may change in its last bits (`geofold.core.tangent.wrap`
    leaves it unchanged).
    """
    return (angle + math.pi) % (2 * math.pi) - math.pi


@overload
def dihedral(a: Array, b: Array, c: Array, d: Array) -> Array: ...
@overload
def dihedral(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor: ...
def dihedral(a: Any, b: Any, c: Any, d: Any) -> Any:
    """Dihedral angles of four points each, with the sign of IUPAC.

    Parameters
    ----------
    a, b, c, d : (..., 3)
        Points; the angle is about the axis from `b` to `c`.

    Returns
    -------
    (...)
        Angles (radian) in [-pi, pi].
    """
    first, axis, last = b - a, c - b, d - c
    left, right = cross(first, axis), cross(axis, last)
    sine = (cross(left, right) * axis).sum(-1)
    if _is_tensor(axis):
        import torch

        sine = sine / axis.norm(dim=-1).clamp_min(MIN_LENGTH)
        return torch.atan2(sine, (left * right).sum(-1))
    sine = sine / np.maximum(np.linalg.norm(axis, axis=-1), MIN_LENGTH)
    return np.asarray(np.arctan2(sine, (left * right).sum(-1)))


def dihedral_of_points(points: Tensor) -> Tensor:
    """Dihedral angles (...) of points (..., 4, 3), with the sign of IUPAC.

    As `dihedral`, but the axis is normalised before the scalar product, which rounds differently.
    """
    import torch

    first, axis, last = (points[..., k + 1, :] - points[..., k, :] for k in range(3))
    left, right = cross(first, axis), cross(axis, last)
    sine = (cross(left, right) * torch.nn.functional.normalize(axis, dim=-1)).sum(-1)
    return torch.atan2(sine, (left * right).sum(-1))


@overload
def frames(axis: Array, plane: Array) -> Array: ...
@overload
def frames(axis: Tensor, plane: Tensor) -> Tensor: ...
def frames(axis: Any, plane: Any) -> Any:
    """Orthonormal frames of two vectors each, by Gram-Schmidt.

    Parameters
    ----------
    axis, plane : (..., 3)
        x is along `axis`; `plane` is in the half-plane of x and positive y. Of a residue: C - CA and N - CA.

    Returns
    -------
    (..., 3, 3)
        x, y and z = x cross y as rows: `frame @ v` is a vector v in the frame. For parallel vectors, rows of zeros
        (tensors) or of NaN (arrays).
    """
    x = _unit(axis)
    if _is_tensor(x):
        import torch

        y = _unit(plane - (plane * x).sum(-1, keepdim=True) * x)
        return torch.stack([x, y, cross(x, y)], -2)
    y = _unit(plane - (plane * x).sum(-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], -2)


def place_atoms(a: Array, b: Array, c: Array, length: float, angle: float, torsion: Array | float) -> Array:
    """Points bonded to `c` in a chain of points `a`, `b`, `c`.

    Parameters
    ----------
    a, b, c : (..., 3)
    length : float
        Distance from `c`.
    angle : float
        Angle at `c`, between `b` and the point (radian).
    torsion : float or (...)
        Dihedral of `a`, `b`, `c` and the point (radian).

    Returns
    -------
    (..., 3)
    """
    axes = frames(np.asarray(c - b), np.asarray(a - b))
    turn = np.asarray(torsion)
    x, y, z = -np.cos(angle), np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn)
    local = np.stack([np.broadcast_to(x, y.shape), y, z], -1)
    return np.asarray(c + length * (local[..., None, :] @ axes)[..., 0, :])


@overload
def frames_by_normal(origin: Array, axis: Array, plane: Array) -> Array: ...
@overload
def frames_by_normal(origin: Tensor, axis: Tensor, plane: Tensor) -> Tensor: ...
def frames_by_normal(origin: Any, axis: Any, plane: Any) -> Any:
    """Orthonormal frames of three points each, by cross products.

    As `frames` of `axis - origin` and `plane - origin`, but z is made first, which rounds differently, and the axes are
    the columns of the result.

    Parameters
    ----------
    origin, axis, plane : (..., 3)
        x points from `origin` to `axis`; `plane` lies in the half-plane of x and positive y.

    Returns
    -------
    (..., 3, 3)
        x, y and z as columns: `frame @ v` is a vector v of the frame in the coordinates of the points. Columns of
        zeros for coincident points.
    """
    if _is_tensor(origin):
        import torch

        x = _unit(axis - origin)
        z = _unit(cross(x, plane - origin))
        return torch.stack([x, cross(z, x), z], dim=-1)
    x = unit_vectors(axis - origin)
    z = unit_vectors(np.cross(x, plane - origin))
    return np.stack([x, np.cross(z, x), z], axis=-1)


@overload
def rmsd(one: Array, other: Array, axis: int | tuple[int, ...] | None = None) -> Array: ...
@overload
def rmsd(one: Tensor, other: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor: ...
def rmsd(one: Any, other: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """Root-mean-square deviation of points, without superposition.

    Parameters
    ----------
    one, other : (..., 3)
        Points, of shapes that broadcast.
    axis : int or tuple of int, optional
        Axes of the points (without the last one, of their coordinates) to average over; all of them by default.
    """
    if _is_tensor(one):
        square = (one - other).square().sum(-1)
        return (square.mean() if axis is None else square.mean(axis)).sqrt()
    return np.sqrt(((one - other) ** 2).sum(-1).mean(axis))


@overload
def pairwise_rmsd(one: Array, other: Array, scale: float = 1.0) -> Array: ...
@overload
def pairwise_rmsd(one: Tensor, other: Tensor, scale: float = 1.0) -> Tensor: ...
def pairwise_rmsd(one: Any, other: Any, scale: float = 1.0) -> Any:
    """Root-mean-square deviations of all pairs of conformations, without superposition.

    Parameters
    ----------
    one : (E, ..., 3)
        Conformations, with any shape of points.
    other : (K, ..., 3)
        Conformations of the same points.
    scale : float
        Factor of the result: 10 for Angstrom from nm.

    Returns
    -------
    (E, K)
    """
    points = math.prod(one.shape[1:-1])
    rows, columns = (part.reshape(len(part), 3 * points) for part in (one, other))
    if _is_tensor(rows):
        import torch

        return scale * torch.cdist(rows, columns) / math.sqrt(points)
    from scipy.spatial.distance import cdist

    return np.asarray(scale * cdist(rows, columns) / math.sqrt(points))


def superpose(points: Array, mobile: Array, target: Array) -> Array:
    """Points (..., 3) after the rigid motion that brings `mobile` (n, 3) closest to `target` (n, 3)."""
    from scipy.spatial.transform import Rotation

    rotation, _ = Rotation.align_vectors(target - target.mean(0), mobile - mobile.mean(0))
    moved = rotation.apply(points.reshape(-1, 3) - mobile.mean(0)) + target.mean(0)
    return np.asarray(moved.reshape(points.shape))


def superposed_rmsd(one: Array, other: Array) -> float:
    """Root-mean-square deviation of two sets of points (n, 3) after the best superposition.

    References
    ----------
    Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    from scipy.spatial.transform import Rotation

    _, distance = Rotation.align_vectors(one - one.mean(0), other - other.mean(0))
    return float(distance) / float(np.sqrt(len(one)))


@overload
def cross(one: Array, other: Array) -> Array: ...
@overload
def cross(one: Tensor, other: Tensor) -> Tensor: ...
def cross(one: Any, other: Any) -> Any:
    """Cross products (..., 3) of vectors (..., 3)."""
    if _is_tensor(one):
        import torch

        return torch.linalg.cross(one, other)
    return np.cross(one, other)


def _unit(vectors: Any) -> Any:
    """Vectors (..., 3) scaled to unit length."""
    if _is_tensor(vectors):
        import torch

        return torch.nn.functional.normalize(vectors, dim=-1, eps=MIN_NORM)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def unit_vectors(vectors: Array) -> Array:
    """Vectors (..., 3) scaled to unit length; zeros stay zeros."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), MIN_NORM))


def _is_tensor(value: Any) -> bool:
    """Whether a value is a torch tensor, without an import of torch for arrays."""
    return not isinstance(value, np.ndarray | np.generic)
