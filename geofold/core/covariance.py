"""Latent preconditioning: a frozen covariance of latents in place of the decoder's geometry.

The paper's baseline (GeoSSM, Appendix E): G = lambda I + Sigma_z, Sigma_z an exponential average of the latents'
covariance, diagonal or of low rank, gathered beforehand and frozen; no decoder Jacobian enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import Factor, MetricState, WoodburyFactor, empty_state


@dataclass(frozen=True)
class LatentCovariance:
    """G = lambda I + diag(s) + UU'. Build with `LatentCovariance.of`.

    Parameters
    ----------
    columns : (d, r)
        U.
    diagonal : (d,)
        s, non-negative.
    damping : float
        lambda.
    """

    columns: Tensor
    diagonal: Tensor
    damping: float = 1e-3

    @classmethod
    def of(
        cls, latents: Tensor, *, rank: int | None = None, decay: float = 0.98, damping: float = 1e-3
    ) -> LatentCovariance:
        """Covariance of a sequence of latents (t, d), the last ones weighing most.

        Parameters
        ----------
        rank : int or None
            Number of leading eigenvectors kept; None: the diagonal.
        decay : float
            Factor of a latent's weight per step of age (squared, as in the pullback metric's average).

        Raises
        ------
        ValueError
            If there are fewer than two latents.
        """
        if latents.ndim != 2 or len(latents) < 2:
            raise ValueError(f"latents of shape {tuple(latents.shape)}; expected (t, d) with at least two of them")
        full = latents.detach().double()
        age = torch.arange(len(full) - 1, -1, -1, dtype=torch.float64, device=full.device)
        weight = decay ** (2 * age)
        weight = weight / weight.sum()
        centred = full - weight @ full
        if rank is None:
            return cls(full.new_zeros(full.shape[1], 0), weight @ centred.square(), damping)
        size, basis = torch.linalg.eigh(centred.mT @ (weight[:, None] * centred))
        kept = slice(max(len(size) - rank, 0), None)
        return cls(basis[:, kept] * size[kept].clamp_min(0).sqrt(), full.new_zeros(full.shape[1]), damping)

    def init(self, batch: int, dim: int, like: Tensor) -> MetricState:
        """Nothing to average: the covariance is frozen."""
        if dim != len(self.diagonal):
            raise ValueError(f"covariance of {len(self.diagonal)} latent dimensions, problem of {dim}")
        return empty_state(batch, dim, like)

    def update(self, state: MetricState, at: Linearisation, previous: Tensor, seed: int) -> MetricState:
        """Frozen."""
        return state

    def factor(self, state: MetricState) -> Factor:
        """lambda I + Sigma_z, the same in every row."""
        rows, device = len(state.weight), state.factor.device
        diagonal = (self.diagonal.to(device) + self.damping).expand(rows, -1)
        return WoodburyFactor.of(
            self.columns.to(device).expand(rows, -1, -1), diagonal, uniform=not self.diagonal.any()
        )
