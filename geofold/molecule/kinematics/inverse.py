"""Inverse kinematics: torsion increments that bring atoms to targets or close an open loop.

`loop_closure` keeps a closed loop closed; here loops with wide gaps are closed by Gauss-Newton steps, which are damped
in proportion to the remaining gap and limited in size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from geofold.molecule.kinematics.differential import jacobian
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.kinematics.loop_closure import TOLERANCE, Closure

IK_STEPS, IK_TOLERANCE = 150, 1e-6
"""Largest number of steps, and closure tolerance (nm), 1/100 of the precision of a PDB file."""
MAX_TURN = 0.3
"""Largest rotation (rad) of one torsion in one step."""
DAMPING = 0.01
"""Damping of a step, as a fraction of the squared error."""
APPROACH_STEPS, ANCHOR_WEIGHT = 20, 10.0
"""Number of steps towards targets that cannot be met exactly, and weight of an anchor atom relative to a target."""


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
    """Solve for the smallest torsion increments that bring atoms to their targets (damped Gauss-Newton).

    Parameters
    ----------
    kinematics : Kinematics
        Kinematics of the segment.
    xyz : (B, m, 3)
        Local coordinates, nm.
    delta : (B, n)
        Initial increments, radian.
    rows : (r,) int
        Local atoms.
    target : (r, 3) or (B, r, 3)
        Their target positions, nm.
    rotatable : (n,) bool
        Torsions that may turn.
    tolerance : float
        Largest error of a coordinate, nm.

    Returns
    -------
    (B, n), (B,) bool
        Increments, and which rows of the batch converged.
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
def solve_ik_near(
    kinematics: Kinematics,
    xyz: Tensor,
    delta: Tensor,
    rows: Tensor,
    target: Tensor,
    ends: Tensor,
    end_target: Tensor,
    rotatable: Tensor,
    *,
    tolerance: float = IK_TOLERANCE,
) -> tuple[Tensor, Tensor]:
    """Close a chain with the least displacement of some atoms from given coordinates.

    Closing by `solve_ik` alone changes the torsions least, which may displace the middle of a long chain by 1 A.

    Parameters
    ----------
    kinematics : Kinematics
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
    rotatable : (n,) bool
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
    weight[len(rows) :] = ANCHOR_WEIGHT
    near = _approach(
        kinematics, xyz, delta, torch.cat([rows, ends]), torch.cat([target, end_target], 1), rotatable, weight
    )
    return solve_ik(kinematics, xyz, near, ends, end_target, rotatable, tolerance=tolerance)


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
    """Close an open loop: first approach target positions of some atoms, then close the gap.

    Parameters
    ----------
    closure : Closure
        Conditions of closure.
    kinematics : Kinematics
        Kinematics of the loop.
    xyz : (B, m, 3)
        Local coordinates of the closed loop, nm.
    delta : (B, n)
        Increments that open it, radian.
    rotatable : (n,) bool
        Torsions that may turn.
    rows : (r,) int
        Local atoms.
    target : (B, r, 3)
        Target positions of these atoms, nm; bonds and angles of the loop may keep them from being met exactly.

    Returns
    -------
    (B, n), (B,) bool
        Increments, and which rows of the batch closed, including all links.
    """
    body = kinematics.body.clone()
    body[closure.anchor] = closure.end
    anchored, anchor = replace(kinematics, body=body), xyz[:, closure.anchor]
    theta, closed = solve_ik_near(
        anchored, xyz, delta, rows, target, closure.anchor, anchor, rotatable, tolerance=TOLERANCE
    )
    if not len(closure.pairs) or not bool(closed.any()):
        return theta, closed
    theta[closed] = _close_links(closure, kinematics, xyz[closed], theta[closed])
    ends = transform_atoms(anchored, frames(anchored, xyz, theta), xyz, closure.anchor)
    # the residual is also zero after half a turn of the anchor
    anchor_met = (ends - anchor).abs().amax((1, 2)) < IK_TOLERANCE
    return theta, closed & anchor_met & (closure.residual(kinematics, xyz, theta).abs().amax(-1) < TOLERANCE)


def _approach(
    kinematics: Kinematics, xyz: Tensor, delta: Tensor, rows: Tensor, target: Tensor, rotatable: Tensor, weight: Tensor
) -> Tensor:
    """Minimise the weighted sum of squared distances of atoms from targets.

    Parameters
    ----------
    kinematics : Kinematics
        Kinematics of the loop, with the anchor as a moving atom.
    xyz : (B, m, 3)
        Local coordinates, nm.
    delta : (B, n)
        Initial increments, radian.
    rows : (r,) int
        Local atoms.
    target : (B, r, 3)
        Their targets, nm.
    rotatable : (n,) bool
        Torsions that may turn.
    weight : (r,)
        Weights of the atoms.

    Returns
    -------
    (B, n)
        Increments, radian.
    """
    weight = weight.repeat_interleave(3)
    for _ in range(APPROACH_STEPS):
        frame = frames(kinematics, xyz, delta)
        ends = transform_atoms(kinematics, frame, xyz, rows)
        error = weight * (ends - target).flatten(1)
        slope = weight[:, None] * jacobian(kinematics, frame, xyz, ends, rows).flatten(1, 2) * rotatable
        square = slope.mT @ slope
        # fixed torsions have no other term on the diagonal
        square.diagonal(dim1=-2, dim2=-1).add_(error.square().mean(-1, keepdim=True) + 1e-9)
        delta = delta - _limit_turns(torch.linalg.solve(square, (slope.mT @ error[..., None])[..., 0]))
    return delta


def _close_links(closure: Closure, kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Close the links of closed loops by the smallest increments (B, n), side chains included."""
    for _ in range(IK_STEPS):
        frame = frames(kinematics, xyz, delta)
        error = closure.residual_at(kinematics, xyz, frame)
        if bool((error.abs().amax(-1) < TOLERANCE).all()):
            break
        delta = delta - _damped_step(closure.jacobian(kinematics, xyz, frame), error)
    return delta


def _damped_step(slope: Tensor, error: Tensor) -> Tensor:
    """Compute the damped step (B, n) of least length from an error (B, r) and its derivative (B, r, n)."""
    square = slope @ slope.mT
    square.diagonal(dim1=-2, dim2=-1).add_(DAMPING * error.square().sum(-1, keepdim=True) + 1e-12)
    return _limit_turns((slope.mT @ torch.linalg.solve(square, error)[..., None])[..., 0])


def _limit_turns(step: Tensor) -> Tensor:
    """Scale a step (B, n) so that no torsion turns by more than `MAX_TURN`."""
    return step * (MAX_TURN / step.abs().amax(-1, keepdim=True).clamp_min(MAX_TURN))
