"""Spaces that latents live in: how to add a step and how to take a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from geofold import geometry


class Space(Protocol):
    """retract and minus, inverse to each other for steps shorter than the injectivity radius."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """The point that a step (B, d) leads to from z (B, d)."""

    def minus(self, one: Tensor, other: Tensor) -> Tensor:
        """The step that leads from `other` to `one`."""


@dataclass(frozen=True)
class Euclid:
    """Plain vectors."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """z + step."""
        return z + step

    def minus(self, one: Tensor, other: Tensor) -> Tensor:
        """one - other."""
        return one - other


@dataclass(frozen=True)
class Torus:
    """Angles in radian, kept in [-pi, pi)."""

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """z + step, wrapped."""
        return wrap(z + step)

    def minus(self, one: Tensor, other: Tensor) -> Tensor:
        """The shorter way round."""
        return wrap(one - other)


@dataclass(frozen=True)
class Product:
    """Several spaces side by side: `sizes` gives how many coordinates each takes."""

    parts: tuple[Space, ...]
    sizes: tuple[int, ...]

    def retract(self, z: Tensor, step: Tensor) -> Tensor:
        """Each part in its own space."""
        pairs = zip(self.parts, z.split(self.sizes, -1), step.split(self.sizes, -1), strict=True)
        return torch.cat([part.retract(a, b) for part, a, b in pairs], dim=-1)

    def minus(self, one: Tensor, other: Tensor) -> Tensor:
        """Each part in its own space."""
        pairs = zip(self.parts, one.split(self.sizes, -1), other.split(self.sizes, -1), strict=True)
        return torch.cat([part.minus(a, b) for part, a, b in pairs], dim=-1)


def wrap(angle: Tensor) -> Tensor:
    """Angle in [-pi, pi). Small angles pass unchanged, to the last bit."""
    turned = geometry.wrap(angle)
    turned = torch.where(turned >= math.pi, torch.full_like(turned, -math.pi), turned)
    return torch.where((angle >= -math.pi) & (angle < math.pi), angle, turned)
