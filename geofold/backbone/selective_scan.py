"""Selective recurrence with a backward pass of its own, which recomputes the states instead of storing them.

Glossary: ``T`` steps, ``B`` rows, ``E`` channels, ``N`` states of a channel. States are (B, N, E), since long rows are
fast.

h_t = exp(step_t a) h_(t-1) + (step_t v_t) b_t and y_t = c_t . h_t. There are N times as many states as inputs; storing
them for the backward pass costs more than recomputing them in chunks (Gu and Dao, Mamba, section 3.3.2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geofold.backbone.scan import scan_into

CHUNK_ENTRIES = 1 << 18
"""Number of state entries in a chunk, chosen to fit into the CPU caches."""


def selective_scan(step: Tensor, a: Tensor, v: Tensor, b: Tensor, c: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs y (T, B, E) and the last state (B, N, E) of the selective recurrence.

    Parameters
    ----------
    step, v : Tensor (T, B, E)
    a : Tensor (N, E)
        Negative rates of decay.
    b, c : Tensor (T, B, N)
    start : Tensor (B, N, E)
    """
    y, last = _SelectiveScan.apply(step, a, v, b, c, start)
    return y, last


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: Tensor, a: Tensor, v: Tensor, b: Tensor, c: Tensor, start: Tensor
    ) -> tuple[Tensor, Tensor]:
        y, starts = torch.empty_like(v), [start]
        size = max(CHUNK_ENTRIES // start.numel(), 1)
        for k in range(0, len(v), size):
            part = slice(k, k + size)
            _, h = _states(step[part], a, v[part], b[part], starts[-1])
            torch.matmul(c[part][..., None, :], h, out=y[part][..., None, :])
            starts.append(h[-1].clone())
        ctx.size = size
        ctx.save_for_backward(step, a, v, b, c, *starts)
        return y, starts[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_y: Tensor, by_last: Tensor) -> tuple[Tensor, ...]:
        step, a, v, b, c, *starts = ctx.saved_tensors
        by_step, by_v, by_b, by_c = (torch.empty_like(part) for part in (step, v, b, c))
        by_a, carry = torch.zeros_like(a), by_last
        for number in range(len(starts) - 2, -1, -1):
            part = slice(number * ctx.size, (number + 1) * ctx.size)
            pace, value, seen, start = step[part], v[part], by_y[part], starts[number]
            decay, h = _states(pace, a, value, b[part], start)
            torch.matmul(h, seen[..., None], out=by_c[part][..., None])
            arrived = seen[..., None, :] * c[part][..., None]
            arrived[-1] += carry
            scan_into(arrived[:-1], decay[1:], arrived[:-1], arrived[-1], reverse=True)
            carry = decay[0] * arrived[0]
            torch.matmul(arrived, (pace * value)[..., None], out=by_b[part][..., None])
            by_drive = (b[part][..., None, :] @ arrived)[..., 0, :]
            # Gradient of the exponent of decay_t: arrived_t h_(t-1) decay_t.
            arrived[1:] *= h[:-1]
            arrived[0] *= start
            arrived *= decay
            torch.mul(by_drive, pace, out=by_v[part])
            torch.addcmul((arrived * a).sum(-2), by_drive, value, out=by_step[part])
            by_a += torch.einsum("tbne,tbe->ne", arrived, pace)
        return by_step, by_a, by_v, by_b, by_c, carry


def _states(step: Tensor, a: Tensor, v: Tensor, b: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and states (T, B, N, E) of a chunk."""
    decay = (step[..., None, :] * a).exp_()
    h = (step * v)[..., None, :] * b[..., None]
    scan_into(h, decay, h, start)
    return decay, h
