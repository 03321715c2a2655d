"""Bivariate von Mises mixtures: densities, derivatives, samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import comb, ive

from geofold.learn.von_mises import log_density, log_normaliser, mixture_from_outputs, parameter_count, sample


def outputs(*shape: int, components: int = 4, seed: int = 0) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, parameter_count(components), generator=noise, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
def test_density_sums_to_one_and_is_periodic(seed: int) -> None:
    mixture = mixture_from_outputs(outputs(seed=seed))
    grid = (torch.arange(720, dtype=torch.float64) + 0.5) * 2 * math.pi / 720
    angles = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    density = log_density(mixture, angles).exp()
    assert float(density.sum()) * (2 * math.pi / 720) ** 2 == pytest.approx(1.0, abs=1e-9)
    turned = log_density(mixture, angles - 2 * math.pi).exp()
    torch.testing.assert_close(turned, density, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("k1", "k2", "l"), [(0.5, 0.5, 0.3), (5.0, 2.0, -2.5), (40.0, 30.0, 20.0), (400.0, 400.0, 390.0)]
)
def test_normaliser_is_the_series_of_the_paper(k1: float, k2: float, l: float) -> None:  # noqa: E741
    """Z = 4 pi^2 sum_m binom(2m, m) (l^2 / 4 k1 k2)^m I_m(k1) I_m(k2), with scaled Bessel functions."""
    order = np.arange(150 if k1 < 100 else 400)
    with np.errstate(over="ignore", invalid="ignore"):
        logs = np.log(comb(2 * order, order)) + order * math.log(l * l / (4 * k1 * k2))
        terms = np.exp(logs) * ive(order, k1) * ive(order, k2)
    terms = terms[np.isfinite(terms)]
    expected = math.log(4 * math.pi**2 * terms.sum()) + k1 + k2
    value = log_normaliser(torch.tensor([k1, k2], dtype=torch.float64), torch.tensor(l, dtype=torch.float64))
    assert float(value) == pytest.approx(expected, abs=1e-6 if k1 > 100 else 1e-10)


def test_gradient_is_finite_where_densities_are_sharp_or_flat() -> None:
    for scale in (0.0, 30.0):
        raw = (scale * outputs(50)).requires_grad_(True)
        log_density(mixture_from_outputs(raw), torch.zeros(50, 2, dtype=torch.float64)).sum().backward()
        assert raw.grad is not None and bool(raw.grad.isfinite().all())


def test_single_precision_follows_double() -> None:
    raw, angles = outputs(200), torch.rand(200, 2, dtype=torch.float64) * 6
    torch.testing.assert_close(
        log_density(mixture_from_outputs(raw.float()), angles.float()).double(),
        log_density(mixture_from_outputs(raw), angles),
        rtol=1e-4,
        atol=1e-3,
    )


def test_samples_have_the_density() -> None:
    """Frequencies in the cells of a coarse grid, and the coupling's sign."""
    mixture = mixture_from_outputs(outputs(components=2, seed=5))
    drawn = sample(type(mixture)(*(part.expand(40_000, *part.shape) for part in mixture)), np.random.default_rng(0))
    assert float(drawn.abs().max()) <= math.pi
    edges = np.linspace(-math.pi, math.pi, 9)
    counts = np.histogram2d(drawn[:, 0].numpy(), drawn[:, 1].numpy(), bins=[edges, edges])[0] / len(drawn)
    fine = (torch.arange(400, dtype=torch.float64) + 0.5) * 2 * math.pi / 400 - math.pi
    density = log_density(mixture, torch.stack(torch.meshgrid(fine, fine, indexing="ij"), -1)).exp()
    expected = density.view(8, 50, 8, 50).sum((1, 3)).numpy() * (2 * math.pi / 400) ** 2
    assert np.abs(counts - expected).max() < 4 * math.sqrt(0.25 / 40_000)


def test_same_seed_same_samples() -> None:
    mixture = mixture_from_outputs(outputs(30))
    one, second = (sample(mixture, np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(one, second)
