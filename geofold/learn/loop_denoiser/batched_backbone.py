"""Training twin of the loop domain: loops of many proteins at once, as torsion chains between fixed ends.

Moves are those of the loop domain (torsions only, capped, closed by Newton's method), on N, CA, C and O alone.
`tests/molecule/loop/test_predictor.py` holds the two to the same moves and the same features.

Glossary: ``B`` loops, ``L`` residues of each, ``S = L + 4`` residues with two fixed ones on either side, ``E`` atoms of
the environment, ``h = 2 L`` torsions: phi and psi of each residue. Lengths in A, angles in radian.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from geofold import geometry
from geofold.geometry import cross, dihedral

Points = TypeVar("Points", Tensor, geometry.Array)
FLANK = 2
"""Fixed residues on either side of a loop."""
MAX_TURN = math.radians(9.0)
"""Largest turn of a torsion in one step, before closure."""
NEWTON_STEPS = 3
DAMPING = 1e-5
CLOSURE_TOLERANCE = 0.004
"""Closure error (A) up to which a move is accepted."""
CB = (-0.58273431, 0.56802827, -0.54067466)
"""Ideal CB from CA - N, C - CA and their cross product (Dauparas et al., Science 378:49, 2022)."""


class BackboneBatch(NamedTuple):
    """Loops of one length with their environments.

    xyz : (B, S, 4, 3)
        N, CA, C, O.
    letters : (B, S) int
        Amino acids; `geofold.learn.torsion_prior.model.ALPHABET_SIZE` - 1 for other or missing residues.
    present : (B, S) bool
        Residues that exist.
    free : (B, h) bool
        Torsions that may turn (not phi of proline).
    environment : (B, E, 3)
        Heavy atoms around the loop.
    weight : (B, E)
        Weights of these atoms, zero for padding.
    """

    xyz: Tensor
    letters: Tensor
    present: Tensor
    free: Tensor
    environment: Tensor
    weight: Tensor

    @property
    def length(self) -> int:
        """Residues L of each loop."""
        return int(self.xyz.shape[1]) - 2 * FLANK

    def with_coordinates(self, xyz: Tensor) -> BackboneBatch:
        """Return the same loops with other coordinates (B, S, 4, 3)."""
        return self._replace(xyz=xyz)


def pseudo_beta(xyz: Points) -> Points:
    """Ideal CB (..., 3) of backbones (..., 4, 3), also of glycine."""
    b, c = xyz[..., 1, :] - xyz[..., 0, :], xyz[..., 2, :] - xyz[..., 1, :]
    return CB[0] * cross(b, c) + CB[1] * b + CB[2] * c + xyz[..., 1, :]


def phi_psi(xyz: Tensor) -> Tensor:
    """Return phi and psi (B, S - 2, 2) of all residues of backbones (B, S, 4, 3) except the first and the last."""
    n, ca, c = xyz[:, :, 0], xyz[:, :, 1], xyz[:, :, 2]
    phi = dihedral(c[:, :-2], n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1])
    psi = dihedral(n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1], n[:, 2:])
    return torch.stack([phi, psi], -1)


def loop_torsions(xyz: Tensor) -> Tensor:
    """Torsions (B, h) of the loops of backbones (B, S, 4, 3): phi and psi of each residue."""
    return phi_psi(xyz)[:, FLANK - 1 : 1 - FLANK].flatten(1)


def _axes(xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Return unit axes of the torsions and a point on each, (B, h, 3)."""
    n, ca, c = (xyz[:, FLANK:-FLANK, k] for k in range(3))
    axis = torch.stack([ca - n, c - ca], 2).flatten(1, 2)
    return axis / axis.norm(dim=-1, keepdim=True), torch.stack([ca, c], 2).flatten(1, 2)


