"""Mamba-2: a selective state space with one decay per head, equivalent to masked attention.

Glossary: ``T`` steps, ``B`` rows, ``D`` width, ``H`` heads, ``P`` channels of a head, ``N`` states of a channel.

Dao and Gu, Transformers are SSMs (ICML 2024): h_t = a_t h_(t-1) + B_t (step_t u_t)', y_t = C_t h_t is
Y = (L o C B') U with L_ts = a_t ... a_(s+1) for s <= t. Within a chunk the masked product is computed directly;
the state is passed from chunk to chunk.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import ShortConvolution
from geofold.backbone.selective import SelectiveState

CHUNK_STEPS = 64
"""Number of steps in a chunk of the scan."""


class ScalarDecay(nn.Module):
    """Mamba-2 block with `expand` times D inner channels in heads of `head` channels."""

    def __init__(self, channels: int, states: int = 16, expand: int = 2, head: int = 16) -> None:
        super().__init__()
        inner = expand * channels
        if inner % head:
            raise ValueError(f"{inner} inner channels in heads of {head}; expected a multiple")
        self.heads, self.states, self.inner = inner // head, states, inner
        self.enter = nn.Linear(channels, 2 * inner + 2 * states + self.heads, bias=False)
        self.convolution = ShortConvolution(inner + 2 * states)
        self.log_a = nn.Parameter(torch.linspace(1.0, 16.0, self.heads).log())
        self.pace = nn.Parameter(torch.log(torch.expm1(torch.logspace(-3, -1, self.heads))))
        self.skip = nn.Parameter(torch.ones(self.heads))
        self.norm = nn.RMSNorm(inner)
        self.leave = nn.Linear(inner, channels, bias=False)

    def init_state(self, batch: int, like: Tensor) -> SelectiveState:
        """Zeros: the window, and h (B, H, N, P)."""
        h = like.new_zeros(batch, self.heads, self.states, self.inner // self.heads)
        return SelectiveState(self.convolution.init_state(batch, like), h)

    def step(self, u: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Output (B, D) for one input u (B, D), by the recurrence."""
        gate, mixed, pace = self._project_in(u)
        mixed, window = self.convolution.step(mixed, state.window)
        v, drive, b, c, log_decay = self._select(mixed, pace)
        h = log_decay.exp()[..., None, None] * state.h + b[:, None, :, None] * drive[..., None, :]
        y = (c[:, None, None] @ h)[..., 0, :]
        return self._project_out(y, v, gate), SelectiveState(window, h)

    def scan(self, us: Tensor, state: SelectiveState) -> tuple[Tensor, SelectiveState]:
        """Return outputs (T, B, D) for inputs us (T, B, D), chunk by chunk."""
        gate, mixed, pace = self._project_in(us)
        mixed, window = self.convolution.scan(mixed, state.window)
        v, drive, b, c, log_decay = self._select(mixed, pace)
        ys, h = [], state.h
        for k in range(0, len(us), CHUNK_STEPS):
            part = slice(k, k + CHUNK_STEPS)
            y, h = chunk_outputs(drive[part], b[part], c[part], log_decay[part], h)
            ys.append(y)
        return self._project_out(torch.cat(ys), v, gate), SelectiveState(window, h)

    def _project_in(self, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.enter(u).split([self.inner, self.inner + 2 * self.states, self.heads], -1)
        return parts[0], parts[1], parts[2]

    def _select(self, mixed: Tensor, pace: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return inputs and drives (..., H, P), B and C (..., N), logarithms of the decays (..., H)."""
        v, b, c = nn.functional.silu(mixed).split([self.inner, self.states, self.states], -1)
        v = v.unflatten(-1, (self.heads, -1))
        step = nn.functional.softplus(pace + self.pace)
        return v, step[..., None] * v, b, c, -step * self.log_a.exp()

    def _project_out(self, y: Tensor, v: Tensor, gate: Tensor) -> Tensor:
        y = (y + self.skip[:, None] * v).flatten(-2)
        return self.leave(self.norm(y * nn.functional.silu(gate)))


def chunk_outputs(drive: Tensor, b: Tensor, c: Tensor, log_decay: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Y = (L o C B') U of one chunk, and the state after it.

    Parameters
    ----------
    drive : (T, B, H, P)
    b, c : (T, B, N)
    log_decay : (T, B, H)
    h : (B, H, N, P)
        State before the chunk.
    """
    total = log_decay.cumsum(0)
    length = len(drive)
    causal = torch.ones(length, length, dtype=torch.bool, device=drive.device).tril()
    between = (total[:, None] - total).masked_fill(~causal[..., None, None], -torch.inf).exp()  # (T, S, B, H)
    scores = torch.einsum("tbn,sbn->tsb", c, b)[..., None] * between
    ys = torch.einsum("tsbh,sbhp->tbhp", scores, drive)
    ys = ys + total.exp()[..., None] * torch.einsum("tbn,bhnp->tbhp", c, h)
    left = (total[-1] - total).exp()[..., None] * drive
    return ys, total[-1].exp()[..., None, None] * h + torch.einsum("sbn,sbhp->bhnp", b, left)
