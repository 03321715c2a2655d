"""Linear state-space layer: a HiPPO memory per channel with bilinear discretisation and linear read-out.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.

Gu, Johnson, Goel, Saab, Dao, Rudra and Re, LSSL (NeurIPS 2021). A and B are those of HiPPO; step sizes,
read-out and skip are learned.
"""

from __future__ import annotations

import torch
from torch import nn

from geofold.backbone.convolution import DenseRecurrence
from geofold.backbone.hippo import bilinear, legs, legt
from geofold.backbone.linear_memory import LinearMemory


class LinearStateSpace(LinearMemory):
    """LSSL with HiPPO-LegS or LegT.

    Parameters
    ----------
    channels, states : int
        D and N.
    memory : 'legs' or 'legt'
    """

    def __init__(self, channels: int, states: int = 16, memory: str = "legs") -> None:
        super().__init__(channels, states, complex_states=False)
        a, b = legs(states) if memory == "legs" else legt(states)
        self.register_buffer("a", -a.float(), persistent=False)
        self.register_buffer("b", b.float(), persistent=False)
        self.c = nn.Parameter(torch.randn(channels, states) / states**0.5)

    def recurrence(self) -> DenseRecurrence:
        """Recurrence of the current weights."""
        a, b = self.get_buffer("a"), self.get_buffer("b")
        return DenseRecurrence(*bilinear(a, b.expand_as(self.c), self.log_step.exp()), self.c)
