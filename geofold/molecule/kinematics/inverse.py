"""Loops that are torn apart brought together again, from however far.

What `closure` keeps closed along a stream is closed here in the first place: by Gauss-Newton steps, damped while the
gap is wide, and small enough that the torsions find their way.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from geofold.molecule.kinematics.forward import Kinematics, carry, frames, jacobian
from geofold.molecule.kinematics.loop_closure import TOLERANCE, Closure

MEETING_STEPS, MET = 150, 1e-6
"""Of the way from a wide gap, and nm within which it is closed: a file shows a hundred times as much."""
LARGEST_TURN = 0.3
"""rad: of one torsion in one of these steps."""
DAMPING = 0.01
"""Of these steps, as a share of the square of what is left open."""
NEARING_STEPS, PULL = 20, 10.0
"""Towards places that other bonds and angles led to, which these come near but never meet; and how much more an anchor
counts than one of these places."""


@torch.no_grad()
def meet(
    kin: Kinematics,
    xyz: Tensor,
    delta: Tensor,
    rows: Tensor,
    target: Tensor,
    turning: Tensor,
    *,
    tolerance: float = MET,
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
    for _ in range(MEETING_STEPS):
        frame = frames(kin, xyz, delta)
        ends = carry(kin, frame, xyz, rows)
        error = (ends - target).flatten(1)
        if bool((error.abs().amax(-1) < tolerance).all()):
            break
        delta = delta - _least(jacobian(kin, frame, xyz, ends, rows).flatten(1, 2) * turning, error)
    ends = carry(kin, frames(kin, xyz, delta), xyz, rows)
    return delta, (ends - target).abs().amax((1, 2)) < tolerance


@torch.no_grad()
def meet_near(
    kin: Kinematics,
    xyz: Tensor,
    delta: Tensor,
    rows: Tensor,
    target: Tensor,
    ends: Tensor,
    end_target: Tensor,
    turning: Tensor,
    *,
    tolerance: float = MET,
) -> tuple[Tensor, Tensor]:
    """Increments that close a chain with the least displacement of some atoms from given coordinates.

    Closing by `meet` alone changes the torsions least, which may displace the middle of a long chain by an Angstrom.

    Parameters
    ----------
    kin : Kinematics
    xyz : (B, m, 3)
        Local coordinates, nm.
    delta : (B, n)
        Increments to begin with, radian.
    rows : (r,) int
        Local atoms that are to stay near `target`.
    target : (B, r, 3)
        Their target coordinates, nm.
    ends : (e,) int
        Local atoms that have to meet `end_target`.
    end_target : (e, 3) or (B, e, 3)
    turning : (n,) bool
        Torsions that may turn.
    tolerance : float
        Largest difference of a closed end, nm.

    Returns
    -------
    (B, n), (B,) bool
        Increments, and which rows of the batch closed.
    """
    end_target = end_target.expand(len(target), -1, -1)
    weight = xyz.new_ones(len(rows) + len(ends))
    weight[len(rows) :] = PULL
    near = _towards(kin, xyz, delta, torch.cat([rows, ends]), torch.cat([target, end_target], 1), turning, weight)
    return meet(kin, xyz, near, ends, end_target, turning, tolerance=tolerance)


@torch.no_grad()
def closed_anew(
    closure: Closure, kin: Kinematics, xyz: Tensor, delta: Tensor, turning: Tensor, rows: Tensor, target: Tensor
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
    carrier = kin.carrier.clone()
    carrier[closure.anchor] = closure.end
    hung, anchor = replace(kin, carrier=carrier), xyz[:, closure.anchor]
    theta, closed = meet_near(hung, xyz, delta, rows, target, closure.anchor, anchor, turning, tolerance=TOLERANCE)
    if not len(closure.pairs) or not bool(closed.any()):
        return theta, closed
    theta[closed] = _linked(closure, kin, xyz[closed], theta[closed])
    ends = carry(hung, frames(hung, xyz, theta), xyz, closure.anchor)
    met = (ends - anchor).abs().amax((1, 2)) < MET  # half a turn of the anchor has no residual
    return theta, closed & met & (closure.residual(kin, xyz, theta).abs().amax(-1) < TOLERANCE)


def _towards(
    kin: Kinematics, xyz: Tensor, delta: Tensor, rows: Tensor, target: Tensor, turning: Tensor, weight: Tensor
) -> Tensor:
    """Increments (B, n) of the least sum of squared distances of atoms (r,), weighted (r,), from their targets
    (B, r, 3)."""
    weight = weight.repeat_interleave(3)
    for _ in range(NEARING_STEPS):
        frame = frames(kin, xyz, delta)
        ends = carry(kin, frame, xyz, rows)
        error = weight * (ends - target).flatten(1)
        slope = weight[:, None] * jacobian(kin, frame, xyz, ends, rows).flatten(1, 2) * turning
        square = slope.mT @ slope
        # torsions that do not turn have nothing else on their diagonal
        square.diagonal(dim1=-2, dim2=-1).add_(error.square().mean(-1, keepdim=True) + 1e-9)
        delta = delta - _kept_small(torch.linalg.solve(square, (slope.mT @ error[..., None])[..., 0]))
    return delta


def _linked(closure: Closure, kin: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Increments (B, n) of closed loops turned as little as it takes to close their links too, side chains as well."""
    for _ in range(MEETING_STEPS):
        frame = frames(kin, xyz, delta)
        error = closure.residual_at(kin, xyz, frame)
        if bool((error.abs().amax(-1) < TOLERANCE).all()):
            break
        delta = delta - _least(closure.jacobian(kin, xyz, frame), error)
    return delta


def _least(slope: Tensor, error: Tensor) -> Tensor:
    """Damped step (B, n) of least length that an error (B, r) and its derivative (B, r, n) ask for."""
    square = slope @ slope.mT
    square.diagonal(dim1=-2, dim2=-1).add_(DAMPING * error.square().sum(-1, keepdim=True) + 1e-12)
    return _kept_small((slope.mT @ torch.linalg.solve(square, error)[..., None])[..., 0])


def _kept_small(step: Tensor) -> Tensor:
    """A step (B, n) in which no torsion turns by more than `LARGEST_TURN`."""
    return step * (LARGEST_TURN / step.abs().amax(-1, keepdim=True).clamp_min(LARGEST_TURN))
