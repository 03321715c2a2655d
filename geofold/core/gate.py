"""Gate: how many inner corrections a step deserves (Elastic State Model).

The loss alone decides K = 0, before any gradient is spent; the difficulty kappa = g'G^-1 g then chooses
between 1 and K_max.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Gate(Protocol):
    """Two questions: is anything wrong, and how wrong is it."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def largest(self) -> int:
        """K_max."""

    def open(self, difficulty: Tensor) -> Tensor:
        """(B,) bool: whether the step gets any correction, from the loss alone."""

    def depth(self, kappa: Tensor) -> Tensor:
        """(B,) int in 1..K_max, from kappa = g'G^-1 g (non-negative)."""


@dataclass(frozen=True)
class ThresholdGate:
    """Closed below a loss; one inner step more for every tenfold of kappa.

    Parameters
    ----------
    tolerance : float
        Loss (or local difficulty) up to which the proposal stands.
    first : float
        kappa that earns the second inner step.
    largest : int
        K_max.
    """

    tolerance: float
    first: float = 1.0
    largest: int = 4
    name: str = "threshold"

    def open(self, difficulty: Tensor) -> Tensor:
        """difficulty > tolerance."""
        return difficulty > self.tolerance

    def depth(self, kappa: Tensor) -> Tensor:
        """1 + the number of decades that kappa lies above `first`."""
        decades = torch.floor(torch.log10(kappa.clamp_min(1e-300)) - math.log10(self.first)) + 1
        return (1 + decades.clamp(0, self.largest - 1)).to(torch.long)


@dataclass(frozen=True)
class FixedGate:
    """Always the same number of inner steps; FixedGate(1) is GeoSSM's Algorithm 1."""

    largest: int = 1
    name: str = "fixed"

    def open(self, difficulty: Tensor) -> Tensor:
        """Always."""
        return torch.ones_like(difficulty, dtype=torch.bool)

    def depth(self, kappa: Tensor) -> Tensor:
        """`largest`."""
        return torch.full_like(kappa, self.largest, dtype=torch.long)
