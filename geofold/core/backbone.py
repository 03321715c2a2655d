"""What the controller asks of a streaming backbone, and the one that predicts no motion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class Backbone(Protocol):
    """A frozen streaming model: reads z from its state and takes a corrected z back.

    A true attribute `still` says that every proposal is zero: roll-outs over a domain at rest are then spared.

    Its state is a nest of tuples, lists and dicts of tensors whose first dimension is the batch (`take_rows`).
    """

    @property
    def name(self) -> str:
        """What the report calls it."""

    def init_state(self, batch: int, dim: int, like: Tensor) -> Any:
        """State before the first step."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Proposal z (B, d) for the next latent, and the new state."""

    def read(self, state: Any) -> Tensor:
        """The latent (B, d) as it stands."""

    def write(self, state: Any, z: Tensor) -> Any:
        """State with the corrected latent in place of the proposed one: read(write(state, z)) = z."""


def take_rows(memory: Any, rows: Tensor) -> Any:
    """State of a backbone whose row k is row rows[k] of the given one; what is no tensor is shared by all rows."""
    return map_tensors(memory, lambda part: part[rows])


def map_tensors(memory: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A nest of tuples, lists and dicts with its tensors changed."""
    if isinstance(memory, Tensor):
        return change(memory)
    if isinstance(memory, dict):
        return {name: map_tensors(part, change) for name, part in memory.items()}
    if isinstance(memory, tuple | list):
        parts = [map_tensors(part, change) for part in memory]
        return type(memory)(*parts) if hasattr(memory, "_fields") else type(memory)(parts)
    return memory


@dataclass(frozen=True)
class NoMotion:
    """Predicts that nothing moves: the latent is an increment, and the increment is zero."""

    name: str = "hold-still"
    still: bool = True

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """The last latent."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """No motion, whatever the last step was."""
        still = state.new_zeros(state.shape)
        return still, still

    def read(self, state: Tensor) -> Tensor:
        """The last latent."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Remember the corrected latent."""
        return z


@dataclass(frozen=True)
class Momentum:
    """Predicts that motion goes on, slower: the last corrected latent times `keep` (a heavy ball's momentum)."""

    keep: float = 0.5
    name: str = "glide"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """The last latent."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """A part of the last move, once more."""
        return self.keep * state, self.keep * state

    def read(self, state: Tensor) -> Tensor:
        """The last latent."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Remember the corrected latent."""
        return z
