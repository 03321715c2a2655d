"""Hyena: a gated long convolution whose filter is a sum of modes, so that it can stream.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``M`` modes of a filter.

Poli et al., Hyena (ICML 2023), order two: y = q o (filter * (k o v)) after short convolutions. The filter has the
modal form, h_t = 2 Re sum_m r_m e^(p_m t), as in StripedHyena (Together, 2023) and Massaroli et al., Laughing Hyena
(NeurIPS 2023): a stream then needs M numbers per channel instead of the whole past.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import ShortConvolution, cached_by_weights
from geofold.backbone.s4d import ModalRecurrence
from geofold.backbone.selective import SelectiveState


class Hyena(nn.Module):
    """Hyena operator of order two with modal filters."""

    def __init__(self, channels: int, modes: int = 8) -> None:
        super().__init__()
        self.enter = nn.Linear(channels, 3 * channels)
        self.convolution = ShortConvolution(3 * channels, 3)
        self.log_decay = nn.Parameter(torch.linspace(math.log(1e-3), 0.0, channels * modes).view(channels, modes))
        self.frequency = nn.Parameter(math.pi * torch.rand(channels, modes))
        self.residue = nn.Parameter(torch.randn(channels, modes, 2) / modes)
        self.skip = nn.Parameter(torch.ones(channels))
        self.leave = nn.Linear(channels, channels)

    def init_state(self, batch: int, like: Tensor) -> SelectiveState:
        """Zeros: the window, and complex h (B, D, M)."""
        h = torch.complex(like.new_zeros(1), like.new_zeros(1)).new_zeros(batch, *self.frequency.shape)
        return SelectiveState(self.convolution.init_state(batch, like), h)

    def step(self, u: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Output (B, D) for one input u (B, D), by the modal recurrence."""
        mixed, window = self.convolution.step(self.enter(u), state.window)
        q, k, v = mixed.chunk(3, -1)
        y, h = cached_by_weights(self, self._modes).step(k * v, state.h)
        return self.leave(q * (y + self.skip * k * v)), SelectiveState(window, h)

    def scan(self, us: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a long convolution."""
        mixed, window = self.convolution.scan(self.enter(us), state.window)
        q, k, v = mixed.chunk(3, -1)
        ys, h = cached_by_weights(self, self._modes).scan(k * v, state.h)
        return self.leave(q * (ys + self.skip * k * v)), SelectiveState(window, h)

    def _modes(self) -> ModalRecurrence:
        return ModalRecurrence(
            torch.complex(-self.log_decay.exp(), self.frequency), torch.view_as_complex(self.residue)
        )
