"""What an agent of the maze sees: the features that a predictor reads.

Glossary: ``B`` rows, ``r`` rays. Everything is told from where the agent stands, in steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.maze.fields import STEP, Fields

RAYS = 16
REACH = (1.0, 2.5, 5.0)
"""Steps from the agent at which it feels how far the barriers are, on every ray."""
HILLS = (3.0, 6.0)
"""Steps at which it sees how high the ground is, on every other ray."""
FEATURES = 3 + 3 + 2 + 2 + 1 + RAYS * len(REACH) + RAYS // 2 * len(HILLS)


def features(
    fields: Fields, at: Tensor, scene: Tensor, aim: Tensor, target: Tensor, last: Tensor, slope: Tensor
) -> Tensor:
    """Ways to the aim and the target, slope, last move, barriers and hills around, (B, FEATURES), each about -1..1.

    Parameters
    ----------
    at, aim, target, last, slope : (B, 2)
    scene : (B,)
    """
    ray = rays(at)
    near = (STEP * at.new_tensor(REACH))[:, None, None] * ray
    far = (STEP * at.new_tensor(HILLS))[:, None, None] * ray[::2]
    touched = torch.cat([at[:, None], at[:, None] + near.flatten(0, 1)], 1)
    gap = fields.distance(touched, scene) / (4 * STEP)
    ground = torch.cat([at[:, None], at[:, None] + far.flatten(0, 1)], 1)
    height = fields.relief.height(ground, scene)
    hills = (height[:, 1:] - height[:, :1]) / (4 * STEP)
    return torch.cat([_way(aim - at), _way(target - at), slope, last / STEP, gap.tanh(), hills.tanh()], -1)


class Seen(NamedTuple):
    """What a reactive agent needs of the features, in steps: way to the aim (B, 2), cut to a step; slope (B, 2); gaps
    (B, RAYS) at the shortest of the distances in `REACH`."""

    aim: Tensor
    slope: Tensor
    gap: Tensor


def read(x: Tensor) -> Seen:
    """The features (B, FEATURES) understood again."""
    far = torch.expm1(4 * x[:, 2:3])
    gap = 4 * torch.atanh(x[:, 11 : 11 + RAYS].clamp(-0.999, 0.999))
    return Seen(x[:, :2] * far.clamp_max(1.0), x[:, 6:8], gap)


def rays(like: Tensor) -> Tensor:
    """Directions of the rays (r, 2)."""
    angle = 2 * math.pi * torch.arange(RAYS, dtype=like.dtype, device=like.device) / RAYS
    return torch.stack([angle.cos(), angle.sin()], -1)


def _way(to: Tensor) -> Tensor:
    """Direction and, by its logarithm, distance of what lies at (B, 2), (B, 3)."""
    far = to.norm(dim=-1, keepdim=True)
    return torch.cat([to / far.clamp_min(1e-9), torch.log1p(far / STEP) / 4], -1)
