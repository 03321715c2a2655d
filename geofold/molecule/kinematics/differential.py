"""Velocities of atoms from rates of torsions, and torques from forces, without forming the Jacobian.

Glossary: ``p`` probes, ``B`` rows, ``n`` torsions, ``m`` local atoms. D (m, n) is one where torsion j moves atom a.

Torsion j turns what it carries about the axis a_j through o_j, so the column of the Jacobian at atom x is
a_j x (x - o_j) = a_j x x + s_j with s_j = o_j x a_j. Everything below is then a sum over the chain of quantities
that do not know each other: velocities are Omega x x + V, torques a_j . T + s_j . F of all that the torsion carries,
and the metric J'WJ is that of a tree of rigid bodies (the composite-rigid-body algorithm, Featherstone 2008, 6.2).
Each costs one product with D, instead of the m n vectors of the Jacobian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geofold.molecule.kinematics.forward import Kinematics, TorsionAxes

LARGE = 20_000
"""Entries from which a cross product is taken component by component: the library's own is not vectorised."""


@dataclass(frozen=True)
class DifferentialKinematics:
    """A segment in its current conformation.

    Parameters
    ----------
    kinematics
        Its kinematics.
    torsion_axes
        Unit axes and a point on each, (B, n, 3), where they are now.
    moved : (B, m, 3)
        The atoms where they are now, nm.
    """

    kinematics: Kinematics
    torsion_axes: TorsionAxes
    moved: Tensor

    @cached_property
    def _screws(self) -> tuple[Tensor, Tensor]:
        """Axes and their moments o x a, (B, n, 3)."""
        axis, origin = self.torsion_axes
        return axis, torch.linalg.cross(origin, axis)

    @cached_property
    def _twists(self) -> Tensor:
        """(B, 6, n): axes and moments, components first; the layout that matrix products are fast in."""
        return torch.cat(self._screws, -1).mT.contiguous()

    @cached_property
    def _wrench_twists(self) -> Tensor:
        """(B, 6, n): what forces crossed with the atoms, then forces, are measured along."""
        axis, moment = self._screws
        return torch.cat([-axis, moment], -1).mT.contiguous()

    @property
    def _axes(self) -> Tensor:
        """(B, 3, n): axes, components first."""
        return self._twists[:, :3]

    @cached_property
    def _rows(self) -> Tensor:
        """Atoms as (B, 3, m): components first, so that sums over atoms are matrix products."""
        return self.moved.mT.contiguous()

    def velocities(self, rate: Tensor) -> Tensor:
        """J v: velocities (p, B, m, 3) of rates (p, B, n) in radian per unit."""
        probes, rows, n = rate.shape
        flat = torch.mm((self._twists * rate[..., None, :]).view(-1, n), self.kinematics.moves)
        spin, speed = flat.view(probes, rows, 6, -1).split(3, dim=-2)
        return (_cross(spin, self._rows) + speed).mT

    def torques(self, force: Tensor) -> Tensor:
        """J'f: torques (p, B, n) of forces (p, B, m, 3) on the atoms."""
        probes, rows, m, _ = force.shape
        wrench = force.new_empty(probes, rows, 6, m)
        wrench[..., 3:, :] = force.mT
        _cross(wrench[..., 3:, :], self._rows, out=wrench[..., :3, :])
        carried = torch.mm(wrench.view(-1, m), self.kinematics.moved_by).view(probes, rows, 6, -1)
        return (self._wrench_twists * carried).sum(-2)

    def acceleration(self, rate: Tensor) -> Tensor:
        """Second derivative (B, m, 3) of the atoms while the torsions turn at constant rates (B, n).

        Torsion j adds (2 omega_before + omega_j) x (omega_j x (x - o_j)), linear in x with the matrix
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
        """J'WJ (B, n, n) for one weight (B, m) per atom: inertia of all that the later of two torsions carries."""
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
        carried = self.kinematics.moved_by.mT @ moments
        mass, first, second = carried[..., :1], carried[..., 1:4], carried[..., 4:].unflatten(-1, (3, 3))
        trace = second.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        turning = trace * axis - (second @ axis[..., None])[..., 0] + torch.linalg.cross(first, moment)
        pushing = torch.linalg.cross(axis, first) + mass * moment
        # entry (i, j) with i on the way to j; the lower half is its mirror image
        upper = (axis @ turning.mT + moment @ pushing.mT) * self.kinematics.influence[:-1].mT
        return upper + upper.mT - torch.diag_embed(upper.diagonal(dim1=-2, dim2=-1))


def _cross(one: Tensor, other: Tensor, out: Tensor | None = None) -> Tensor:
    """Cross products (p, B, 3, m) of vectors (p, B, 3, m) with (B, 3, m)."""
    if one.numel() < LARGE:
        return torch.linalg.cross(one, other.expand_as(one), dim=-2, out=out)
    if out is None:
        out = torch.empty_like(one, memory_format=torch.contiguous_format)
    for k, i, j in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        part = out.select(-2, k)
        torch.mul(one.select(-2, i), other.select(-2, j), out=part)
        part.addcmul_(one.select(-2, j), other.select(-2, i), value=-1)
    return out
