"""Predictor of plans by a receding-horizon shift."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlanShift:
    """Backbone that shifts the plan by one move: the first move is dropped and the last one repeated.

    For plans (`geofold.maze.plan`) it plays the part that `geofold.core.backbone.Momentum` plays for single moves.

    Attributes
    ----------
    name : str
        Name in the report.
    width : int
        Number of latent coordinates of a move.
    """

    name: str = "onward"
    width: int = 2

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """Zeros (B, d): a plan without motion."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Propose the shifted plan (B, d)."""
        after = torch.cat([state[:, self.width :], state[:, -self.width :]], -1)
        return after, after

    def read(self, state: Tensor) -> Tensor:
        """Return the current plan (B, d)."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Store the corrected plan."""
        return z
