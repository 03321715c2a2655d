"""Selective state space (Mamba): writing to and decay of the memory depend on the input.

Glossary: ``T`` steps, ``B`` rows, ``D`` width, ``E`` channels inside, ``N`` states of a channel.
States are stored as (B, N, E), since long rows are fast.

Gu and Dao, Mamba (2023), sections 3.2-3.4: a gated block around a causal convolution and
h_t = exp(step_t A) h_(t-1) + step_t B_t u_t, y_t = C_t . h_t, with step, B and C functions of u_t.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import ShortConvolution
from geofold.backbone.linear_memory import initial_log_steps
from geofold.backbone.selective_scan import selective_scan


class SelectiveState(NamedTuple):
    """The convolution's window and the states of the channels h."""

    window: Tensor
    h: Tensor


class Selective(nn.Module):
    """Mamba block; `expand` is E / D."""

    def __init__(self, channels: int, states: int = 16, expand: int = 2, rank: int | None = None) -> None:
        super().__init__()
        inner, self.rank = expand * channels, rank or math.ceil(channels / 16)
        self.enter = nn.Linear(channels, 2 * inner, bias=False)
        self.convolution = ShortConvolution(inner)
        self.select = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.pace = nn.Linear(self.rank, inner)
        self.log_a = nn.Parameter(torch.arange(1.0, states + 1).log()[:, None].repeat(1, inner))
        self.skip = nn.Parameter(torch.ones(inner))
        self.leave = nn.Linear(inner, channels, bias=False)
        nn.init.uniform_(self.pace.weight, -(self.rank**-0.5), self.rank**-0.5)
        with torch.no_grad():
            first = initial_log_steps(inner).exp()
            self.pace.bias.copy_(torch.log(torch.expm1(first)))

    def init_state(self, batch: int, like: Tensor) -> SelectiveState:
        """Zeros: no input was read yet."""
        return SelectiveState(self.convolution.init_state(batch, like), like.new_zeros(batch, *self.log_a.shape))

    def step(self, u: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        v, gate = self.enter(u).chunk(2, -1)
        v, window = self.convolution.step(v, state.window)
        v = nn.functional.silu(v)
        pace, b, c = self._select(v)
        decay = (pace[:, None] * -self.log_a.exp()).exp()
        h = torch.addcmul((pace * v)[:, None] * b[..., None], decay, state.h)
        return self._project_out((c[:, None] @ h)[:, 0], v, gate), SelectiveState(window, h)

    def scan(self, us: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Return outputs (T, B, D) for inputs us (T, B, D), by a parallel scan."""
        vs, gates = self.enter(us).chunk(2, -1)
        vs, window = self.convolution.scan(vs, state.window)
        vs = nn.functional.silu(vs)
        pace, b, c = self._select(vs)
        ys, h = selective_scan(pace, -self.log_a.exp(), vs, b, c, state.h)
        return self._project_out(ys, vs, gates), SelectiveState(window, h)

    def _select(self, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step (..., E), B and C (..., N) of inputs (..., E)."""
        pace, b, c = self.select(v).split([self.rank, *[len(self.log_a)] * 2], -1)
        return nn.functional.softplus(self.pace(pace)), b, c

    def _project_out(self, y: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        return self.leave((y + self.skip * v) * nn.functional.silu(gate))
