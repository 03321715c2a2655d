"""Trust region: how long a step may be, whether it is taken, and what the radius learns from it.

Pure functions on (B,) tensors. No division decides anything: the acceptance ratio act / pred is compared as
act < eta * pred, so a vanishing prediction cannot make a NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrustRegion:
    """Trust-region rule (GeoSSM 3.4; Conn, Gould and Toint 2000).

    Parameters
    ----------
    radius : float
        rho0, in the length of the metric.
    low, high : float
        eta: below `low` the step is refused and the radius halved, above `high` it may grow.
    smallest, largest : float
        Bounds of the radius: never stuck at zero, never without a bound.
    shrink, grow : float
        Factors of the radius.
    """

    radius: float = 0.5
    low: float = 0.25
    high: float = 0.75
    smallest: float = 0.01
    largest: float = 4.0
    shrink: float = 0.5
    grow: float = 1.5

    def init(self, batch: int, like: Tensor) -> Tensor:
        """rho0 for every row."""
        return torch.full((batch,), self.radius, dtype=like.dtype, device=like.device)

    def scale(self, length: Tensor, radius: Tensor) -> Tensor:
        """Largest alpha of 1, 1/2, 1/4 with alpha |v| <= rho; if none fits, rho / |v|."""
        alpha = torch.where(
            length <= radius, 1.0, torch.where(length / 2 <= radius, 0.5, torch.where(length / 4 <= radius, 0.25, 0.0))
        ).to(length)
        # Where nothing fits the length is more than 4 rho > 0, so the division is safe.
        return torch.where(alpha > 0, alpha, radius / torch.where(length > 0, length, torch.ones_like(length)))

    def predicted(self, alpha: Tensor, slope: Tensor, length_squared: Tensor) -> Tensor:
        """Decrease of the quadratic model: alpha <-g, v> - alpha^2/2 v'Gv, with the true v'Gv."""
        return alpha * slope - alpha.square() / 2 * length_squared

    def accept(self, actual: Tensor, predicted: Tensor) -> Tensor:
        """Whether the decrease is a fair part of what was promised (and is one at all)."""
        # A step beyond the model's own minimum promises nothing; then any true decrease is welcome.
        promise = torch.where(predicted > 0, predicted, torch.zeros_like(predicted))
        return (actual > 0) & ~(actual < self.low * promise) & actual.isfinite()

    def update(self, radius: Tensor, actual: Tensor, predicted: Tensor, length: Tensor, taken: Tensor) -> Tensor:
        """Radius after a step of the given metric length."""
        well = taken & ~(actual < self.high * predicted) & (length >= radius / 2)
        new = torch.where(taken, torch.where(well, radius * self.grow, radius), radius * self.shrink)
        return new.clamp(self.smallest, self.largest)