def rotate_torsions(xyz: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the torsions of loops, everything before them held fixed.

    Parameters
    ----------
    xyz : (B, S, 4, 3)
        Backbones.
    theta : (B, h)
        Turns (radian).

    Returns
    -------
    (B, S, 4, 3)
        Backbones with the loops turned; the residues after them stay.
    (B, 3, 3)
        Positions to which the turns would carry N, CA and C of the residue after the loop.
    """
    axis, origin = _axes(xyz)
    cosine, sine = theta.cos()[..., None], theta.sin()[..., None]
    rotation = _rotations(axis, cosine[..., None], sine[..., None])
    shift = origin - (rotation @ origin[..., None])[..., 0]
    turn, move = [rotation[:, 0]], [shift[:, 0]]
    for k in range(1, theta.shape[1]):
        move.append((turn[-1] @ shift[:, k, :, None])[..., 0] + move[-1])
        turn.append(turn[-1] @ rotation[:, k])
    frame, place = torch.stack(turn, 1), torch.stack(move, 1)
    length = xyz.shape[1] - 2 * FLANK
    loop = xyz[:, FLANK:-FLANK]
    # N and CA follow the psi before, C its own phi, O its own psi
    identity, zero = torch.eye(3).to(xyz).expand(len(xyz), 1, 3, 3), xyz.new_zeros(len(xyz), 1, 3)
    before, at = torch.cat([identity, frame[:, 1:-1:2]], 1), torch.cat([zero, place[:, 1:-1:2]], 1)
    by = torch.stack([before, before, frame[:, 0::2], frame[:, 1::2]], 2)
    to = torch.stack([at, at, place[:, 0::2], place[:, 1::2]], 2)
    moved = xyz.clone()
    moved[:, FLANK:-FLANK] = (by @ loop[..., None])[..., 0] + to
    after = xyz[:, FLANK + length, :3]
    return moved, (frame[:, -1:] @ after[..., None])[..., 0] + place[:, -1:]


def _rotations(axis: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) about unit axes (..., 3)."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    outer = axis[..., :, None] * axis[..., None, :]
    return cosine * torch.eye(3).to(axis) + sine * skew + (1 - cosine) * outer


def closure_jacobian(xyz: Tensor, free: Tensor) -> Tensor:
    """Differentiate N, CA, C of the residue after the loop by the torsions, (B, 9, h); zero for fixed torsions."""
    axis, origin = _axes(xyz)
    after = xyz[:, -FLANK, :3]
    arm = after[:, None] - origin[:, :, None]
    rate = cross(axis[:, :, None].expand_as(arm), arm) * free[:, :, None, None]
    return rate.flatten(2).mT


def _least_norm_solution(jacobian: Tensor, residual: Tensor) -> Tensor:
    """Smallest increments (B, h) with J x = r, for J (B, 9, h) and r (B, 9)."""
    gram = jacobian @ jacobian.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(DAMPING * gram.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True) + 1e-9)
    return (jacobian.mT @ torch.linalg.solve(gram, residual[..., None]))[..., 0]


def move_closed(loops: BackboneBatch, delta: Tensor, reach: Tensor | float = 1.0) -> tuple[BackboneBatch, Tensor]:
    """Move along increments as the loop domain does: projected on the closed tangent, capped, closed.

    Parameters
    ----------
    loops : BackboneBatch
        Closed loops.
    delta : (B, h)
        Increments asked for (radian).
    reach : (h,) or float
        Fraction by which each torsion follows.

    Returns
    -------
    BackboneBatch
        Loops after the move; unchanged in rows that could not be closed.
    (B, h)
        Increments that were made; zero in those rows.
    """
    delta = delta * loops.free
    # the reach scales the Jacobian, so that projection and closure respect it too
    slope = closure_jacobian(loops.xyz, loops.free) * reach
    delta = reach * (delta - _least_norm_solution(slope, (slope @ delta[..., None])[..., 0]))
    delta = delta * (MAX_TURN / delta.abs().amax(-1, keepdim=True).clamp_min(MAX_TURN))
    target = loops.xyz[:, -FLANK, :3]
    moved, end = rotate_torsions(loops.xyz, delta)
    for _ in range(NEWTON_STEPS):
        delta = delta - reach * _least_norm_solution(slope, (end - target).flatten(1))
        moved, end = rotate_torsions(loops.xyz, delta)
    error = (end - target).flatten(1).abs().amax(-1)
    accepted = (error < CLOSURE_TOLERANCE) & (delta.abs().amax(-1) < 2 * MAX_TURN)
    xyz = torch.where(accepted[:, None, None, None], moved, loops.xyz)
    return loops.with_coordinates(xyz), torch.where(accepted[:, None], delta, 0.0)


def loop_rmsd(one: Tensor, other: Tensor) -> Tensor:
    """Backbone RMSD (B,) of the loops of two sets of coordinates (B, S, 4, 3), without superposition."""
    return geometry.rmsd(one[:, FLANK:-FLANK], other[:, FLANK:-FLANK], (1, 2))
