"""Differential kinematics: atomic velocities from torsion rates, torques from forces, without forming the Jacobian.

Glossary: ``p`` probes, ``B`` rows, ``n`` torsions, ``m`` local atoms. D (m, n) is one where torsion j moves atom a.

Torsion j rotates the atoms that it moves about the axis a_j through o_j, so the column of the Jacobian at atom x is
a_j x (x - o_j) = a_j x x + s_j with s_j = o_j x a_j. All results are then sums over the chain of independent terms:
velocities are Omega x x + V, torques a_j . T + s_j . F summed over the atoms that the torsion moves, and the metric
J'WJ is that of a tree of rigid bodies (composite-rigid-body algorithm, Featherstone 2008, 6.2). Each costs one product
with D, instead of the m n vectors of the Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geofold.molecule.kinematics.forward import Kinematics, axes

MIN_ENTRIES_BY_COMPONENT = 20_000
"""Number of entries from which cross products are computed by components, since PyTorch's is not vectorised."""


TorsionAxes = tuple[Tensor, Tensor]
"""Unit axes and a point on each, (B, n, 3)."""


@dataclass(frozen=True)
class DifferentialKinematics:
    """Differential kinematics of a segment in its current conformation.

    Attributes
    ----------
    kinematics : Kinematics
        Kinematics of the segment.
    torsion_axes : TorsionAxes
        Present unit axes and a point on each, (B, n, 3).
    moved : (B, m, 3)
        Present coordinates of the atoms, nm.
    """

    kinematics: Kinematics
    torsion_axes: TorsionAxes
    moved: Tensor

    @cached_property
    def _screws(self) -> tuple[Tensor, Tensor]:
        """Axes a and their moments o x a, (B, n, 3)."""
        axis, origin = self.torsion_axes
        return axis, torch.linalg.cross(origin, axis)

    @cached_property
    def _twists(self) -> Tensor:
        """(B, 6, n): axes and moments, components first, the fastest layout for matrix products."""
        return torch.cat(self._screws, -1).mT.contiguous()

    @cached_property
    def _wrench_twists(self) -> Tensor:
        """(B, 6, n): directions onto which force x position, then force, are projected."""
        axis, moment = self._screws
        return torch.cat([-axis, moment], -1).mT.contiguous()

    @property
    def _axes(self) -> Tensor:
        """(B, 3, n): axes, components first."""
        return self._twists[:, :3]

    @cached_property
    def _rows(self) -> Tensor:
        """(B, 3, m): atoms with components first, so that sums over atoms are matrix products."""
        return self.moved.mT.contiguous()

    def velocities(self, rate: Tensor) -> Tensor:
        """Compute J v: velocities (p, B, m, 3) from rates (p, B, n) in radian per unit."""
        probes, rows, n = rate.shape
        flat = torch.mm((self._twists * rate[..., None, :]).view(-1, n), self.kinematics.moves)
        spin, speed = flat.view(probes, rows, 6, -1).split(3, dim=-2)
        return (_cross(spin, self._rows) + speed).mT

    def torques(self, force: Tensor) -> Tensor:
        """Compute J'f: torques (p, B, n) from forces (p, B, m, 3) on the atoms."""
        probes, rows, m, _ = force.shape
        wrench = force.new_empty(probes, rows, 6, m)
        wrench[..., 3:, :] = force.mT
        _cross(wrench[..., 3:, :], self._rows, out=wrench[..., :3, :])
        summed = torch.mm(wrench.view(-1, m), self.kinematics.moved_by).view(probes, rows, 6, -1)
        return (self._wrench_twists * summed).sum(-2)

    def acceleration(self, rate: Tensor) -> Tensor:
        """Compute the second derivative (B, m, 3) of the atoms while the torsions turn at constant rates (B, n).

        Torsion j contributes (2 omega_before + omega_j) x (omega_j x (x - o_j)), linear in x with the matrix
        omega b' - (b . omega) I for b = 2 omega_before + omega_j.
        """
        axis, origin = self._axes, self.torsion_axes[1].mT
        omega = rate[:, None] * axis
        b = 2 * (omega @ self.kinematics.ancestors) - omega
        matrix = omega[:, :, None] * b[:, None]
        matrix.diagonal(dim1=1, dim2=2).sub_((b * omega).sum(1)[..., None])
        offset = (matrix * origin[:, None]).sum(2)
        summed = torch.cat([matrix.flatten(1, 2), offset], 1) @ self.kinematics.moves
        linear, shift = summed[:, :9].unflatten(1, (3, 3)), summed[:, 9:]
        return ((linear * self._rows[:, None]).sum(2) - shift).mT

    def gram(self, weight: Tensor) -> Tensor:
        """Compute J'WJ (B, n, n) for one weight (B, m) per atom: inertia of the atoms that both torsions move."""
        axis, moment = self._screws
        x = self.moved
        moments = torch.cat(
            [
                weight[..., None],
                weight[..., None] * x,
                weight[..., None] * (x[..., :, None] * x[..., None, :]).flatten(-2),
            ],
            -1,
        )
        summed = self.kinematics.moved_by.mT @ moments
        mass, first, second = summed[..., :1], summed[..., 1:4], summed[..., 4:].unflatten(-1, (3, 3))
        trace = second.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        angular = trace * axis - (second @ axis[..., None])[..., 0] + torch.linalg.cross(first, moment)
        linear_part = torch.linalg.cross(axis, first) + mass * moment
        # entry (i, j) with i an ancestor of j; the lower triangle follows by symmetry
        upper = (axis @ angular.mT + moment @ linear_part.mT) * self.kinematics.influence[:-1].mT
        return upper + upper.mT - torch.diag_embed(upper.diagonal(dim1=-2, dim2=-1))


