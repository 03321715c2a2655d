"""Latent preconditioning: a frozen covariance of latents instead of the geometry of the decoder.

Baseline of GeoSSM, Appendix E: G = lambda I + Sigma_z, where Sigma_z is an exponentially weighted covariance of
latents, diagonal or of low rank, computed beforehand and frozen. No decoder Jacobian enters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import Factor, MetricState, WoodburyFactor, empty_state


@dataclass(frozen=True)
class LatentCovariance:
    """Metric G = lambda I + diag(s) + UU'. Create with `LatentCovariance.of`.

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
        """Metric from the covariance of a sequence of latents, weighted towards the last ones.

        Parameters
        ----------
        latents : (t, d)
            Sequence of latents.
        rank : int or None
            Number of leading eigenvectors; None: the diagonal only.
        decay : float
            The weight of a latent falls by decay^2 per step of age, as in the average of the pullback metric.
        damping : float
            Constant added to the diagonal.

        Raises
        ------
        ValueError
            If there are fewer than two latents.
        """
        if latents.ndim != 2 or len(latents) < 2:
            raise ValueError(f"latents of shape {tuple(latents.shape)}; expected (t, d) with at least two of them")
        vectors = latents.detach().double()
        age = torch.arange(len(vectors) - 1, -1, -1, dtype=torch.float64, device=vectors.device)
        weight = decay ** (2 * age)
        weight = weight / weight.sum()
        centred = vectors - weight @ vectors
        if rank is None:
            return cls(vectors.new_zeros(vectors.shape[1], 0), weight @ centred.square(), damping)
        size, basis = torch.linalg.eigh(centred.mT @ (weight[:, None] * centred))
        leading = slice(max(len(size) - rank, 0), None)
        return cls(basis[:, leading] * size[leading].clamp_min(0).sqrt(), vectors.new_zeros(vectors.shape[1]), damping)

    def init(self, batch: int, dim: int, like: Tensor) -> MetricState:
        """Empty state: the covariance is frozen.

        Raises
        ------
        ValueError
            If the covariance has another latent dimension.
        """
        if dim != len(self.diagonal):
            raise ValueError(f"covariance of {len(self.diagonal)} latent dimensions, problem of {dim}")
        return empty_state(batch, dim, like)

    def update(self, state: MetricState, at: Linearisation, previous: Tensor, seed: int) -> MetricState:
        """Return the state unchanged."""
        return state

    def factor(self, state: MetricState) -> Factor:
        """Factor of lambda I + Sigma_z, the same in every row."""
        rows, device = len(state.weight), state.factor.device
        diagonal = (self.diagonal.to(device) + self.damping).expand(rows, -1)
        return WoodburyFactor.of(
            self.columns.to(device).expand(rows, -1, -1), diagonal, uniform=not self.diagonal.any()
        )
