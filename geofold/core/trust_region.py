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
    first : float
        alpha0, the longest of the three trial lengths alpha0, alpha0 / 2, alpha0 / 4.
    kappa_power, kappa_reference : float
        The radius in force is rho (kappa / kappa_reference)^kappa_power, within the bounds (ESM: a radius that
        depends on kappa). Power 0: rho itself. The natural step's own length is sqrt(kappa), so power 1/2 keeps
        the share of it that is allowed.
    """

    radius: float = 0.5
    low: float = 0.25
    high: float = 0.75
    smallest: float = 0.01
    largest: float = 4.0
    shrink: float = 0.5
    grow: float = 1.5
    first: float = 1.0
    kappa_power: float = 0.0
    kappa_reference: float = 1.0

    def init(self, batch: int, like: Tensor) -> Tensor:
        """rho0 for every row."""
        return torch.full((batch,), self.radius, dtype=like.dtype, device=like.device)

    def effective_radius(self, radius: Tensor, kappa: Tensor) -> Tensor:
        """Radius in force at a difficulty kappa (B,)."""
        if self.kappa_power == 0:
            return radius
        factor = (kappa.clamp_min(0) / self.kappa_reference).to(radius) ** self.kappa_power
        return (radius * factor).nan_to_num(self.smallest).clamp(self.smallest, self.largest)

    def step_fraction(self, length: Tensor, radius: Tensor) -> Tensor:
        """Largest alpha of alpha0, alpha0/2, alpha0/4 with alpha |v| <= rho; if none fits, rho / |v|."""
        alpha = radius / length.clamp_min(torch.finfo(length.dtype).tiny)
        for trial in (self.first / 4, self.first / 2, self.first):
            alpha = torch.where(trial * length <= radius, trial, alpha)
        return alpha

    def predicted_decrease(self, alpha: Tensor, slope: Tensor, length_squared: Tensor) -> Tensor:
        """Decrease of the quadratic model: alpha <-g, v> - alpha^2/2 v'Gv, with the true v'Gv."""
        return alpha * slope - alpha.square() / 2 * length_squared

    def accept(self, actual: Tensor, predicted: Tensor) -> Tensor:
        """Whether the decrease is a fair part of what was promised (and is one at all)."""
        # A step beyond the model's own minimum promises nothing; then any true decrease is welcome.
        promise = torch.where(predicted > 0, predicted, 0.0)
        return (actual > 0) & (actual < torch.inf) & ~(actual < self.low * promise)

    def update(
        self,
        radius: Tensor,
        actual: Tensor,
        predicted: Tensor,
        length: Tensor,
        taken: Tensor,
        effective_radius: Tensor | None = None,
    ) -> Tensor:
        """Radius after a step of the given metric length; it may grow where that was near the radius in force."""
        near = length >= (radius if effective_radius is None else effective_radius) / 2
        well = taken & ~(actual < self.high * predicted) & near
        return (radius * torch.where(taken, torch.where(well, self.grow, 1.0), self.shrink)).clamp(
            self.smallest, self.largest
        )
