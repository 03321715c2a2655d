"""Minimal recurrent network, for reference: its gates depend on the input only, so that it can be scanned.

Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, Were RNNs all we needed? (2024), minGRU:
h_t = (1 - g_t) h_(t-1) + g_t v_t. Glossary: ``T`` steps, ``B`` rows, ``D`` channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geofold.backbone.scan import linear_scan


class MinimalRecurrent(nn.Module):
    """minGRU with `expand` times D hidden units."""

    def __init__(self, channels: int, expand: int = 2) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, 2 * expand * channels)
        self.leave = nn.Linear(expand * channels, channels)

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Zeros (B, E): no input was read yet."""
        return like.new_zeros(batch, self.leave.in_features)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        gate, v = self._project_in(u)
        state = torch.lerp(state, v, gate)
        return self.leave(state), state

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a parallel scan."""
        gates, vs = self._project_in(us)
        states = linear_scan(1 - gates, gates * vs, state)
        return self.leave(states), states[-1]

    def _project_in(self, u: Tensor) -> tuple[Tensor, Tensor]:
        gate, v = self.enter(u).chunk(2, -1)
        return torch.sigmoid(gate), v
