"""The identity as a streaming backbone, without memory.

Rival policies that do all their work within a step (`GreedyMlp`, `Se3Policy`) use it, so that they are trained and
run by the same code as a policy with a backbone.
"""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[()]
"""The empty state, as a nest of tensors (`geofold.core.backbone.take_rows`)."""


class Memoryless(nn.Module):
    """Passes its input through; `scan` equals repeated `step`."""

    def init_state(self, batch: int) -> State:
        """Make the empty state, the same for any number of rows."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the latent (B, d) unchanged."""
        return x, state

    def scan(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the latents (T, B, d) unchanged."""
        return xs, state
