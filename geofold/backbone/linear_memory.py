"""What layers with a linear memory of every channel have in common: skip, gate, and a recurrence that also convolves.

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
"""Range that the steps of the channels start in."""


def initial_log_steps(channels: int) -> Tensor:
    """Logarithms of steps (D,), spread evenly over `STEP_RANGE`."""
    return torch.linspace(math.log(STEP_RANGE[0]), math.log(STEP_RANGE[1]), channels)


class Recurrence(Protocol):
    """A linear recurrence with its weights made up for use; outputs are real."""

    def step(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for inputs (B, D), and the new h (B, D, N)."""

    def scan(self, us: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, D) for inputs (T, B, D), and the last h (B, D, N)."""


class OutputGate(nn.Module):
    """What follows a linear memory: activation, mixing of the channels and a gate (GLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels)

    def forward(self, y: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return nn.functional.glu(self.mix(nn.functional.gelu(y)), -1)


class LinearMemory(nn.Module, ABC):
    """Layer of D channels with `states` numbers each, real or complex; kinds differ in their `recurrence`."""

    def __init__(self, channels: int, states: int, *, complex_states: bool) -> None:
        super().__init__()
        self.shape, self.complex_states = (channels, states), complex_states
        self.log_step = nn.Parameter(initial_log_steps(channels))
        self.skip = nn.Parameter(torch.ones(channels))
        self.gate = OutputGate(channels)

    @abstractmethod
    def recurrence(self) -> Recurrence:
        """The recurrence of the weights as they are."""

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Nothing was seen: zeros (B, D, N)."""
        zero = like.new_zeros(batch, *self.shape)
        return torch.complex(zero, zero) if self.complex_states else zero

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """By the recurrence."""
        y, state = cached_by_weights(self, self.recurrence).step(u, state)
        return self.gate(y + self.skip * u), state

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """By the convolution."""
        ys, state = cached_by_weights(self, self.recurrence).scan(us, state)
        return self.gate(ys + self.skip * us), state
