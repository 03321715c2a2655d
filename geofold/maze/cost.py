"""What a planned way costs, and the gradient of it in closed form.

Glossary: ``B`` rows, ``n`` moves; observations (B, 3 n): x, y and rise of each move. Lengths are in steps here.

target   how far behind a straight march towards the aim the plan is, on average over its places, the last one more
barrier  how near its places come to barriers: half a parabola within a margin, the place to be reached next more
pace     moves longer than a step on the surface: on a slope a step gets less far on the map, so climbing costs
bend     moves that differ from the one before

All of it is about zero for a plan that goes straight at full pace over free ground, so what remains is difficulty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Loss, LossWithGradient
from geofold.maze.fields import STEP_LENGTH, Fields

BLUNT = 0.25
"""Steps within which the distance to the aim is rounded off."""


class StraightRollout(NamedTuple):
    """What a state is judged by: it does not change while a step is corrected.

    at, last : (B, 2) position and last move
    aim : (B, n, 2) where each move should head for: the first aim, or what is behind it once that can be reached
    left : (B,) steps that a straight march would leave to the aims, weighed as the plan's
    next : (B, 2) the first aim
    """

    at: Tensor
    aim: Tensor
    last: Tensor
    left: Tensor
    next: Tensor


@dataclass(frozen=True)
class PlanCost:
    """Weights of the terms.

    Parameters
    ----------
    margin : float
        Steps that places keep from barriers.
    next : float
        Weight of the next place's barrier term beside one for the others.
    end : float
        Share of the target term that the last place bears alone.
    """

    target: float = 3.0
    barrier: float = 1.0
    margin: float = 1.0
    next: float = 10.0
    end: float = 0.25
    pace: float = 4.0
    bend: float = 0.1

    def straight_rollout(self, at: Tensor, slope: Tensor, aims: Tensor, last: Tensor, moves: int) -> StraightRollout:
        """The march from places (B, 2) on ground of a slope (B, 2) to the first of the aims (B, 2, 2) and the other."""
        way = (aims[:, 0] - at) / STEP_LENGTH
        far = way.norm(dim=-1, keepdim=True)
        # on rising ground a step on the surface is less than one on the chart
        climb = (way * slope).sum(-1, keepdim=True) / far.clamp_min(1e-9)
        made = torch.arange(1, moves + 1, dtype=at.dtype, device=at.device) / (1 + climb.square()).sqrt()
        first = made <= far
        further = (aims[:, 1] - aims[:, 0]).norm(dim=-1, keepdim=True) / STEP_LENGTH
        left = torch.where(first, far - made, (far + further - made).clamp_min(0))
        aim = torch.where(first[..., None], aims[:, None, 0], aims[:, None, 1])
        return StraightRollout(at, aim, last, left @ self._target_weights(left), aims[:, 0])

    def loss_and_gradient(
        self, mean: Tensor, rollout: StraightRollout, scene: Tensor, fields: Fields
    ) -> LossWithGradient:
        """Loss of observations and its gradient."""
        moves = mean.unflatten(-1, (rollout.aim.shape[1], 3)) / STEP_LENGTH
        at = rollout.at[:, None] + STEP_LENGTH * moves[..., :2].cumsum(1)
        way = (at - rollout.aim) / STEP_LENGTH
        gap = (way.square().sum(-1) + BLUNT**2).sqrt()
        share = self._target_weights(gap)
        near = (self.margin - fields.distance(at, scene) / STEP_LENGTH).clamp_min(0)
        weight = self._barrier_weights(near)
        length = moves.square().sum(-1).clamp_min(1e-12).sqrt()
        fast = (length - 1).clamp_min(0)
        turn = torch.cat([rollout.last[:, None] / STEP_LENGTH, moves[..., :2]], 1).diff(dim=1)
        terms = {
            "target": self.target * ((gap - BLUNT) @ share - rollout.left),
            "barrier": near.square() @ weight,
            "pace": self.pace * fast.square().sum(-1),
            "bend": self.bend * turn.square().sum((-1, -2)),
        }

        def gradient() -> Tensor:
            place = self.target * (share / gap)[..., None] * way
            if bool((near > 0).any()):
                place = place - 2 * (weight * near)[..., None] * fields.distance_slope(at, scene)
            pull = 2 * self.pace * fast / length
            kink = 2 * self.bend * (turn - torch.cat([turn[:, 1:], torch.zeros_like(turn[:, :1])], 1))
            flat = place.flip(1).cumsum(1).flip(1) + kink
            back = moves * pull[..., None] + torch.nn.functional.pad(flat, (0, 1))
            return back.flatten(1) / STEP_LENGTH

        return LossWithGradient(Loss(torch.stack(list(terms.values())).sum(0), terms), gradient)

    def _target_weights(self, like: Tensor) -> Tensor:
        """Weights (n,) of the places in the target term; they add up to one."""
        share = like.new_full(like.shape[-1:], (1 - self.end) / like.shape[-1])
        share[-1] += self.end
        return share

    def _barrier_weights(self, like: Tensor) -> Tensor:
        """Weights (n,) of the places in the barrier term."""
        weight = like.new_full(like.shape[-1:], self.barrier)
        weight[0] *= self.next
        return weight
