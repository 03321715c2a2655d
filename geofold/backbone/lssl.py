"""Linear state-space layer: a HiPPO memory per channel with bilinear discretisation and linear read-out.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.

Gu, Johnson, Goel, Saab, Dao, Rudra and Re, LSSL (NeurIPS 2021). A and B are those of HiPPO; step sizes,
read-out and skip are learned.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import DenseRecurrence
from geofold.backbone.hippo import bilinear, legs
from geofold.backbone.linear_memory import LinearMemory


class LinearStateSpace(LinearMemory):
    """LSSL with HiPPO-LegS or another memory.

    Parameters
    ----------
    channels, states : int
        D and N.
    memory : callable
        Returns A (N, N) and B (N,) of dc/dt = -A c + B u for a number N; see `geofold.backbone.hippo`.
    """

    def __init__(self, channels: int, states: int = 16, memory: Callable[[int], tuple[Tensor, Tensor]] = legs) -> None:
        super().__init__(channels, states, complex_states=False)
        a, b = memory(states)
        self.register_buffer("a", -a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.c = nn.Parameter(torch.randn(channels, states) / states**0.5)

    def recurrence(self) -> DenseRecurrence:
        """Recurrence of the current weights."""
        a, b = self.get_buffer("a"), self.get_buffer("b")
        return DenseRecurrence(*bilinear(a, b.expand_as(self.c), self.log_step.exp()), self.c)
