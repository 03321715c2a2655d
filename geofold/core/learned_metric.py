"""G_psi: a learned symmetric positive definite metric, diagonal plus low rank (ESM).

G_psi(z) = diag(lambda + softplus(a(z))) + U(z) U(z)', where a small network predicts a (d) and U (d, r) from the
latent; it is solved by `WoodburyFactor`. The weights are plain tensors and every operation is differentiable. The
metric is trained with a frozen backbone, and frozen afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import Factor, MetricState, WoodburyFactor


@dataclass(frozen=True)
class LearnedMetric:
    """Metric predicted by a network with one hidden layer from the latent and the direction of its gradient.

    Parameters
    ----------
    hidden_weight : (h, 2d)
    hidden_bias : (h,)
    head_weight : (d (1 + r), h)
    head_bias : (d (1 + r),)
    damping : float
        lambda.
    """

    hidden_weight: Tensor
    hidden_bias: Tensor
    head_weight: Tensor
    head_bias: Tensor
    damping: float = 1e-3

    @classmethod
    def start(cls, dim: int, *, rank: int = 8, hidden: int = 64, damping: float = 1e-3, seed: int = 0) -> LearnedMetric:
        """Metric with random weights, before training: close to the identity at every latent.

        Parameters
        ----------
        dim : int
            Latent dimension d.
        rank : int
            Number of columns r.
        hidden : int
            Width h of the hidden layer.
        damping : float
            lambda.
        seed : int
        """
        noise = torch.Generator().manual_seed(seed)

        def draw(rows: int, columns: int, scale: float) -> Tensor:
            return scale / math.sqrt(columns) * torch.randn(rows, columns, generator=noise, dtype=torch.float64)

        bias = torch.zeros(dim, 1 + rank, dtype=torch.float64)
        bias[:, 0] = math.log(math.e - 1)  # softplus of it is one
        return cls(
            draw(hidden, 2 * dim, 1.0),
            torch.zeros(hidden, dtype=torch.float64),
            draw(dim * (1 + rank), hidden, 0.1),
            bias.flatten(),
            damping,
        )

    @property
    def weights(self) -> dict[str, Tensor]:
        """Weights by name, as they are trained and saved."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "damping"}

    def with_weights(self, weights: Mapping[str, Tensor]) -> LearnedMetric:
        """Copy of the metric with other weights."""
        return LearnedMetric(**weights, damping=self.damping)

    def init(self, batch: int, dim: int, like: Tensor) -> MetricState:
        """State with a diagonal of ones and columns of zeros.

        Raises
        ------
        ValueError
            If the metric has another latent dimension.
        """
        width = len(self.head_bias) // dim
        if self.hidden_weight.shape[1] != 2 * dim or width * dim != len(self.head_bias):
            raise ValueError(f"a metric for {self.hidden_weight.shape[1] // 2} latent dimensions, problem of {dim}")
        part = torch.zeros(batch, dim, width, dtype=torch.float64, device=like.device)
        return MetricState(torch.cat([torch.ones_like(part[..., :1]), part[..., 1:]], -1), part[:, 0, 0] + 1)

    def update(self, state: MetricState, at: Linearisation, previous: Tensor, seed: int) -> MetricState:
        """Predict the diagonal (first column) and the columns at this latent; there is no averaging."""
        gradient = at.gradient.double()
        length = gradient.norm(dim=-1, keepdim=True)
        direction = gradient / torch.where(length > 0, length, 1.0)
        hidden = torch.tanh(torch.cat([at.z.double(), direction], -1) @ self.hidden_weight.mT + self.hidden_bias)
        raw = (hidden @ self.head_weight.mT + self.head_bias).unflatten(-1, state.factor.shape[1:])
        diagonal = torch.nn.functional.softplus(raw[..., :1])
        return MetricState(torch.cat([diagonal, raw[..., 1:]], -1), state.weight)

    def factor(self, state: MetricState) -> Factor:
        """Factor of the predicted diagonal and columns."""
        return WoodburyFactor.of(state.factor[..., 1:], state.factor[..., 0] + self.damping)
