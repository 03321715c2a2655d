"""A predictor for plans: what was planned is done, move after move."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class PlanShift:
    """Predicts that the plan goes on: its first move is behind, its last one is made once more.

    For chains of moves (`plan`), as Glide is for single ones. The latent holds the moves one after the other.
    """

    name: str = "onward"
    width: int = 2

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """No plan: nothing moves."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The plan from its second move on."""
        after = torch.cat([state[:, self.width :], state[:, -self.width :]], -1)
        return after, after

    def read(self, state: Tensor) -> Tensor:
        """The plan as it stands."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """The corrected plan."""
        return z
