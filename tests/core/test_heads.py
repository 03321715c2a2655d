"""Observation heads: the weight of the metric is the Fisher information of the likelihood."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.core.heads import (
    categorical_nll,
    categorical_observation,
    gaussian_information,
    gaussian_nll,
    von_mises_information,
    von_mises_nll,
)

TEMPERATURE = st.floats(0.5, 2.0)


def score_variance(nll, location: float, grid: torch.Tensor) -> tuple[float, float]:
    """Total probability and E[(d log p / d location)^2] by the trapezoidal rule."""
    at = torch.full_like(grid, location, requires_grad=True)
    value = nll(grid, at)
    (score,) = torch.autograd.grad(value.sum(), at)
    density = torch.exp(-value.detach())
    return float(torch.trapezoid(density, grid)), float(torch.trapezoid(density * score.square(), grid))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-4, 4), TEMPERATURE)
def test_gaussian(log_precision, temperature):
    weight = torch.tensor(log_precision, dtype=torch.float64)
    sigma = temperature * math.exp(-log_precision / 2)
    grid = torch.linspace(0.7 - 12 * sigma, 0.7 + 12 * sigma, 4001, dtype=torch.float64)
    total, variance = score_variance(lambda y, m: gaussian_nll(y, m, weight, temperature), 0.7, grid)
    assert total == pytest.approx(1, rel=1e-9)
    assert variance == pytest.approx(float(gaussian_information(weight, temperature)), rel=1e-8)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.floats(-3, 4), TEMPERATURE)
def test_von_mises(decades, temperature):
    sharp = torch.tensor(10**decades, dtype=torch.float64)
    width = min(math.pi, 14 * temperature / math.sqrt(float(sharp)))
    grid = torch.linspace(0.7 - width, 0.7 + width, 20001, dtype=torch.float64)
    total, variance = score_variance(lambda y, m: von_mises_nll(y, m, sharp, temperature), 0.7, grid)
    assert total == pytest.approx(1, rel=1e-6)
    assert variance == pytest.approx(float(von_mises_information(sharp, temperature)), rel=1e-5)


def test_von_mises_limits():
    """kappa - 1/2 when sharp (where exp(kappa) overflows), kappa^2 / 2 when flat, zero at zero."""
    sharp = torch.tensor([1e3, 1e5, 1e12], dtype=torch.float64)
    torch.testing.assert_close(von_mises_information(sharp), sharp - 0.5, rtol=1e-3, atol=0)
    flat = torch.tensor([0.0, 1e-4, 1e-2], dtype=torch.float64)
    torch.testing.assert_close(von_mises_information(flat), flat.square() / 2, rtol=1e-3, atol=0)
    turned = von_mises_nll(torch.tensor(3.1), torch.tensor(-3.1), torch.tensor(5.0))
    torch.testing.assert_close(
        turned, von_mises_nll(torch.tensor(3.1 - 2 * math.pi), torch.tensor(-3.1), torch.tensor(5.0))
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(2, 8), TEMPERATURE)
def test_square_root_map_makes_the_categorical_information_diagonal(seed, classes, temperature):
    """J'J of 2 sqrt(p) is (diag(p) - pp') / T^2: the Fisher information in the logits, from the score's variance."""
    noise = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(classes, generator=noise, dtype=torch.float64)
    jacobian = torch.func.jacfwd(lambda x: categorical_observation(x, temperature))(logits)
    p = torch.softmax(logits / temperature, -1)
    torch.testing.assert_close(jacobian.T @ jacobian, (torch.diag(p) - p[:, None] * p) / temperature**2)
    score = torch.stack(
        [
            torch.func.grad(lambda x, k=k: categorical_nll(torch.tensor(k), x, temperature))(logits)
            for k in range(classes)
        ]
    )
    torch.testing.assert_close(torch.einsum("k,ki,kj->ij", p, score, score), jacobian.T @ jacobian)
    torch.testing.assert_close(
        categorical_observation(logits, temperature).square().sum() / 4, torch.tensor(1.0).double()
    )


@pytest.mark.parametrize("found", [0.5, 1.0, 3.0])
def test_temperature_that_fits_held_out_errors_states_them(found):
    """The likelihood of errors `found` times as large as stated is best at that temperature."""
    noise = torch.Generator().manual_seed(0)
    error = found * torch.randn(20000, generator=noise, dtype=torch.float64)
    trials = [found * t for t in (0.8, 0.9, 1.0, 1.1, 1.25)]
    cost = [float(gaussian_nll(error, torch.zeros(1), torch.zeros(1), t).mean()) for t in trials]
    assert min(cost) == cost[2]
