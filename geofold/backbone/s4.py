"""S4: a memory with a diagonal plus rank-one matrix, and its convolution kernel by Cauchy products.

Glossary: ``T`` steps, ``B`` rows, ``D`` channels, ``N`` states of a channel, ``g`` = 2 / step.

Gu, Goel and Re, S4 (ICLR 2022). States come in conjugate pairs, of which one half are parameters, so that outputs are
real. The bilinear step is (g - A)^-1 (g + A); it needs only the resolvent
[g (1 - z) - A (1 + z)]^-1 of A = diag(lambda) - p p^*, by the Woodbury identity. Written without a division by 1 + z,
it also holds at z = -1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from geofold.backbone.convolution import fft_convolve, last_state
from geofold.backbone.hippo import legs_nplr
from geofold.backbone.linear_memory import LinearMemory


class DiagonalPlusLowRank:
    """Discrete recurrence of one set of parameters.

    Parameters
    ----------
    eigenvalues, low_rank, b, c : (D, N) complex
    g : (D, 1)
    """

    def __init__(self, eigenvalues: Tensor, low_rank: Tensor, b: Tensor, c: Tensor, g: Tensor) -> None:
        self.eigenvalues, self.p, self.b, self.c, self.g = eigenvalues, low_rank, b, c, g
        self._inverse = 1 / (g - eigenvalues)

    def push(self, h: Tensor) -> Tensor:
        """(g + A) h for h (..., D, N)."""
        return (self.g + self.eigenvalues) * h - self.p * (self.p.conj() * h).sum(-1, keepdim=True)

    def solve(self, v: Tensor) -> Tensor:
        """(g - A)^-1 v for v (..., D, N), by Woodbury's identity in O(N)."""
        scaled, direction = self._inverse * v, self._inverse * self.p
        core = 1 + (self.p.conj() * direction).sum(-1, keepdim=True)
        return scaled - direction * ((self.p.conj() * scaled).sum(-1, keepdim=True) / core)

    def step(self, u: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Output (B, D), real, for inputs (B, D), and the new h (B, D, N)."""
        h = self.solve(self.push(h) + 2 * self.b * u[..., None])
        return (self.c * h).sum(-1).real, h

    def matrix(self) -> Tensor:
        """Matrix (D, N, N) of one step."""
        eye = torch.eye(self.p.shape[-1], dtype=self.p.dtype, device=self.p.device)
        return torch.stack([self.solve(self.push(column.expand_as(self.p))) for column in eye], -1)

    def response(self, length: int, power: Tensor, v: Tensor) -> Tensor:
        """Return c Abar^t (g - A)^-1 v for t < length, real, (length, R, D) for v (R, D, N), by Cauchy products.

        The generating function, cut after `length` terms by c (1 - Abar^length), is evaluated at the roots of unity.

        Parameters
        ----------
        power : (D, N, N)
            Abar^length.
        """
        cut = self.c - (power.mT @ self.c[..., None])[..., 0]
        # The result is real, so half of the roots are sufficient.
        turn = torch.arange(length // 2 + 1, device=v.device, dtype=self.g.dtype) * (2 * torch.pi / length)
        z = torch.polar(torch.ones_like(turn), -turn)
        poles = 1 / (self.g[..., None] * (1 - z[:, None]) - self.eigenvalues[:, None] * (1 + z[:, None]))  # (D, Z, N)
        right = torch.cat([v, self.p[None]])
        pairs = torch.stack([cut * right, self.p.conj() * right]).flatten(0, 1).permute(1, 2, 0)
        direct, around = (poles @ pairs).unflatten(-1, (2, -1)).unbind(-2)  # (D, Z, R + 1) each
        loop = (1 + z) * direct[..., -1] / (1 + (1 + z) * around[..., -1])
        spectrum = direct[..., :-1] - loop[..., None] * around[..., :-1]
        return torch.fft.irfft(spectrum, length, dim=1).permute(1, 2, 0)

    def kernel(self, length: int) -> Tensor:
        """Convolution kernel (length, D)."""
        power = torch.linalg.matrix_power(self.matrix(), length)
        return self.response(length, power, 2 * self.b[None])[:, 0]

    def scan(self, us: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs (T, B, D) by one convolution, and the last h (B, D, N)."""
        length, matrix = len(us), self.matrix()
        power = torch.linalg.matrix_power(matrix, length)
        answers = self.response(length, power, torch.cat([2 * self.b[None], self.push(h)]))
        ys = fft_convolve(us, answers[:, 0]) + answers[:, 1:]
        return ys, last_state(matrix, self.solve(2 * self.b), us, h)


class S4(LinearMemory):
    """S4 layer that starts as HiPPO-LegS; D channels of N states (even)."""

    def __init__(self, channels: int, states: int = 16) -> None:
        super().__init__(channels, states, complex_states=True)
        form = legs_nplr(states)
        half = form.eigenvalues.imag > 0

        def pairs(v: Tensor) -> nn.Parameter:
            return nn.Parameter(torch.view_as_real(v[half].resolve_conj()).float().repeat(channels, 1, 1))

        self.log_decay = nn.Parameter((-form.eigenvalues.real[half]).log().float().repeat(channels, 1))
        self.frequency = nn.Parameter(form.eigenvalues.imag[half].float().repeat(channels, 1))
        self.low_rank, self.b = pairs(form.low_rank), pairs(form.b)
        self.c = nn.Parameter(torch.randn(channels, states // 2, 2) / states**0.5)

    def recurrence(self) -> DiagonalPlusLowRank:
        """Recurrence of the current parameters."""

        def with_conjugates(half: Tensor) -> Tensor:
            return torch.cat([half, half.conj()], -1)

        eigenvalues = torch.complex(-self.log_decay.exp(), self.frequency)
        p, b, c = (with_conjugates(torch.view_as_complex(v)) for v in (self.low_rank, self.b, self.c))
        return DiagonalPlusLowRank(with_conjugates(eigenvalues), p, b, c, 2 / self.log_step.exp()[:, None])
