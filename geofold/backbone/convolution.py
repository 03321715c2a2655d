"""Long convolutions by FFT, short convolutions with a window, and kernels of dense recurrences.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

BLOCK_STEPS = 64
"""Number of inputs whose contributions to a state are summed at once."""
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
        """Zeros: no input was read yet."""
        return like.new_zeros(batch, self.width - 1, self.weight.shape[1])

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D) for one input u (B, D), and the new window."""
        window = torch.cat([state, u[:, None]], 1)
        return (window * self.weight).sum(1) + self.bias, window[:, 1:]

    def scan(self, us: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) for inputs us (T, B, D), and the last window."""
        padded = torch.cat([state.transpose(0, 1), us])
        out = self.bias.expand_as(us)
        for k in range(self.width):
            out = torch.addcmul(out, padded[k : k + len(us)], self.weight[k])
        return out, padded[len(us) :].transpose(0, 1)


def krylov_vectors(matrix: Tensor, vector: Tensor, length: int) -> Tensor:
    """Krylov vectors v, Av, A^2 v, ... (length, D, N) of matrices (D, N, N) and vectors (D, N), by doubling."""
    vectors, power = vector[None], matrix
    while len(vectors) < length:
        vectors = torch.cat([vectors, torch.einsum("dij,tdj->tdi", power, vectors)])
        power = power @ power
    return vectors[:length]


def last_state(a: Tensor, b: Tensor, us: Tensor, h: Tensor) -> Tensor:
    """Last state h (B, D, N) of h_t = a h_(t-1) + b u_t after inputs us (T, B, D).

    Parameters
    ----------
    a : (D, N, N)
    b : (D, N)
    us : (T, B, D)
    h : (B, D, N)
        State before the inputs.

    Returns
    -------
    (B, D, N)
    """
    reached = krylov_vectors(a, b, min(BLOCK_STEPS, len(us))).flip(0)  # a^(BLOCK-1-t) b
    for block in us.split(BLOCK_STEPS):
        power = torch.linalg.matrix_power(a, len(block))
        h = torch.einsum("dij,bdj->bdi", power, h)
        h = h + torch.einsum("tdn,tbd->bdn", reached[len(reached) - len(block) :], block.to(h.dtype))
    return h


def cached_by_weights(module: nn.Module, make: Callable[[], Value]) -> Value:
    """Return `make()`, a value computed from the weights of a module, cached until a weight changes.

    A stream needs the value at every step. It is not cached while gradients are recorded.
    """
    if torch.is_grad_enabled():
        return make()
    key = tuple((p.data_ptr(), p._version, p.dtype) for p in module.parameters())
    entry = module.__dict__.get("_cached")
    if entry is None or entry[0] != key:
        entry = module.__dict__["_cached"] = (key, make())
    value: Value = entry[1]
    return value


class DenseRecurrence:
    """Recurrence h_t = A h_(t-1) + b u_t, y_t = c . h_t of independent channels, real or complex.

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
        """Return outputs (T, B, D) for inputs (T, B, D) by one convolution, and the last h (B, D, N)."""
        length = len(us)
        rows = krylov_vectors(self.a.mT, self.c, length + 1)  # c A^t
        kernel = (rows[:-1] * self.b).sum(-1)
        ys = fft_convolve(us, kernel) + torch.einsum("tdn,bdn->tbd", rows[1:], h)
        return ys, last_state(self.a, self.b, us, h)
