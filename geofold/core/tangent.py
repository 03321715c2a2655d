"""Spaces of latents: addition of a step, and difference of two points."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from geofold import geometry


class Space(Protocol):
    """Space whose `retract` and `minus` are inverse to each other within the injectivity radius."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """Point reached from z (B, d) by a step (B, d)."""

    def minus(self, end: Tensor, start: Tensor) -> Tensor:
        """Step (B, d) from `start` to `end`, (B, d) each."""


@dataclass(frozen=True)
class Euclid:
    """Euclidean space."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """Return z + step."""
        return z + step

    def minus(self, end: Tensor, start: Tensor) -> Tensor:
        """Return end - start."""
        return end - start


@dataclass(frozen=True)
class Torus:
    """Torus of angles (rad), kept in [-pi, pi)."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """Return z + step, wrapped."""
        return wrap(z + step)

    def minus(self, end: Tensor, start: Tensor) -> Tensor:
        """Return end - start, wrapped: the shorter rotation."""
        return wrap(end - start)


@dataclass(frozen=True)
class Product:
    """Product of several spaces.

    Attributes
    ----------
    parts : tuple of Space
    sizes : tuple of int
        Number of coordinates of each part.
    """

    parts: tuple[Space, ...]
    sizes: tuple[int, ...]

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """Apply the operation of each part to its coordinates."""
        pairs = zip(self.parts, z.split(self.sizes, -1), step.split(self.sizes, -1), strict=True)
        return torch.cat([part.retract(a, b) for part, a, b in pairs], dim=-1)

    def minus(self, end: Tensor, start: Tensor) -> Tensor:
        """Apply the operation of each part to its coordinates."""
        pairs = zip(self.parts, end.split(self.sizes, -1), start.split(self.sizes, -1), strict=True)
        return torch.cat([part.minus(a, b) for part, a, b in pairs], dim=-1)


def wrap(angle: Tensor) -> Tensor:
    """Wrap angles (rad) to [-pi, pi). Angles within the interval are returned unchanged, bit for bit."""
    wrapped = geometry.wrap(angle)
    wrapped = torch.where(wrapped >= math.pi, torch.full_like(wrapped, -math.pi), wrapped)
    return torch.where((angle >= -math.pi) & (angle < math.pi), angle, wrapped)