def moved_axes(kinematics: Kinematics, frame: Tensor, xyz: Tensor) -> TorsionAxes:
    """Transform axes and origins (B, n, 3) by their frames."""
    axis, origin = axes(kinematics, xyz)
    rotation, shift = frame[:, :-1, :3, :3], frame[:, :-1, :3, 3]
    return (rotation @ axis[..., None])[..., 0], (rotation @ origin[..., None])[..., 0] + shift


def jacobian(
    kinematics: Kinematics,
    frame: Tensor,
    xyz: Tensor,
    moved: Tensor,
    rows: Tensor | None = None,
    torsion_axes: TorsionAxes | None = None,
) -> Tensor:
    """Compute the derivative of positions by torsions, axis x lever.

    Parameters
    ----------
    kinematics : Kinematics
        Kinematics of the segment.
    frame : (B, n + 1, 4, 4)
        Frames at which the derivative is taken.
    xyz : (B, m, 3)
        Local coordinates before the move, nm.
    moved : (B, m, 3) or (B, r, 3)
        Coordinates transformed by `frame`, nm.
    rows : (r,) int or None
        Local atoms of `moved`; None for all.
    torsion_axes : TorsionAxes or None
        `moved_axes` of the same frames, if they are known.

    Returns
    -------
    (B, m, 3, n) or (B, r, 3, n)
        Derivative, nm per radian.
    """
    body = kinematics.body if rows is None else kinematics.body[rows]
    axis, origin = torsion_axes or moved_axes(kinematics, frame, xyz)
    lever = moved[:, :, None, :] - origin[:, None, :, :]
    column = torch.linalg.cross(axis[:, None].expand_as(lever), lever)
    return (column * kinematics.influence[body][..., None]).transpose(-1, -2)


def acceleration(
    kinematics: Kinematics,
    frame: Tensor,
    xyz: Tensor,
    moved: Tensor,
    rate: Tensor,
    body: Tensor,
    torsion_axes: TorsionAxes | None = None,
) -> Tensor:
    """Compute the second derivative of positions while the torsions turn at constant rates.

    For torsions i before j on the way to an atom, d2x / di dj = a_i x (a_j x lever_j), so each torsion contributes
    (2 omega_before + omega_j) x (omega_j x lever_j), with omega_before summed over its ancestors.

    Parameters
    ----------
    kinematics : Kinematics
        Kinematics of the segment.
    frame : (B, n + 1, 4, 4)
        Frames at which the derivative is taken.
    xyz : (B, m, 3)
        Local coordinates before the move, nm.
    moved : (B, r, 3)
        Present coordinates of some atoms, nm.
    rate : (B, n)
        Rates of the torsions, radian per unit.
    body : (r,) int
        Rigid body of each of these atoms.
    torsion_axes : TorsionAxes or None
        `moved_axes` of the same frames, if they are known.

    Returns
    -------
    (B, r, 3)
        Second derivative.
    """
    axis, origin = torsion_axes or moved_axes(kinematics, frame, xyz)
    omega = rate[..., None] * axis
    before = kinematics.influence[:-1] @ omega - omega
    lever = moved[:, :, None, :] - origin[:, None, :, :]
    speed = torch.linalg.cross(omega[:, None].expand_as(lever), lever)
    bend = torch.linalg.cross((2 * before + omega)[:, None].expand_as(lever), speed)
    return (bend * kinematics.influence[body][..., None]).sum(2)


def _cross(first: Tensor, second: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute cross products (p, B, 3, m) of vectors (p, B, 3, m) with (B, 3, m)."""
    if first.numel() < MIN_ENTRIES_BY_COMPONENT:
        return torch.linalg.cross(first, second.expand_as(first), dim=-2, out=out)
    if out is None:
        out = torch.empty_like(first, memory_format=torch.contiguous_format)
    for k, i, j in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        part = out.select(-2, k)
        torch.mul(first.select(-2, i), second.select(-2, j), out=part)
        part.addcmul_(first.select(-2, j), second.select(-2, i), value=-1)
    return out
