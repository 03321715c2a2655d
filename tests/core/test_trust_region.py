"""Trust region: which step, whether it is taken, what the radius learns."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.core.trust_region import TrustRegion

REGION = TrustRegion()
size = st.floats(1e-6, 1e6)


def row(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(size, size)
def test_alpha_is_the_largest_of_the_backtracking_set_that_fits(length, radius):
    alpha = float(REGION.step_fraction(row(length), row(radius)))
    fitting = [a for a in (1.0, 0.5, 0.25) if a * length <= radius]
    assert alpha == (max(fitting) if fitting else radius / length)
    assert alpha * length <= radius * (1 + 1e-12)


def test_zero_length_makes_no_division_trouble():
    alpha = REGION.step_fraction(row(0.0, 0.0), row(0.5, 1e-300))
    assert torch.equal(alpha, row(1.0, 1.0))
    assert torch.equal(REGION.predicted_decrease(alpha, row(0.0, 0.0), row(0.0, 0.0)), row(0.0, 0.0))
    assert not REGION.accept(row(0.0), row(0.0)).any()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-1e3, 1e3), st.floats(1e-9, 1e3))
def test_acceptance_is_the_ratio_test_where_there_is_a_ratio(actual, predicted):
    taken = bool(REGION.accept(row(actual), row(predicted)))
    assert taken == (actual > 0 and actual >= REGION.low * predicted)


def test_nothing_but_a_finite_decrease_is_taken():
    actual = row(math.nan, math.inf, -math.inf, 0.0, -1.0, 1.0, 1.0)
    predicted = row(1.0, 1.0, 1.0, 0.0, -2.0, math.nan, -1.0)
    assert REGION.accept(actual, predicted).tolist()[:5] == [False] * 5
    assert bool(REGION.accept(actual, predicted)[6])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(0.01, 4.0), st.floats(-10, 10), st.floats(-10, 10), st.floats(0, 4.0), st.booleans())
def test_radius_stays_between_floor_and_ceiling(radius, actual, predicted, length, taken):
    new = float(REGION.update(row(radius), row(actual), row(predicted), row(length), torch.tensor([taken])))
    assert REGION.smallest <= new <= REGION.largest
    if not taken:
        assert new == max(radius * REGION.shrink, REGION.smallest)
    elif actual < REGION.high * predicted or length < radius / 2:
        assert new == radius
    else:
        assert new == min(radius * REGION.grow, REGION.largest)


def test_a_radius_at_the_floor_grows_again_with_good_steps():
    radius = row(REGION.smallest)
    for _ in range(20):
        radius = REGION.update(radius, row(1.0), row(1.0), radius, torch.tensor([True]))
    assert float(radius) == REGION.largest
