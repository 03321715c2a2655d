"""How sure a search may be of its end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofold.learn.loop_score.confidence import (
    CONSENSUS_WEIGHT,
    Confidence,
    confidence_features,
    consensus_distance,
    fit_confidence,
)


def test_liked_ones_that_lie_together_are_more_telling_than_those_apart() -> None:
    value = np.linspace(-6.0, -4.0, 20)
    together, apart = (
        confidence_features(value, np.full(20, 0.5), -6.0, 12),
        confidence_features(value, np.full(20, 5.0), -6.0, 12),
    )
    assert together[2] < apart[2] and together[3] > apart[3]


def test_a_lead_is_over_other_loops_only() -> None:
    value, near = np.array([-6.0, -5.9, -4.0]), np.array([0.0, 0.4, 6.0])
    assert confidence_features(value, near, -6.0, 8)[3] == pytest.approx(2.0)
    assert confidence_features(value, np.zeros(3), -6.0, 8)[3] == 3.0
    assert np.isfinite(confidence_features(np.empty(0), np.empty(0), -6.0, 8)).all()


def test_the_fit_finds_what_made_the_data_and_its_interval_holds_its_share() -> None:
    noise = np.random.default_rng(0)
    told = np.column_stack([np.ones(400), noise.normal(2.2, 0.3, 400), noise.normal(0, 1, 400),
                            noise.normal(1, 1, 400), noise.normal(-0.5, 0.1, 400)])  # fmt: skip
    truth = np.array([-0.5, 0.4, 0.6, -0.2, 0.3])
    rmsd = np.exp(told @ truth + 0.4 * noise.standard_normal(400))
    model = fit_confidence(list(told), rmsd.tolist())
    assert np.array(model.weight)[2:4] == pytest.approx(truth[2:4], abs=0.08)
    fresh = np.exp(told @ truth + 0.4 * noise.standard_normal(400))
    ends = np.array([model.rmsd(row) for row in told])
    inside = ((fresh > ends[:, 1]) & (fresh < ends[:, 2])).mean()
    assert inside == pytest.approx(0.68, abs=0.07)
    assert Confidence.of({"confidence": model.as_dict()}).rmsd(told[0]) == pytest.approx(model.rmsd(told[0]), rel=1e-3)
    assert Confidence.of({}) is None


@given(st.lists(st.floats(-8, 2), min_size=1, max_size=30), st.floats(-8, 2), st.integers(3, 20))
def test_numbers_are_numbers(values: list[float], own: float, length: int) -> None:
    apart = np.abs(np.sin(np.arange(len(values)))) * 8
    told = confidence_features(np.array(values), apart, own, length)
    assert told.shape == (5,) and np.isfinite(told).all()
    low, high = sorted((-0.5, 0.7))
    middle, below, above = Confidence((0.1, 0.2, 0.3, -0.1, 0.0), low, high, 9).rmsd(told)
    assert 0 < below < middle < above


def test_the_middle_of_what_is_liked_agrees_most() -> None:
    place = np.array([0.0, 0.3, 0.1, 6.0])
    apart, value = np.abs(place[:, None] - place), np.array([-5.0, -5.0, -5.0, -5.2])
    away = consensus_distance(value, apart)
    assert away.argmin() in (0, 1, 2) and away.argmax() == 3
    assert (value + CONSENSUS_WEIGHT * away).argmin() != value.argmin()
    assert np.array_equal(consensus_distance(np.empty(0), np.empty((3, 0))), np.zeros(3))
    alone = consensus_distance(np.array([-9.0, 0.0]), np.array([[0.0, 2.0], [2.0, 0.0]]))
    assert alone[0] < 0.01 < 1.9 < alone[1]  # nobody likes the second
