"""What the controller asks of a streaming backbone, and the one that predicts no motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class Backbone(Protocol):
    """A frozen streaming model: reads z from its state and takes a corrected z back."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    def init_state(self, batch: int, dim: int, like: Tensor) -> Any:
        """State before the first step."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Proposal z (B, d) for the next latent, and the new state."""

    def write(self, state: Any, z: Tensor) -> Any:
        """State with the corrected latent in place of the proposed one."""


@dataclass(frozen=True)
class HoldStill:
    """Predicts that nothing moves: the latent is an increment, and the increment is zero."""

    name: str = "hold-still"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """The last latent."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """No motion, whatever the last step was."""
        still = state.new_zeros(state.shape)
        return still, still

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Remember the corrected latent."""
        return z
