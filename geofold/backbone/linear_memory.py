"""Common part of layers with a linear memory per channel: skip, gate, and a recurrence with a convolution form.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import cached_by_weights

STEP_RANGE = (0.001, 0.1)
"""Range of the initial step sizes of the channels."""


def initial_log_steps(channels: int) -> Tensor:
    """Return the initial logarithms of the step sizes (D,), spread evenly over `STEP_RANGE`."""
    return torch.linspace(math.log(STEP_RANGE[0]), math.log(STEP_RANGE[1]), channels)


class Recurrence(Protocol):
    """Linear recurrence in its discrete form, with real outputs."""

    def step(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for inputs (B, D), and the new h (B, D, N)."""

    def scan(self, us: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs (T, B, D), and the last h (B, D, N)."""


class OutputGate(nn.Module):
    """Output of a linear memory: activation, mixing of the channels, and a gate (GLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels)

    def forward(self, y: Tensor) -> Tensor:
        """Apply the gate to y (..., D)."""
        return nn.functional.glu(self.mix(nn.functional.gelu(y)), -1)


class LinearMemory(nn.Module, ABC):
    """Layer of D channels with `states` real or complex states each; subclasses define `recurrence`."""

    def __init__(self, channels: int, states: int, *, complex_states: bool) -> None:
        super().__init__()
        self.shape, self.complex_states = (channels, states), complex_states
        self.log_step = nn.Parameter(initial_log_steps(channels))
        self.skip = nn.Parameter(torch.ones(channels))
        self.gate = OutputGate(channels)

    @abstractmethod
    def recurrence(self) -> Recurrence:
        """Recurrence of the current weights."""

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Zeros (B, D, N): no input was read yet."""
        zero = like.new_zeros(batch, *self.shape)
        return torch.complex(zero, zero) if self.complex_states else zero

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        y, state = cached_by_weights(self, self.recurrence).step(u, state)
        return self.gate(y + self.skip * u), state

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a long convolution."""
        ys, state = cached_by_weights(self, self.recurrence).scan(us, state)
        return self.gate(ys + self.skip * us), state
