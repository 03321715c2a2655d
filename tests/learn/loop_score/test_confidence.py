"""Confidence in the end of a search: features and fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofold.learn.loop_score.confidence import (
    Confidence,
    confidence_features,
    fit_confidence,
    probability_within,
    residue_errors,
)


def test_low_scores_close_together_give_less_spread_and_a_larger_lead() -> None:
    value = np.linspace(-6.0, -4.0, 20)
    close, distance = (
        confidence_features(value, np.full(20, 0.5), -6.0, 12),
        confidence_features(value, np.full(20, 5.0), -6.0, 12),
    )
    assert close[2] < distance[2] and close[3] > distance[3]


def test_a_lead_is_over_other_loops_only() -> None:
    value, near = np.array([-6.0, -5.9, -4.0]), np.array([0.0, 0.4, 6.0])
    assert confidence_features(value, near, -6.0, 8)[3] == pytest.approx(2.0)
    assert confidence_features(value, np.zeros(3), -6.0, 8)[3] == 3.0
    assert np.isfinite(confidence_features(np.empty(0), np.empty(0), -6.0, 8)).all()


def test_the_fit_finds_what_made_the_data_and_its_interval_holds_its_share() -> None:
    noise = np.random.default_rng(0)
    features = np.column_stack([np.ones(400), noise.normal(2.2, 0.3, 400), noise.normal(0, 1, 400),
                            noise.normal(1, 1, 400), noise.normal(-0.5, 0.1, 400)])  # fmt: skip
    truth = np.array([-0.5, 0.4, 0.6, -0.2, 0.3])
    rmsd = np.exp(features @ truth + 0.4 * noise.standard_normal(400))
    model = fit_confidence(list(features), rmsd.tolist())
    assert np.array(model.weight)[2:4] == pytest.approx(truth[2:4], abs=0.08)
    fresh = np.exp(features @ truth + 0.4 * noise.standard_normal(400))
    ends = np.array([model.predict_rmsd(row) for row in features])
    inside = ((fresh > ends[:, 1]) & (fresh < ends[:, 2])).mean()
    assert inside == pytest.approx(0.68, abs=0.07)
    assert Confidence.of({"confidence": model.as_dict()}).predict_rmsd(features[0]) == pytest.approx(
        model.predict_rmsd(features[0]), rel=1e-3
    )
    assert Confidence.of({}) is None


def test_the_interval_is_wider_where_the_surroundings_were_repacked_if_that_is_less_certain() -> None:
    noise = np.random.default_rng(1)
    features = np.column_stack([np.ones(400), noise.normal(0, 1, (400, 4))])
    repacked = np.arange(400) % 3 == 0
    rmsd = np.exp(0.5 * features[:, 2] + np.where(repacked, 0.9, 0.3) * noise.standard_normal(400))
    model = fit_confidence(list(features), rmsd.tolist(), repacked.tolist())
    assert model.repacked_width == pytest.approx(3.0, rel=0.3)
    ends = np.array([model.predict_rmsd(row, bool(wide)) for row, wide in zip(features, repacked, strict=True)])
    inside = (rmsd > ends[:, 1]) & (rmsd < ends[:, 2])
    assert inside[repacked].mean() == pytest.approx(0.68, abs=0.1)
    assert inside[~repacked].mean() == pytest.approx(0.68, abs=0.07)
    card = {"confidence": model.as_dict()}
    assert Confidence.of(card).predict_rmsd(features[0], True) == pytest.approx(
        model.predict_rmsd(features[0], True), rel=1e-3
    )
    alike = fit_confidence(list(features), rmsd.tolist())
    assert alike.repacked_width == 1.0 and alike.predict_rmsd(features[1], True) == alike.predict_rmsd(features[1])


def test_the_interval_is_wider_where_the_candidates_are_far_apart_if_that_is_less_certain() -> None:
    noise = np.random.default_rng(2)
    features = np.column_stack([np.ones(400), noise.normal(0, 1, (400, 4))])
    rmsd = np.exp(features[:, 2] + 0.8 * np.exp(0.5 * features[:, 2]) * noise.standard_normal(400))
    model = fit_confidence(list(features), rmsd.tolist())
    assert model.spread_width == pytest.approx(0.5, abs=0.15)
    assert model.usual_spread == pytest.approx(np.exp(features[:, 2].mean()))
    ends = np.array([model.predict_rmsd(row) for row in features])
    inside = (rmsd > ends[:, 1]) & (rmsd < ends[:, 2])
    for wide in (features[:, 2] > 0, features[:, 2] < 0):
        assert inside[wide].mean() == pytest.approx(0.68, abs=0.08)
    widths = np.log(ends[:, 2] / ends[:, 1])
    assert np.array_equal(np.argsort(widths), np.argsort(features[:, 2]))
    assert Confidence.of({"confidence": model.as_dict()}) is not None


def test_no_larger_rmsd_is_expected_than_any_of_the_fit() -> None:
    """A search whose candidates spread further than all that were seen says "wrong", not "wrong by 30 A"."""
    spread = np.linspace(-1, 1.5, 40)
    features = np.column_stack([np.ones(40), np.full(40, 2.4), spread, np.zeros(40), np.zeros(40)])
    rmsd = np.exp(spread + 0.1 * np.sin(np.arange(40)))
    model = fit_confidence(list(features), rmsd.tolist())
    far = model.predict_rmsd(np.array([1.0, 2.4, 6.0, 0.0, 0.0]))
    assert far[0] == pytest.approx(rmsd.max()) and far[1] < far[0] < far[2]
    assert model.predict_rmsd(features[3])[0] == pytest.approx(rmsd[3], rel=0.3)


@given(st.lists(st.floats(-8, 2), min_size=1, max_size=30), st.floats(-8, 2), st.integers(3, 20))
def test_features_are_finite_and_the_interval_holds_the_median(
    values: list[float], model_score: float, length: int
) -> None:
    distance = np.abs(np.sin(np.arange(len(values)))) * 8
    features = confidence_features(np.array(values), distance, model_score, length)
    assert features.shape == (5,) and np.isfinite(features).all()
    low, high = sorted((-0.5, 0.7))
    middle, below, above = Confidence((0.1, 0.2, 0.3, -0.1, 0.0), low, high, 9).predict_rmsd(features)
    assert 0 < below < middle < above


@given(
    st.floats(0.2, 5.0),
    st.floats(1.05, 4.0),
    st.floats(1.05, 4.0),
    st.lists(st.floats(0.05, 30.0), min_size=2, max_size=8),
)
def test_probabilities_follow_from_the_interval(median: float, below: float, above: float, limits: list[float]) -> None:
    interval = (median, median / below, median * above)
    assert probability_within(interval, median) == pytest.approx(0.5)
    inside = probability_within(interval, interval[2]) - probability_within(interval, interval[1])
    assert inside == pytest.approx(0.6827, abs=1e-4)
    chances = [probability_within(interval, limit) for limit in sorted(limits)]
    assert chances == sorted(chances) and chances[0] >= 0 and chances[-1] <= 1


@given(
    st.integers(1, 20).flatmap(
        lambda length: st.lists(
            st.lists(st.floats(0.0, 400.0), min_size=length, max_size=length), min_size=1, max_size=12
        )
    ),
    st.floats(-8, 2),
    st.floats(0.1, 12.0),
)
def test_the_mean_square_of_the_errors_is_the_expected_rmsd_squared(
    squares: list[list[float]], model_score: float, expected: float
) -> None:
    distance = np.array(squares)
    error = residue_errors(np.linspace(-6, -2, len(distance)), distance, model_score, expected)
    assert np.sqrt(np.square(error).mean()) == pytest.approx(expected)
    assert (error > 0).all()


@given(st.lists(st.floats(0.0, 100.0), min_size=2, max_size=12), st.data())
def test_a_residue_where_the_candidates_spread_more_is_less_certain(spread: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(spread) - 1))
    score, one = np.zeros(3), np.tile(spread, (3, 1))
    other = one.copy()
    other[1, at] += 20.0
    before, after = (residue_errors(score, distance, -1.0, 2.0) for distance in (one, other))
    assert after[at] > before[at] and (np.delete(after, at) < np.delete(before, at)).all()
    order = np.argsort(spread, kind="stable")
    assert (np.diff(before[order]) >= 0).all()


def test_high_scores_have_no_say_and_no_candidates_make_all_residues_alike() -> None:
    near, far = np.array([1.0, 4.0, 1.0]), np.array([400.0, 0.0, 0.0])
    assert residue_errors(np.array([-9.0, 0.0]), np.stack([near, far]), -9.0, 1.0) == pytest.approx(
        residue_errors(np.array([-9.0]), near[None], -9.0, 1.0), rel=1e-3
    )
    assert residue_errors(np.empty(0), np.empty((0, 3)), -9.0, 1.5).tolist() == [1.5] * 3
