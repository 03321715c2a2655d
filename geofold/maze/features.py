"""Features of the surroundings of an agent, read by trained predictors.

Glossary: ``B`` rows, ``r`` rays. All features are relative to the agent, in steps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.maze.worlds.fields import STEP_LENGTH, Fields

N_RAYS = 16
"""Number of rays around the agent."""
RAY_DISTANCES = (1.0, 2.5, 5.0)
"""Distances (steps) on every ray at which the distance to barriers is sampled."""
GROUND_DISTANCES = (3.0, 6.0)
"""Distances (steps) on every second ray at which the height of the ground is sampled."""
N_FEATURES = 3 + 3 + 2 + 2 + 1 + N_RAYS * len(RAY_DISTANCES) + N_RAYS // 2 * len(GROUND_DISTANCES)


def featurise(
    fields: Fields, at: Tensor, scene: Tensor, waypoint: Tensor, target: Tensor, last: Tensor, slope: Tensor
) -> Tensor:
    """Compute features (B, N_FEATURES), each of order one.

    In this order: direction and distance of the waypoint (3) and of the target (3), slope (2), last move (2), distances
    to barriers (1 + rays x distances) and relative heights of the ground. Slopes and heights, which span a decade
    between worlds, are on the scale of asinh.

    Parameters
    ----------
    fields : Fields
    at : (B, 2)
        Position of the agent.
    scene : (B,) int
    waypoint, target : (B, 2)
    last : (B, 2)
        Last move.
    slope : (B, 2)
        Slope of the ground.
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
            _direction_and_distance(waypoint - at),
            _direction_and_distance(target - at),
            slope.asinh(),
            last / STEP_LENGTH,
            gap.tanh(),
            hills.asinh(),
        ],
        -1,
    )


class ReactiveFeatures(NamedTuple):
    """Features that a reactive agent uses, in steps.

    Attributes
    ----------
    aim : (B, 2)
        Offset of the waypoint, cut to one step.
    slope : (B, 2)
    gap : (B, N_RAYS)
        Distances to barriers at the shortest of `RAY_DISTANCES`.
    """

    aim: Tensor
    slope: Tensor
    gap: Tensor


def decode_features(x: Tensor) -> ReactiveFeatures:
    """Recover direction, slope and gaps from features x (B, N_FEATURES)."""
    far = torch.expm1(4 * x[:, 2:3])
    gap = 4 * torch.atanh(x[:, 11 : 11 + N_RAYS].clamp(-0.999, 0.999))
    return ReactiveFeatures(x[:, :2] * far.clamp_max(1.0), x[:, 6:8].sinh(), gap)


def ray_directions(like: Tensor) -> Tensor:
    """Directions of the rays (r, 2), of the type of `like`."""
    angle = 2 * math.pi * torch.arange(N_RAYS, dtype=like.dtype, device=like.device) / N_RAYS
    return torch.stack([angle.cos(), angle.sin()], -1)


def _direction_and_distance(to: Tensor) -> Tensor:
    """Return the unit vector and logarithm of the length of offsets (B, 2), (B, 3)."""
    far = to.norm(dim=-1, keepdim=True)
    return torch.cat([to / far.clamp_min(1e-9), torch.log1p(far / STEP_LENGTH) / 4], -1)
