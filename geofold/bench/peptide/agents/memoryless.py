"""No memory, where a streaming backbone would stand: what enters is what leaves.

A rival policy that does all its work within a step (`GreedyMlp`, `Se3Policy`) streams through this, so that it is
trained and run by the same lines as a policy with a backbone.
"""

from __future__ import annotations

from torch import Tensor, nn

State = tuple[()]
"""Nothing, as a nest of tensors (`geofold.core.backbone.take_rows`)."""


class Memoryless(nn.Module):
    """The identity as a stream; `scan` equals `step` after `step`."""

    def init_state(self, batch: int) -> State:
        """Nothing is kept, of however many rows."""
        return ()

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Latent (B, d) that entered."""
        return x, state

    def scan(self, xs: Tensor, state: State) -> tuple[Tensor, State]:
        """Latents (T, B, d) that entered."""
        return xs, state
