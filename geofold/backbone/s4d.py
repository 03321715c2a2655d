"""S4D: a diagonal memory per channel, whose kernel is a sum of exponentials.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``M`` conjugate pairs of states.

Gu, Gupta, Goel and Re, S4D (NeurIPS 2022): S4D-Lin, discretised with held inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import fft_convolve
from geofold.backbone.linear_memory import LinearMemory


class ModalRecurrence:
    """Modal recurrence h_t = exp(pole) h_(t-1) + u_t, y_t = 2 Re(residue . h_t) for each channel, (D, M) complex."""

    def __init__(self, pole: Tensor, residue: Tensor) -> None:
        self.pole, self.residue = pole, residue

    def step(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for inputs (B, D), and the new h (B, D, M)."""
        h = self.pole.exp() * h + u[..., None]
        return 2 * (self.residue * h).real.sum(-1), h

    def scan(self, us: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) by one convolution, and the last h (B, D, M)."""
        powers = torch.exp(self.pole * torch.arange(len(us) + 1, device=us.device)[:, None, None])  # (T + 1, D, M)
        ys = fft_convolve(us, 2 * torch.einsum("tdm,dm->td", powers[:-1], self.residue).real)
        ys = ys + 2 * torch.einsum("tdm,dm,bdm->tbd", powers[1:], self.residue, h).real
        last = powers[-1] * h + torch.einsum("tdm,tbd->bdm", powers[:-1].flip(0), us.to(powers.dtype))
        return ys, last


class S4D(LinearMemory):
    """S4D layer of D channels with `states` / 2 conjugate pairs each."""

    def __init__(self, channels: int, states: int = 16) -> None:
        pairs = states // 2
        super().__init__(channels, pairs, complex_states=True)
        self.log_decay = nn.Parameter(torch.full((channels, pairs), math.log(0.5)))
        self.frequency = nn.Parameter((math.pi * torch.arange(pairs)).repeat(channels, 1))
        self.c = nn.Parameter(torch.randn(channels, pairs, 2) / 2**0.5)

    def recurrence(self) -> ModalRecurrence:
        """Recurrence of the current weights."""
        a = torch.complex(-self.log_decay.exp(), self.frequency)
        pole = self.log_step.exp()[:, None] * a
        return ModalRecurrence(pole, torch.view_as_complex(self.c) * torch.expm1(pole) / a)
