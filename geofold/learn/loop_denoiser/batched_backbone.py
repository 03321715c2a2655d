"""Many loops of one length at once: backbones as torsion chains between fixed ends, closed after every move.

Glossary: ``B`` loops, ``L`` residues of each, ``S = L + 4`` residues of a piece (two on either side stay where they
are), ``E`` atoms around, ``h = 2 L`` hinges: phi and psi of each residue in turn. Lengths in A.

This is the training twin of the loop domain: the same moves (torsions only, capped, closed by Newton's method), on N,
CA, C and O alone, for loops of different proteins side by side.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geofold import geometry
from geofold.geometry import cross, dihedral

FLANK = 2
MAX_TURN = math.radians(9.0)
"""What a step may turn a torsion by before closing."""
NEWTON_STEPS = 3
DAMPING = 1e-5
CLOSURE_TOLERANCE = 0.004
"""A: closing error up to which a move counts."""
CB = (-0.58273431, 0.56802827, -0.54067466)
"""Pseudo CB from CA - N, C - CA and their cross product (Dauparas et al., Science 378:49, 2022)."""


class BackboneBatch(NamedTuple):
    """Loops with what surrounds them.

    xyz : (B, S, 4, 3) N, CA, C, O.
    letters : (B, S) int; `geofold.learn.torsion_prior.model.ALPHABET_SIZE` - 1 where there is no residue.
    there : (B, S) bool: residue exists.
    free : (B, h) bool: hinges that may turn (not proline's phi).
    around : (B, E, 3), and a weight (B, E): zero where there is no atom.
    """

    xyz: Tensor
    letters: Tensor
    there: Tensor
    free: Tensor
    around: Tensor
    weight: Tensor

    @property
    def length(self) -> int:
        """L."""
        return int(self.xyz.shape[1]) - 2 * FLANK

    def moved(self, xyz: Tensor) -> BackboneBatch:
        """The same loops elsewhere."""
        return self._replace(xyz=xyz)


def pseudo_beta(xyz: Tensor) -> Tensor:
    """CB (..., 3) of backbones (..., 4, 3), ideal, glycine's too."""
    b, c = xyz[..., 1, :] - xyz[..., 0, :], xyz[..., 2, :] - xyz[..., 1, :]
    a = cross(b, c)
    return CB[0] * a + CB[1] * b + CB[2] * c + xyz[..., 1, :]


def phi_psi(xyz: Tensor) -> Tensor:
    """phi and psi (B, S - 2, 2) of all residues of pieces (B, S, 4, 3) but the outermost."""
    n, ca, c = xyz[:, :, 0], xyz[:, :, 1], xyz[:, :, 2]
    phi = dihedral(c[:, :-2], n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1])
    psi = dihedral(n[:, 1:-1], ca[:, 1:-1], c[:, 1:-1], n[:, 2:])
    return torch.stack([phi, psi], -1)


def loop_torsions(xyz: Tensor) -> Tensor:
    """Hinge angles (B, h): phi and psi of the loop's residues in turn."""
    return phi_psi(xyz)[:, FLANK - 1 : 1 - FLANK].flatten(1)


def _hinges(xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Axes and origins (B, h, 3)."""
    n, ca, c = (xyz[:, FLANK:-FLANK, k] for k in range(3))
    axis = torch.stack([ca - n, c - ca], 2).flatten(1, 2)
    return axis / axis.norm(dim=-1, keepdim=True), torch.stack([ca, c], 2).flatten(1, 2)


def rotate_torsions(xyz: Tensor, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces after their hinges turned by theta (B, h), and where that takes N, CA, C of the next residue (B, 3, 3)."""
    axis, origin = _hinges(xyz)
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
    # N and CA go with the psi before, C with the own phi, O with the own psi
    whole, start = torch.eye(3).to(xyz).expand(len(xyz), 1, 3, 3), xyz.new_zeros(len(xyz), 1, 3)
    before, at = torch.cat([whole, frame[:, 1:-1:2]], 1), torch.cat([start, place[:, 1:-1:2]], 1)
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
    """Rates (B, 9, h) at which N, CA, C of the next residue move with each hinge."""
    axis, origin = _hinges(xyz)
    after = xyz[:, -FLANK, :3]
    arm = after[:, None] - origin[:, :, None]
    rate = cross(axis[:, :, None].expand_as(arm), arm) * free[:, :, None, None]
    return rate.flatten(2).mT


def _least(jacobian: Tensor, residual: Tensor) -> Tensor:
    """Smallest increments (B, h) with J x = r; r (B, 9)."""
    gram = jacobian @ jacobian.mT
    gram.diagonal(dim1=-2, dim2=-1).add_(DAMPING * gram.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True) + 1e-9)
    return (jacobian.mT @ torch.linalg.solve(gram, residual[..., None]))[..., 0]


def move_closed(pieces: BackboneBatch, delta: Tensor, reach: Tensor | float = 1.0) -> tuple[BackboneBatch, Tensor]:
    """Move along increments as the loop domain does: projected, capped, closed.

    Parameters
    ----------
    delta : (B, h)
        Wanted increments, radian.
    reach : (h,) or float
        How far each hinge may follow.

    Returns
    -------
    Pieces, Tensor
        And the increments (B, h) that were made: none in rows that did not close.
    """
    delta = delta * pieces.free
    # seen through the reach, so that what is projected out and what closes again follow it too
    slope = closure_jacobian(pieces.xyz, pieces.free) * reach
    delta = reach * (delta - _least(slope, (slope @ delta[..., None])[..., 0]))
    delta = delta * (MAX_TURN / delta.abs().amax(-1, keepdim=True).clamp_min(MAX_TURN))
    target = pieces.xyz[:, -FLANK, :3]
    moved, end = rotate_torsions(pieces.xyz, delta)
    for _ in range(NEWTON_STEPS):
        delta = delta - reach * _least(slope, (end - target).flatten(1))
        moved, end = rotate_torsions(pieces.xyz, delta)
    missed = (end - target).flatten(1).abs().amax(-1)
    good = (missed < CLOSURE_TOLERANCE) & (delta.abs().amax(-1) < 2 * MAX_TURN)
    xyz = torch.where(good[:, None, None, None], moved, pieces.xyz)
    return pieces.moved(xyz), torch.where(good[:, None], delta, 0.0)


def loop_rmsd(one: Tensor, other: Tensor) -> Tensor:
    """Backbone RMSD (B,) of the loops of two sets of coordinates (B, S, 4, 3), without superposition."""
    return geometry.rmsd(one[:, FLANK:-FLANK], other[:, FLANK:-FLANK], (1, 2))
