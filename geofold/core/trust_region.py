"""Trust region: bound of the step length, acceptance of a step, and update of the radius.

Pure functions on (B,) tensors. The ratio act / pred is never computed: it is compared with a cutoff as act < eta *
pred, so that a vanishing prediction gives no NaN.
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
        Initial radius rho0, a length in the metric.
    low, high : float
        Cutoffs eta of act / pred: below `low` the step is rejected and the radius shrinks, above `high` it may grow.
    smallest, largest : float
        Bounds of the radius.
    shrink, grow : float
        Factors by which the radius changes.
    first : float
        alpha0, the largest of the three step fractions alpha0, alpha0 / 2, alpha0 / 4.
    kappa_power, kappa_reference : float
        Effective radius rho (kappa / kappa_reference)^kappa_power, within the bounds (ESM: a radius that depends on
        kappa). Power 0: rho itself. The natural step has the length sqrt(kappa), so power 1/2 allows a constant
        fraction of it.
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
        """Return the initial radius rho0 of each row, (B,)."""
        return torch.full((batch,), self.radius, dtype=like.dtype, device=like.device)

    def effective_radius(self, radius: Tensor, kappa: Tensor) -> Tensor:
        """Effective radius (B,) at kappa (B,)."""
        if self.kappa_power == 0:
            return radius
        factor = (kappa.clamp_min(0) / self.kappa_reference).to(radius) ** self.kappa_power
        return (radius * factor).nan_to_num(self.smallest).clamp(self.smallest, self.largest)

    def step_fraction(self, length: Tensor, radius: Tensor) -> Tensor:
        """Largest alpha of alpha0, alpha0/2, alpha0/4 with alpha |v| <= rho; rho / |v| if there is none."""
        alpha = radius / length.clamp_min(torch.finfo(length.dtype).tiny)
        for trial in (self.first / 4, self.first / 2, self.first):
            alpha = torch.where(trial * length <= radius, trial, alpha)
        return alpha

    def predicted_decrease(self, alpha: Tensor, slope: Tensor, length_squared: Tensor) -> Tensor:
        """Decrease of the quadratic model: alpha <-g, v> - alpha^2/2 v'Gv, (B,), with the exact v'Gv."""
        return alpha * slope - alpha.square() / 2 * length_squared

    def accept(self, actual: Tensor, predicted: Tensor) -> Tensor:
        """Accept steps (B,) bool whose actual decrease is positive and at least `low` times the predicted one."""
        # A step beyond the minimum of the model predicts no decrease; then any actual decrease is accepted.
        positive_prediction = torch.where(predicted > 0, predicted, 0.0)
        return (actual > 0) & (actual < torch.inf) & ~(actual < self.low * positive_prediction)

    def update(
        self,
        radius: Tensor,
        actual: Tensor,
        predicted: Tensor,
        length: Tensor,
        accepted: Tensor,
        effective_radius: Tensor | None = None,
    ) -> Tensor:
        """Radius (B,) after a step: it shrinks after a rejection and grows after a good step close to the boundary.

        Parameters
        ----------
        radius : (B,)
            Radius rho before the step.
        actual, predicted : (B,)
            Actual and predicted decrease of the loss.
        length : (B,)
            Length of the step in the metric.
        accepted : (B,) bool
        effective_radius : (B,) or None
            Radius that bounded the step; None: `radius`.
        """
        is_near_boundary = length >= (radius if effective_radius is None else effective_radius) / 2
        is_good = accepted & ~(actual < self.high * predicted) & is_near_boundary
        return (radius * torch.where(accepted, torch.where(is_good, self.grow, 1.0), self.shrink)).clamp(
            self.smallest, self.largest
        )
