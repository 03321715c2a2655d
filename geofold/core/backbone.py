"""Protocol of a streaming backbone, and two analytic ones: `NoMotion` and `Momentum`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class Backbone(Protocol):
    """A frozen streaming model: it proposes the next latent z and accepts a corrected z.

    Its state is a nest of tuples, lists and dicts of tensors whose first dimension is the batch (`take_rows`). A true
    attribute `no_motion` declares that every proposal is zero; the controller then skips roll-outs over domains that
    are at rest.
    """

    @property
    def name(self) -> str:
        """Name in the report."""

    def init_state(self, batch: int, dim: int, like: Tensor) -> Any:
        """State before the first step."""

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Proposal z (B, d) for the next latent, and the new state."""

    def read(self, state: Any) -> Tensor:
        """Return the current latent (B, d)."""

    def write(self, state: Any, z: Tensor) -> Any:
        """State in which the corrected latent replaces the proposal: read(write(state, z)) = z."""


def take_rows(memory: Any, rows: Tensor) -> Any:
    """Backbone state whose row k is row rows[k] of `memory`; values that are not tensors are shared by all rows."""
    return map_tensors(memory, lambda part: part[rows])


def map_tensors(memory: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Apply a function to every tensor of a nest of tuples, lists and dicts."""
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
    """Backbone that predicts no motion: the latent is an increment, and every proposed increment is zero."""

    name: str = "hold-still"
    no_motion: bool = True

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """Zeros (B, d): there is no last latent yet."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Propose zero (B, d)."""
        zero = state.new_zeros(state.shape)
        return zero, zero

    def read(self, state: Tensor) -> Tensor:
        """Last latent (B, d)."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Store the corrected latent."""
        return z


@dataclass(frozen=True)
class Momentum:
    """Backbone with momentum (heavy ball): it proposes the last corrected latent times `keep`.

    Parameters
    ----------
    keep : float
        Fraction of the last latent that is proposed again.
    """

    keep: float = 0.5
    name: str = "glide"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """Zeros (B, d): there is no last latent yet."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Propose a fraction of the last latent."""
        return self.keep * state, self.keep * state

    def read(self, state: Tensor) -> Tensor:
        """Last latent (B, d)."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Store the corrected latent."""
        return z
