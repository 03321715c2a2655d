"""What an agent of the maze sees: the features that a predictor reads.

Glossary: ``B`` rows, ``r`` rays. Everything is told from where the agent stands, in steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.maze.fields import STEP_LENGTH, Fields

N_RAYS = 16
RAY_DISTANCES = (1.0, 2.5, 5.0)
"""Steps from the agent at which it feels how far the barriers are, on every ray."""
GROUND_DISTANCES = (3.0, 6.0)
"""Steps at which it sees how high the ground is, on every other ray."""
N_FEATURES = 3 + 3 + 2 + 2 + 1 + N_RAYS * len(RAY_DISTANCES) + N_RAYS // 2 * len(GROUND_DISTANCES)


def featurise(
    fields: Fields, at: Tensor, scene: Tensor, aim: Tensor, target: Tensor, last: Tensor, slope: Tensor
) -> Tensor:
    """Ways to the aim and the target, slope, last move, barriers and hills around, (B, FEATURES), each about -1..1.

    Parameters
    ----------
    at, aim, target, last, slope : (B, 2)
    scene : (B,)
    """
    ray = ray_directions(at)
    near = (STEP_LENGTH * at.new_tensor(RAY_DISTANCES))[:, None, None] * ray
    far = (STEP_LENGTH * at.new_tensor(GROUND_DISTANCES))[:, None, None] * ray[::2]
    touched = torch.cat([at[:, None], at[:, None] + near.flatten(0, 1)], 1)
    gap = fields.distance(touched, scene) / (4 * STEP_LENGTH)
    ground = torch.cat([at[:, None], at[:, None] + far.flatten(0, 1)], 1)
    height = fields.relief.height(ground, scene)
    hills = (height[:, 1:] - height[:, :1]) / (4 * STEP_LENGTH)
    return torch.cat(
        [
            _direction_and_distance(aim - at),
            _direction_and_distance(target - at),
            slope,
            last / STEP_LENGTH,
            gap.tanh(),
            hills.tanh(),
        ],
        -1,
    )


class ReactiveFeatures(NamedTuple):
    """What a reactive agent needs of the features, in steps: way to the aim (B, 2), cut to a step; slope (B, 2); gaps
    (B, RAYS) at the shortest of the distances in `RAY_DISTANCES`."""

    aim: Tensor
    slope: Tensor
    gap: Tensor


def decode_features(x: Tensor) -> ReactiveFeatures:
    """The features (B, FEATURES) understood again."""
    far = torch.expm1(4 * x[:, 2:3])
    gap = 4 * torch.atanh(x[:, 11 : 11 + N_RAYS].clamp(-0.999, 0.999))
    return ReactiveFeatures(x[:, :2] * far.clamp_max(1.0), x[:, 6:8], gap)


def ray_directions(like: Tensor) -> Tensor:
    """Directions of the rays (r, 2)."""
    angle = 2 * math.pi * torch.arange(N_RAYS, dtype=like.dtype, device=like.device) / N_RAYS
    return torch.stack([angle.cos(), angle.sin()], -1)


def _direction_and_distance(to: Tensor) -> Tensor:
    """Direction and, by its logarithm, distance of what lies at (B, 2), (B, 3)."""
    far = to.norm(dim=-1, keepdim=True)
    return torch.cat([to / far.clamp_min(1e-9), torch.log1p(far / STEP_LENGTH) / 4], -1)
