"""Linear state-space layer: a HiPPO memory of every channel, discretised bilinearly, read out linearly.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.

Gu, Johnson, Goel, Saab, Dao, Rudra and Re, LSSL (NeurIPS 2021). A and B stay HiPPO's; steps, read-out and skip are
learned.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import DenseRecurrence, kept
from geofold.backbone.hippo import bilinear, legs, legt

STEPS = (0.001, 0.1)
"""Range that the steps of the channels start in."""


def first_steps(channels: int) -> Tensor:
    """Logarithms of steps (D,), spread evenly over `STEPS`."""
    return torch.linspace(math.log(STEPS[0]), math.log(STEPS[1]), channels)


class OutputGate(nn.Module):
    """What follows a linear memory: activation, mixing of the channels and a gate (GLU)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Linear(channels, 2 * channels)

    def forward(self, y: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return nn.functional.glu(self.mix(nn.functional.gelu(y)), -1)


class LinearStateSpace(nn.Module):
    """LSSL with HiPPO-LegS or LegT.

    Parameters
    ----------
    channels, states : int
        D and N.
    memory : 'legs' or 'legt'
    """

    def __init__(self, channels: int, states: int = 16, memory: str = "legs") -> None:
        super().__init__()
        a, b = legs(states) if memory == "legs" else legt(states)
        self.register_buffer("a", -a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.log_step = nn.Parameter(first_steps(channels))
        self.c = nn.Parameter(torch.randn(channels, states) / states**0.5)
        self.skip = nn.Parameter(torch.ones(channels))
        self.gate = OutputGate(channels)

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Nothing was seen: zeros (B, D, N)."""
        return like.new_zeros(batch, *self.c.shape)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """By the recurrence."""
        y, state = kept(self, self._recurrence).step(u, state)
        return self.gate(y + self.skip * u), state

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """By the convolution."""
        ys, state = kept(self, self._recurrence).scan(us, state)
        return self.gate(ys + self.skip * us), state

    def _recurrence(self) -> DenseRecurrence:
        a, b = self.get_buffer("a"), self.get_buffer("b")
        return DenseRecurrence(*bilinear(a, b.expand_as(self.c), self.log_step.exp()), self.c)
