"""Loops that are torn apart brought together again, from however far.

What `closure` keeps closed along a stream is closed here in the first place: by Gauss-Newton steps, damped while the
gap is wide, and small enough that the torsions find their way.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from geofold.molecule.kinematics.forward import Kinematics, frames, jacobian, transform_atoms
from geofold.molecule.kinematics.loop_closure import TOLERANCE, Closure

IK_STEPS, IK_TOLERANCE = 150, 1e-6
"""Of the way from a wide gap, and nm within which it is closed: a file shows a hundred times as much."""
MAX_TURN = 0.3
"""rad: of one torsion in one of these steps."""
DAMPING = 0.01
"""Of these steps, as a share of the square of what is left open."""
APPROACH_STEPS, ANCHOR_WEIGHT = 20, 10.0
"""Towards places that other bonds and angles led to, which these come near but never meet; and how much more an anchor
counts than one of these places."""


@torch.no_grad()
def solve_ik(
    kinematics: Kinematics,
    xyz: Tensor,
    delta: Tensor,
    rows: Tensor,
    target: Tensor,
    rotatable: Tensor,
    *,
    tolerance: float = IK_TOLERANCE,
) -> tuple[Tensor, Tensor]:
    """Increments turned as little as it takes to bring some atoms where they belong, from however far.

    Gauss-Newton steps of least length, damped while the gap is wide.

    Parameters
    ----------
    xyz : (B, m, 3)
        Local coordinates, nm.
    delta : (B, n)
        Increments to begin with, radian.
    rows : (r,) int
        Local atoms.
    target : (r, 3) or (B, r, 3)
        Their places.
    turning : (n,) bool
        Torsions that may turn.

    Returns
    -------
    (B, n), (B,) bool
        Increments, and which rows of the batch got there.
    """
    for _ in range(IK_STEPS):
        frame = frames(kinematics, xyz, delta)
        ends = transform_atoms(kinematics, frame, xyz, rows)
        error = (ends - target).flatten(1)
        if bool((error.abs().amax(-1) < tolerance).all()):
            break
        delta = delta - _damped_step(jacobian(kinematics, frame, xyz, ends, rows).flatten(1, 2) * rotatable, error)
    ends = transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz, rows)
    return delta, (ends - target).abs().amax((1, 2)) < tolerance


@torch.no_grad()
def reclose(
    closure: Closure,
    kinematics: Kinematics,
    xyz: Tensor,
    delta: Tensor,
    rotatable: Tensor,
    rows: Tensor,
    target: Tensor,
) -> tuple[Tensor, Tensor]:
    """Increments of a loop that is torn apart, turned towards where some atoms should be, then until it closes.

    Parameters
    ----------
    xyz : (B, m, 3)
        Local coordinates, closed, nm.
    delta : (B, n)
        Increments to begin with, radian.
    turning : (n,) bool
        Torsions that may turn.
    rows : (r,) int
        Local atoms.
    target : (B, r, 3)
        Where they should be, as nearly as the loop's own bonds and angles let them.

    Returns
    -------
    (B, n), (B,) bool
        Increments, and which rows of the batch closed, with all their links.
    """
    body = kinematics.body.clone()
    body[closure.anchor] = closure.end
    anchored, anchor = replace(kinematics, body=body), xyz[:, closure.anchor]
    all_rows, places = torch.cat([rows, closure.anchor]), torch.cat([target, anchor], 1)
    weight = xyz.new_ones(len(all_rows))
    weight[len(rows) :] = ANCHOR_WEIGHT
    near = _approach(anchored, xyz, delta, all_rows, places, rotatable, weight)
    theta, closed = solve_ik(anchored, xyz, near, closure.anchor, anchor, rotatable, tolerance=TOLERANCE)
    if not len(closure.pairs) or not bool(closed.any()):
        return theta, closed
    theta[closed] = _close_links(closure, kinematics, xyz[closed], theta[closed])
    ends = transform_atoms(anchored, frames(anchored, xyz, theta), xyz, closure.anchor)
    met = (ends - anchor).abs().amax((1, 2)) < IK_TOLERANCE  # half a turn of the anchor has no residual
    return theta, closed & met & (closure.residual(kinematics, xyz, theta).abs().amax(-1) < TOLERANCE)


def _approach(
    kinematics: Kinematics, xyz: Tensor, delta: Tensor, rows: Tensor, target: Tensor, rotatable: Tensor, weight: Tensor
) -> Tensor:
    """Increments (B, n) of the least sum of squared distances of atoms (r,), weighted (r,), from their targets
    (B, r, 3)."""
    weight = weight.repeat_interleave(3)
    for _ in range(APPROACH_STEPS):
        frame = frames(kinematics, xyz, delta)
        ends = transform_atoms(kinematics, frame, xyz, rows)
        error = weight * (ends - target).flatten(1)
        slope = weight[:, None] * jacobian(kinematics, frame, xyz, ends, rows).flatten(1, 2) * rotatable
        square = slope.mT @ slope
        # torsions that do not turn have nothing else on their diagonal
        square.diagonal(dim1=-2, dim2=-1).add_(error.square().mean(-1, keepdim=True) + 1e-9)
        delta = delta - _limit_turns(torch.linalg.solve(square, (slope.mT @ error[..., None])[..., 0]))
    return delta


def _close_links(closure: Closure, kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Increments (B, n) of closed loops turned as little as it takes to close their links too, side chains as well."""
    for _ in range(IK_STEPS):
        frame = frames(kinematics, xyz, delta)
        error = closure.residual_at(kinematics, xyz, frame)
        if bool((error.abs().amax(-1) < TOLERANCE).all()):
            break
        delta = delta - _damped_step(closure.jacobian(kinematics, xyz, frame), error)
    return delta


def _damped_step(slope: Tensor, error: Tensor) -> Tensor:
    """Damped step (B, n) of least length that an error (B, r) and its derivative (B, r, n) ask for."""
    square = slope @ slope.mT
    square.diagonal(dim1=-2, dim2=-1).add_(DAMPING * error.square().sum(-1, keepdim=True) + 1e-12)
    return _limit_turns((slope.mT @ torch.linalg.solve(square, error)[..., None])[..., 0])


def _limit_turns(step: Tensor) -> Tensor:
    """A step (B, n) in which no torsion turns by more than `MAX_TURN`."""
    return step * (MAX_TURN / step.abs().amax(-1, keepdim=True).clamp_min(MAX_TURN))
