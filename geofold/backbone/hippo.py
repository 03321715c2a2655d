"""HiPPO: the past of a signal as coefficients of orthogonal polynomials.

Glossary: ``N`` coefficients, ``T`` steps. P_n is the Legendre polynomial, phi_n(z) = sqrt(2n + 1) P_n(2z - 1) its
orthonormal form on [0, 1].

LegS weights the whole past equally, dc/dt = -A c / t + B u / t, which in the time log t is the time-invariant system
dc/ds = -A c + B u from which state-space layers are initialised. LegT holds a window of fixed length.
Gu, Dao, Ermon, Rudra and Re, HiPPO (NeurIPS 2020); Gu, Goel and Re, S4 (ICLR 2022), appendix C.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def legendre(z: Tensor, count: int) -> Tensor:
    """phi_n(z), (..., count), orthonormal on [0, 1], by the three-term recurrence; differentiable."""
    x = 2 * z - 1
    values = [torch.ones_like(x), x]
    for n in range(1, count - 1):
        values.append(((2 * n + 1) * x * values[n] - n * values[n - 1]) / (n + 1))
    scale = (2 * torch.arange(count, dtype=z.dtype, device=z.device) + 1).sqrt()
    return torch.stack(values[:count], -1) * scale


def legs(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return A (N, N) and B (N,) of LegS, in the signs of dc/ds = -A c + B u."""
    root = (2 * torch.arange(count, dtype=dtype) + 1).sqrt()
    lower = torch.outer(root, root).tril(-1)
    return lower + torch.diag(torch.arange(1, count + 1, dtype=dtype)), root


def legt(count: int, window: float = 1.0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Return A (N, N) and B (N,) of LegT for a window of fixed length, in the same signs and normalisation.

    c_n is the projection of u(t - window (1 - z)) on phi_n(z).
    """
    n = torch.arange(count)
    root = (2 * n.to(dtype) + 1).sqrt()
    sign = torch.where(n[:, None] < n, (-1.0) ** (n - n[:, None]).abs(), 1.0).to(dtype)
    return torch.outer(root, root) * sign / window, root / window


def legs_memory(signal: Tensor, count: int) -> Tensor:
    """LegS coefficients (T, N) after each sample of a signal (T,) that is constant between samples.

    Steps are exact matrix exponentials, because between t and t + 1 the system is time-invariant in log t.
    """
    a, b = legs(count, signal.dtype)
    stationary = torch.linalg.solve_triangular(a, b[:, None], upper=False)[:, 0]
    c, values = signal[0] * stationary, []
    for number, value in enumerate(signal, start=1):
        if number > 1:
            decay = torch.linalg.matrix_exp(-a * torch.log(torch.tensor(number / (number - 1), dtype=a.dtype)))
            c = decay @ (c - value * stationary) + value * stationary
        values.append(c)
    return torch.stack(values)


def reconstruct(coefficients: Tensor, z: Tensor) -> Tensor:
    """Reconstruct a signal (..., Z) from coefficients (..., N) at positions z (Z,) of the past, from 0 to 1 (now)."""
    return coefficients @ legendre(z, coefficients.shape[-1]).mT


class NormalPlusLowRank(NamedTuple):
    """-A of LegS as V (diag(eigenvalues) - p p^*) V^*: eigenvalues (N,), p (N,), b (N,) = V^* B, basis V (N, N)."""

    eigenvalues: Tensor
    low_rank: Tensor
    b: Tensor
    basis: Tensor


def legs_nplr(count: int) -> NormalPlusLowRank:
    """Return the normal plus low-rank form of LegS (S4, theorem 1): -A + p p' is -I/2 plus a skew-symmetric matrix."""
    a, b = legs(count)
    p = (torch.arange(count, dtype=torch.float64) + 0.5).sqrt()
    normal = -a + torch.outer(p, p)
    skew = normal + 0.5 * torch.eye(count, dtype=torch.float64)
    imaginary, basis = torch.linalg.eigh(-1j * skew)
    into = basis.mH
    return NormalPlusLowRank(-0.5 + 1j * imaginary, into @ p.to(into), into @ b.to(into), basis)


def bilinear(a: Tensor, b: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """Tustin's discretisation of dh/dt = a h + b u: (D, N, N) and (D, N) for steps (D,)."""
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    half = step[:, None, None] / 2 * a
    inverse = torch.linalg.inv(eye - half)
    return inverse @ (eye + half), (inverse @ (step[:, None] * b)[..., None])[..., 0]
