"""Cost of a planned path over the ground, with its gradient in closed form.

Glossary: ``B`` rows, ``n`` moves; observations (B, 3 n): x, y and rise of each move. Lengths are in steps.

target   distance to the waypoint minus that of a straight roll-out, weighted mean over the positions of the plan
barrier  squared violation of a margin around barriers; the first position has a larger weight
pace     squared excess of moves that are longer than a step on the surface (a step covers less map on a slope)
bend     squared change from one move to the next

All terms are about zero for a straight plan at full pace over free ground, so the total measures difficulty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Loss, LossWithGradient
from geofold.maze.worlds.fields import STEP_LENGTH, Fields

SMOOTHING_DISTANCE = 0.25
"""Distance (steps) below which the distance to a waypoint is smoothed, so that its gradient exists at zero."""


class StraightRollout(NamedTuple):
    """Straight roll-out to the waypoints, the reference of the target term; constant during a step.

    Attributes
    ----------
    position, last : (B, 2)
        Position of the agent and its last move.
    aims : (B, n, 2)
        Waypoint that each move heads for: the first one, or the second once the first can be reached.
    remaining : (B,)
        Weighted distance to `aims` (steps) that the roll-out leaves.
    waypoint : (B, 2)
        First waypoint.
    """

    position: Tensor
    aims: Tensor
    last: Tensor
    remaining: Tensor
    waypoint: Tensor


@dataclass(frozen=True)
class PlanCost:
    """Weights and parameters of the cost terms.

    Parameters
    ----------
    target, barrier, pace, bend : float
        Weights of the terms.
    margin : float
        Margin around barriers (steps).
    next : float
        Factor of the barrier term for the first position of the plan.
    end : float
        Additional weight of the last position in the target term; the rest is shared equally by all positions.
    """

    target: float = 3.0
    barrier: float = 1.0
    margin: float = 1.0
    next: float = 10.0
    end: float = 0.25
    pace: float = 4.0
    bend: float = 0.1

    def straight_rollout(
        self, position: Tensor, slope: Tensor, waypoints: Tensor, last: Tensor, moves: int
    ) -> StraightRollout:
        """Roll out straight moves to the first waypoint and on to the second.

        Parameters
        ----------
        position, slope : (B, 2)
            Position of the agent and slope of the ground there.
        waypoints : (B, 2, 2)
        last : (B, 2)
            Last move.
        moves : int
            Number of moves n.

        Returns
        -------
        StraightRollout
        """
        direction = (waypoints[:, 0] - position) / STEP_LENGTH
        distance = direction.norm(dim=-1, keepdim=True)
        # On rising ground, a step on the surface covers less than a step of the map.
        climb = (direction * slope).sum(-1, keepdim=True) / distance.clamp_min(1e-9)
        numbers = torch.arange(1, moves + 1, dtype=position.dtype, device=position.device)
        covered = numbers / (1 + climb.square()).sqrt()
        before_first = covered <= distance
        second = (waypoints[:, 1] - waypoints[:, 0]).norm(dim=-1, keepdim=True) / STEP_LENGTH
        remaining = torch.where(before_first, distance - covered, (distance + second - covered).clamp_min(0))
        aims = torch.where(before_first[..., None], waypoints[:, None, 0], waypoints[:, None, 1])
        weighted = remaining @ self._target_weights(remaining)
        return StraightRollout(position, aims, last, weighted, waypoints[:, 0])

    def loss_and_gradient(
        self, mean: Tensor, rollout: StraightRollout, scene: Tensor, fields: Fields
    ) -> LossWithGradient:
        """Cost of observations and its gradient.

        Parameters
        ----------
        mean : (B, 3 n)
            Observations of the plan.
        rollout : StraightRollout
        scene : (B,) int
        fields : Fields

        Returns
        -------
        LossWithGradient
        """
        moves = mean.unflatten(-1, (rollout.aims.shape[1], 3)) / STEP_LENGTH
        positions = rollout.position[:, None] + STEP_LENGTH * moves[..., :2].cumsum(1)
        offset = (positions - rollout.aims) / STEP_LENGTH
        distance = (offset.square().sum(-1) + SMOOTHING_DISTANCE**2).sqrt()
        target_weight = self._target_weights(distance)
        intrusion = (self.margin - fields.distance(positions, scene) / STEP_LENGTH).clamp_min(0)
        barrier_weight = self._barrier_weights(intrusion)
        length = moves.square().sum(-1).clamp_min(1e-12).sqrt()
        excess = (length - 1).clamp_min(0)
        turn = torch.cat([rollout.last[:, None] / STEP_LENGTH, moves[..., :2]], 1).diff(dim=1)
        terms = {
            "target": self.target * ((distance - SMOOTHING_DISTANCE) @ target_weight - rollout.remaining),
            "barrier": intrusion.square() @ barrier_weight,
            "pace": self.pace * excess.square().sum(-1),
            "bend": self.bend * turn.square().sum((-1, -2)),
        }

        def gradient() -> Tensor:
            by_position = self.target * (target_weight / distance)[..., None] * offset
            if bool((intrusion > 0).any()):
                slope = fields.distance_slope(positions, scene)
                by_position = by_position - 2 * (barrier_weight * intrusion)[..., None] * slope
            by_length = 2 * self.pace * excess / length
            by_turn = 2 * self.bend * (turn - torch.cat([turn[:, 1:], torch.zeros_like(turn[:, :1])], 1))
            by_move = by_position.flip(1).cumsum(1).flip(1) + by_turn
            back = moves * by_length[..., None] + torch.nn.functional.pad(by_move, (0, 1))
            return back.flatten(1) / STEP_LENGTH

        return LossWithGradient(Loss(torch.stack(list(terms.values())).sum(0), terms), gradient)

    def _target_weights(self, like: Tensor) -> Tensor:
        """Weights (n,) of the positions in the target term, which add up to one."""
        weight = like.new_full(like.shape[-1:], (1 - self.end) / like.shape[-1])
        weight[-1] += self.end
        return weight

    def _barrier_weights(self, like: Tensor) -> Tensor:
        """Weights (n,) of the positions in the barrier term."""
        weight = like.new_full(like.shape[-1:], self.barrier)
        weight[0] *= self.next
        return weight
