"""S5: one diagonal memory shared by all channels, with a parallel scan.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``M`` conjugate pairs of states.

Smith, Warrington and Linderman, S5 (ICLR 2023): the eigenvalues are initialised with those of the
normal part of HiPPO-LegS, and inputs are held during a step.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geofold.backbone.hippo import legs_nplr
from geofold.backbone.linear_memory import OutputGate, initial_log_steps
from geofold.backbone.scan import linear_scan


class S5(nn.Module):
    """S5 layer of D channels with `states` states (even) in conjugate pairs."""

    def __init__(self, channels: int, states: int = 64) -> None:
        super().__init__()
        form = legs_nplr(states)
        eigenvalues = form.eigenvalues[form.eigenvalues.imag > 0]
        pairs = len(eigenvalues)
        self.log_decay = nn.Parameter((-eigenvalues.real).log().float())
        self.frequency = nn.Parameter(eigenvalues.imag.float())
        self.b = nn.Parameter(torch.randn(pairs, channels, 2) / (2 * channels) ** 0.5)
        self.c = nn.Parameter(torch.randn(channels, pairs, 2) / (2 * pairs) ** 0.5)
        self.log_step = nn.Parameter(initial_log_steps(pairs))
        self.skip = nn.Parameter(torch.ones(channels))
        self.gate = OutputGate(channels)

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Complex zeros (B, M): no input was read yet."""
        return torch.complex(like.new_zeros(1), like.new_zeros(1)).new_zeros(batch, len(self.frequency))

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        decay, drive = self._discretise()
        state = decay * state + u.to(drive.dtype) @ drive.mT
        return self._read_out(u, state), state

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a parallel scan."""
        decay, drive = self._discretise()
        states = linear_scan(decay.expand(len(us), 1, -1), us.to(drive.dtype) @ drive.mT, state)
        return self._read_out(us, states), states[-1]

    def _discretise(self) -> tuple[Tensor, Tensor]:
        """Decay (M,) of a step and drive (M, D) of an input that is held through it."""
        a = torch.complex(-self.log_decay.exp(), self.frequency)
        pole = self.log_step.exp() * a
        return pole.exp(), (torch.expm1(pole) / a)[:, None] * torch.view_as_complex(self.b)

    def _read_out(self, u: Tensor, h: Tensor) -> Tensor:
        return self.gate(2 * (h @ torch.view_as_complex(self.c).mT).real + self.skip * u)
