"""Loop closure as a constraint: tangent projection and Newton retraction.

A closed segment starts at its N anchor; its last psi would move the residue after it, which must stay fixed. This
gives six scalar conditions, called rows: three for the position of the anchor atom and three for its orientation. A
covalent link from a moving atom to any other atom (disulfide, glycan, metal, cyclic peptide) adds the distances of the
bond and of the angles at both its ends. The decoder returns closed loops, so loss, metric, acceptance and output all
refer to the closed loop.

Newton's corrections are taken in the row space B of the Jacobian at the current coordinates, a fixed subspace during
one step: theta = delta + B nu with the residual r(theta) = 0 has the derivative dtheta = (I - B (J B)^-1 J) ddelta by
the implicit function theorem. Two Newton steps with the inverse frozen at the solution have this derivative (and the
second one) under automatic differentiation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geofold.kernels import structures
from geofold.kernels.library import call, usable
from geofold.molecule.kinematics.differential import acceleration, jacobian, moved_axes
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.topology.torsion_tree import TorsionTree

ORIENTATION_ARM = 0.15
"""Scale of the orientation rows (nm per radian), a bond length, comparable to the position rows."""
TOLERANCE = 1e-8
"""Closure tolerance (nm), far below the precision of a PDB file, so that only rounding remains."""
NEWTON_STEPS = 10
"""Largest number of Newton steps."""
RANK_TOLERANCE = 1e-6
"""Relative size of the singular values below which rows count as dependent."""


@dataclass(frozen=True)
class Closure:
    """Conditions of loop closure. Build with `Closure.of`.

    Attributes
    ----------
    end : int
        Torsion whose frame must stay the identity; -1 for a segment without anchor.
    anchor : (3,) int
        Indices of the anchor's N, CA and C among the local atoms.
    pairs : (p, 2) int
        Indices of the pairs of local atoms whose distance is constrained.
    """

    end: int
    anchor: Tensor
    pairs: Tensor

    @classmethod
    def of(cls, tree: TorsionTree, kinematics: Kinematics) -> Closure:
        """Build the conditions of a tree from its anchor and its links."""
        local = set(kinematics.atoms.tolist())
        pairs = []
        for i, j in tree.links:
            pairs.append((i, j))
            pairs.extend((k, j) for k in tree.adjacency[i] if k != j and k in local)
            pairs.extend((i, k) for k in tree.adjacency[j] if k != i and k in local)
        body = dict(zip(kinematics.atoms.tolist(), kinematics.body.tolist(), strict=True))
        # pairs inside a rigid body keep their distance and would make the Jacobian singular
        constrained = sorted({(min(p), max(p)) for p in pairs if body[p[0]] != body[p[1]]})
        device = kinematics.atoms.device
        rows = kinematics.local_rows(np.array(constrained, dtype=np.int64).reshape(-1)).reshape(-1, 2)
        anchor = kinematics.local_rows(tree.anchor) if tree.anchor else torch.zeros(0, dtype=torch.long, device=device)
        return cls(end=tree.end, anchor=anchor, pairs=rows)

    @property
    def rows(self) -> int:
        """Number of scalar conditions."""
        return (6 if self.end >= 0 else 0) + len(self.pairs)

    @cached_property
    def c_struct(self) -> structures.Closure:
        """The conditions for kernels."""
        anchor = int(self.anchor[1]) if self.end >= 0 else 0
        return structures.Closure.of(self.end, anchor, len(self.pairs), self.pairs.contiguous())

    def residual(self, kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
        """Compute the residual (B, rows) in nm after increments delta (B, n)."""
        return self.residual_at(kinematics, xyz, frames(kinematics, xyz, delta))

    def residual_at(self, kinematics: Kinematics, xyz: Tensor, frame: Tensor) -> Tensor:
        """Compute the residual (B, rows) in nm at given frames (B, n + 1, 4, 4)."""
        parts = []
        if self.end >= 0:
            end = frame[:, self.end]
            point = xyz[:, self.anchor[1]]
            parts.append((end[:, :3, :3] @ point[..., None])[..., 0] + end[:, :3, 3] - point)
            skew = end[:, :3, :3] - end[:, :3, :3].transpose(-1, -2)
            parts.append(0.5 * ORIENTATION_ARM * torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=-1))
        if len(self.pairs):
            ends = transform_atoms(kinematics, frame, xyz, self.pairs.flatten()).unflatten(1, (-1, 2))
            start = xyz[:, self.pairs]
            parts.append((ends[:, :, 0] - ends[:, :, 1]).norm(dim=-1) - (start[:, :, 0] - start[:, :, 1]).norm(dim=-1))
        return torch.cat(parts, dim=-1)

    def jacobian(self, kinematics: Kinematics, xyz: Tensor, frame: Tensor) -> Tensor:
        """Compute the derivative of the residual by the torsions, (B, rows, n); it is exact for a closed loop."""
        parts = []
        if self.end >= 0:
            axis, origin = moved_axes(kinematics, frame, xyz)
            end = frame[:, self.end]
            point = (end[:, :3, :3] @ xyz[:, self.anchor[1], :, None])[..., 0] + end[:, :3, 3]
            moves_end = kinematics.influence[self.end][None, :, None]
            moment = torch.linalg.cross(axis, point[:, None] - origin) * moves_end
            parts += [moment.transpose(-1, -2), (ORIENTATION_ARM * axis * moves_end).transpose(-1, -2)]
        if len(self.pairs):
            rows = self.pairs.flatten()
            ends = transform_atoms(kinematics, frame, xyz, rows)
            columns = jacobian(kinematics, frame, xyz, ends, rows).unflatten(1, (-1, 2))
            ends = ends.unflatten(1, (-1, 2))
            unit = torch.nn.functional.normalize(ends[:, :, 0] - ends[:, :, 1], dim=-1)
            parts.append((unit[..., None] * (columns[:, :, 0] - columns[:, :, 1])).sum(-2))
        return torch.cat(parts, dim=-2)

    def acceleration(self, kinematics: Kinematics, xyz: Tensor, frame: Tensor, rate: Tensor) -> Tensor:
        """Compute the second derivative of the residual while the torsions turn at constant rates.

        Parameters
        ----------
        kinematics : Kinematics
            Kinematics of the segment.
        xyz : (B, m, 3)
            Local coordinates before the move, nm.
        frame : (B, n + 1, 4, 4)
            Frames at which the derivative is taken.
        rate : (B, n)
            Rates, radian per unit.

        Returns
        -------
        (B, rows)
        """
        parts = []
        if self.end >= 0:
            end, point = frame[:, self.end], xyz[:, self.anchor[1:2]]
            at = (end[:, None, :3, :3] @ point[..., None])[..., 0] + end[:, None, :3, 3]
            last_body = torch.tensor([self.end], device=xyz.device)
            parts.append(acceleration(kinematics, frame, xyz, at, rate, last_body)[:, 0])
            # the skew part of a rotation's second derivative: sum over pairs of (a_i a_j' - a_j a_i') / 2
            axis, _ = moved_axes(kinematics, frame, xyz)
            spin = rate[..., None] * axis * kinematics.influence[self.end][None, :, None]
            before = kinematics.influence[: len(kinematics.near)] @ spin - spin
            parts.append(ORIENTATION_ARM * torch.linalg.cross(before, spin).sum(1))
        if len(self.pairs):
            rows = self.pairs.flatten()
            ends = transform_atoms(kinematics, frame, xyz, rows)
            speed = (jacobian(kinematics, frame, xyz, ends, rows) @ rate[:, None, :, None])[..., 0].unflatten(
                1, (-1, 2)
            )
            bend = acceleration(kinematics, frame, xyz, ends, rate, kinematics.body[rows]).unflatten(1, (-1, 2))
            ends = ends.unflatten(1, (-1, 2))
            gap, drift = ends[:, :, 0] - ends[:, :, 1], speed[:, :, 0] - speed[:, :, 1]
            length = gap.norm(dim=-1)
            along = (gap * drift).sum(-1) / length
            parts.append(
                (drift.square().sum(-1) - along.square() + (gap * (bend[:, :, 0] - bend[:, :, 1])).sum(-1)) / length
            )
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class Tangent:
    """Tangent space of loop closure at one set of coordinates.

    Attributes
    ----------
    normal : (B, n, rows)
        Orthonormal basis of the directions that open the loop (zero columns for dependent rows).
    freedom : (B,) int
        Number of remaining torsional degrees of freedom.
    """

    normal: Tensor
    freedom: Tensor

    def project(self, delta: Tensor) -> Tensor:
        """Project delta (B, n) onto the directions that keep the loop closed to first order."""
        if not self.normal.shape[-1]:
            return delta
        return delta - (self.normal @ (self.normal.transpose(-1, -2) @ delta[..., None]))[..., 0]


def tangent(closure: Closure, kinematics: Kinematics, xyz: Tensor, mobility: Tensor) -> Tangent:
    """Compute the tangent space of closure.

    Parameters
    ----------
    closure, kinematics
        Conditions of closure, and kinematics of the segment.
    xyz : (B, m, 3)
        Local coordinates, nm.
    mobility : (n,)
        Mobility of each torsion, 0 to 1.
    """
    batch, n = xyz.shape[0], len(kinematics.near)
    free = int((mobility > 0).sum())
    if not closure.rows:
        return Tangent(xyz.new_zeros(batch, n, 0), torch.full((batch,), free, device=xyz.device))
    if usable(xyz, mobility) and closure.rows <= structures.MAX_CONDITIONS:
        normal, count = xyz.new_empty(batch, n, closure.rows), torch.empty(batch, dtype=torch.long)
        call("tangent", kinematics.c_struct, closure.c_struct, batch, xyz.contiguous(), mobility, normal, count)
        return Tangent(normal, free - count)
    identity = frames(kinematics, xyz, xyz.new_zeros(batch, n))
    rows = closure.jacobian(kinematics, xyz, identity) * mobility
    _, size, right = torch.linalg.svd(rows, full_matrices=False)
    independent = size > RANK_TOLERANCE * size[:, :1].clamp_min(1e-30)
    return Tangent(right.transpose(-1, -2) * independent[:, None], free - independent.sum(-1))


def close(
    closure: Closure, kinematics: Kinematics, xyz: Tensor, delta: Tensor, space: Tangent
) -> tuple[Tensor, Tensor]:
    """Close the loop after an increment by Newton's method.

    Parameters
    ----------
    closure, kinematics
        Conditions of closure, and kinematics of the segment.
    xyz : (B, m, 3)
        Local coordinates of the closed loop, nm.
    delta : (B, n)
        Increments in radian, already projected and capped.
    space : Tangent
        Tangent space at `xyz`; corrections are made along its normal directions.

    Returns
    -------
    (B, n), (B,) bool
        Increments that keep the loop closed, differentiable in delta (in reverse and forward mode, unless gradients are
        disabled), and which rows of the batch closed.
    """
    if not closure.rows:
        return delta, torch.ones(len(delta), dtype=torch.bool, device=delta.device)
    basis = space.normal
    with torch.no_grad():
        theta, inverse, closed = _newton(closure, kinematics, xyz, delta.detach(), basis)
        shift = theta - delta.detach()
    if not torch.is_grad_enabled():
        return theta, closed
    theta = delta + shift
    for _ in range(2):
        step = inverse @ closure.residual(kinematics, xyz, theta)[..., None]
        theta = theta - (basis @ step)[..., 0]
    return theta, closed


def _newton(
    closure: Closure, kinematics: Kinematics, xyz: Tensor, delta: Tensor, basis: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Iterate Newton's method in the subspace `basis`, without gradients.

    Parameters
    ----------
    closure : Closure
        Conditions of closure.
    kinematics : Kinematics
        Kinematics of the segment.
    xyz : (B, m, 3)
        Local coordinates of the closed loop, nm.
    delta : (B, n)
        Increments, radian.
    basis : (B, n, rows)
        Directions of the corrections.

    Returns
    -------
    (B, n), (B, rows, rows), (B,) bool
        Closed increments, inverse of the last Jacobian, and which rows of the batch closed.
    """
    theta = delta
    inverse = torch.zeros(len(delta), basis.shape[-1], closure.rows, dtype=delta.dtype, device=delta.device)
    error = delta.new_full((len(delta),), torch.inf)
    for _ in range(NEWTON_STEPS):
        frame = frames(kinematics, xyz, theta)
        residual = closure.residual_at(kinematics, xyz, frame)
        error = residual.abs().amax(-1)
        inverse = torch.linalg.pinv(
            (closure.jacobian(kinematics, xyz, frame) @ basis).nan_to_num(0.0, 0.0, 0.0), rtol=1e-9
        )
        if bool((error < TOLERANCE).all()):
            break
        step = (basis @ (inverse @ residual[..., None]))[..., 0]
        theta = torch.where((error < TOLERANCE)[:, None], theta, theta - step)  # a closed row stays
    else:
        frame = frames(kinematics, xyz, theta)
        error = closure.residual_at(kinematics, xyz, frame).abs().amax(-1)
    closed = error < TOLERANCE
    if closure.end >= 0:
        # a rotation by half a turn has no skew part, so the residual alone would accept it
        closed &= frame[:, closure.end, :3, :3].diagonal(dim1=-2, dim2=-1).sum(-1) > 2.9
    return theta, inverse, closed
