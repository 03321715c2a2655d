"""HiPPO's matrices and what they remember."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from geofold.backbone.hippo import bilinear, legendre, legs, legs_memory, legs_nplr, legt, reconstruct


def band_limited(t: torch.Tensor) -> torch.Tensor:
    """A signal on [0, 1] of a few low frequencies."""
    return sum(torch.sin(2 * math.pi * f * t + f) / f for f in (1.0, 2.0, 3.5))  # type: ignore[return-value]


def test_basis_is_orthonormal() -> None:
    x, w = map(torch.as_tensor, np.polynomial.legendre.leggauss(40))
    phi = legendre((x + 1) / 2, 20)
    torch.testing.assert_close(phi.mT @ (phi * w[:, None] / 2), torch.eye(20, dtype=torch.float64), rtol=0, atol=1e-12)


def test_legs_is_the_closed_form_of_the_slides() -> None:
    a, b = legs(7)
    for n in range(7):
        assert float(b[n]) == math.sqrt(2 * n + 1)
        for k in range(7):
            expected = math.sqrt(2 * n + 1) * math.sqrt(2 * k + 1) if n > k else n + 1 if n == k else 0.0
            assert float(a[n, k]) == pytest.approx(expected, rel=1e-15)


def test_legs_reconstructs_a_band_limited_signal_the_better_the_more_it_remembers() -> None:
    count = 2000
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    signal, errors = band_limited(t), []
    for states in (4, 8, 12, 16, 24):
        remembered = reconstruct(legs_memory(signal, states)[-1], t)
        errors.append(float((remembered - signal).square().mean().sqrt()))
    assert all(b < a for a, b in pairwise(errors)), errors
    assert errors[-1] < 1e-5


def test_legs_coefficients_are_the_projections() -> None:
    """At every time, c_n is the mean of u phi_n over the past, the past scaled to [0, 1]."""
    signal = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = legs_memory(signal, 6)
    x, w = map(torch.as_tensor, np.polynomial.legendre.leggauss(8))
    for now in (1, 7, 50):
        # each held sample covers [k, k + 1] / now
        z = (torch.arange(now)[:, None] + (x + 1) / 2) / now
        expected = torch.einsum("k,kqn,q->n", signal[:now], legendre(z, 6), w / 2) / now
        torch.testing.assert_close(result[now - 1], expected, rtol=1e-10, atol=1e-10)


def test_legt_remembers_a_window() -> None:
    """After a window has gone by, its coefficients are the projections of that window (up to truncation)."""
    count, states, h = 6000, 24, 1 / 2000
    a, b = legt(states, 1.0)
    t = torch.arange(count, dtype=torch.float64) * h
    signal = band_limited(t)
    step, drive = (v[0] for v in bilinear(-a[None], b[None], torch.tensor([h], dtype=torch.float64)))
    c = torch.zeros(states, dtype=torch.float64)
    for value in signal:
        c = step @ c + drive * value
    z = torch.linspace(0.02, 0.98, 50, dtype=torch.float64)
    torch.testing.assert_close(reconstruct(c, z), band_limited(t[-1] - (1 - z)), rtol=0, atol=0.02)


@pytest.mark.parametrize("count", [2, 8, 32])
def test_normal_plus_low_rank_is_legs(count: int) -> None:
    form = legs_nplr(count)
    a, b = legs(count)
    whole = (
        form.basis @ (torch.diag(form.eigenvalues) - torch.outer(form.low_rank, form.low_rank.conj())) @ form.basis.mH
    )
    torch.testing.assert_close(whole, -a.to(whole), rtol=0, atol=1e-10 * count)
    torch.testing.assert_close(form.basis @ form.b, b.to(whole), rtol=0, atol=1e-12 * count)
    assert float((form.basis @ form.basis.mH - torch.eye(count)).abs().max()) < 1e-12
