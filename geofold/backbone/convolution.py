"""Long convolutions by FFT, short ones with a window, and the kernels of dense recurrences.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

BLOCK_STEPS = 64
"""Inputs whose share of a state is summed at once."""
Value = TypeVar("Value")


def fft_convolve(us: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution y_t = sum_s kernel_s u_(t-s) of (T, B, D) with (T, D)."""
    size = 2 * len(us)
    wide = torch.fft.rfft(us, size, dim=0) * torch.fft.rfft(kernel, size, dim=0)[:, None]
    return torch.fft.irfft(wide, size, dim=0)[: len(us)]


class ShortConvolution(nn.Module):
    """Causal depthwise convolution over the last `width` steps; its state is the window (B, width - 1, D)."""

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.randn(width, channels) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(channels))

    def init_state(self, batch: int, like: Tensor) -> Tensor:
        """Nothing was seen."""
        return like.new_zeros(batch, self.width - 1, self.weight.shape[1])

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One input (B, D)."""
        window = torch.cat([state, u[:, None]], 1)
        return (window * self.weight).sum(1) + self.bias, window[:, 1:]

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs (T, B, D)."""
        padded = torch.cat([state.transpose(0, 1), us])
        out = self.bias.expand_as(us)
        for k in range(self.width):
            out = torch.addcmul(out, padded[k : k + len(us)], self.weight[k])
        return out, padded[len(us) :].transpose(0, 1)


def krylov_vectors(matrix: Tensor, vector: Tensor, length: int) -> Tensor:
    """v, Av, A^2 v, ... (length, D, N) of matrices (D, N, N) and vectors (D, N), by doubling."""
    found, power = vector[None], matrix
    while len(found) < length:
        found = torch.cat([found, torch.einsum("dij,tdj->tdi", power, found)])
        power = power @ power
    return found[:length]


def last_state(a: Tensor, b: Tensor, us: Tensor, h: Tensor) -> Tensor:
    """h (B, D, N) after all inputs (T, B, D) of h_t = a h_(t-1) + b u_t, a block of inputs at a time."""
    reached = krylov_vectors(a, b, min(BLOCK_STEPS, len(us))).flip(0)  # a^(BLOCK-1-t) b
    for block in us.split(BLOCK_STEPS):
        power = torch.linalg.matrix_power(a, len(block))
        h = torch.einsum("dij,bdj->bdi", power, h)
        h = h + torch.einsum("tdn,tbd->bdn", reached[len(reached) - len(block) :], block.to(h.dtype))
    return h


def cached_by_weights(module: nn.Module, make: Callable[[], Value]) -> Value:
    """What is made of a module's weights, made once for as long as they stay: a stream asks for it at every step.

    While gradients are recorded it is made anew.
    """
    if torch.is_grad_enabled():
        return make()
    key = tuple((p.data_ptr(), p._version, p.dtype) for p in module.parameters())
    found = module.__dict__.get("_kept")
    if found is None or found[0] != key:
        found = module.__dict__["_kept"] = (key, make())
    made: Value = found[1]
    return made


class DenseRecurrence:
    """h_t = A h_(t-1) + b u_t, y_t = c . h_t for each channel by itself, real or complex.

    Parameters
    ----------
    a : (D, N, N)
    b, c : (D, N)
    """

    def __init__(self, a: Tensor, b: Tensor, c: Tensor) -> None:
        self.a, self.b, self.c = a, b, c

    def step(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for inputs (B, D), and the new h (B, D, N)."""
        h = torch.einsum("dij,bdj->bdi", self.a, h) + self.b * u[..., None]
        return (self.c * h).sum(-1), h

    def scan(self, us: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (T, B, D) for inputs (T, B, D) by one convolution, and the last h (B, D, N)."""
        length = len(us)
        seen = krylov_vectors(self.a.mT, self.c, length + 1)  # c A^t
        kernel = (seen[:-1] * self.b).sum(-1)
        ys = fft_convolve(us, kernel) + torch.einsum("tdn,bdn->tbd", seen[1:], h)
        return ys, last_state(self.a, self.b, us, h)
