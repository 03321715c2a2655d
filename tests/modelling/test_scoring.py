"""Costs of loop models: terms add up to totals, and every term has a weight."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geofold.modelling.scoring import (
    BREEDING,
    COINCIDENT_ENERGY,
    FOUND,
    GUIDING,
    REFINED,
    SEARCH,
    Scores,
    Weights,
    finite_energies,
)

STAGES = {"breeding": BREEDING, "guiding": GUIDING, "search": SEARCH, "found": FOUND, "refined": REFINED}
VALUES = arrays.arrays(float, (len(fields(Scores)), 5), elements=st.floats(-100.0, 100.0))


def scores_of(values: np.ndarray) -> Scores:
    return Scores(*np.abs(values[:1]), *np.abs(values[1:]))


def test_every_term_has_a_weight() -> None:
    terms = {field.name for field in fields(Scores)}
    assert terms | {"log_clash"} == {field.name for field in fields(Weights)}


@pytest.mark.parametrize("stage", STAGES)
@given(values=VALUES)
def test_contributions_add_up_to_the_total(stage: str, values: np.ndarray) -> None:
    scores, weights = scores_of(values), STAGES[stage]
    np.testing.assert_allclose(sum(scores.contributions(weights).values()), scores.total(weights), atol=1e-9)


@pytest.mark.parametrize("stage", STAGES)
@given(values=VALUES)
def test_a_larger_term_never_lowers_the_cost(stage: str, values: np.ndarray) -> None:
    scores, weights = scores_of(values), STAGES[stage]
    worse = Scores(*(getattr(scores, field.name) + 1.0 for field in fields(Scores)))
    assert (worse.total(weights) > scores.total(weights)).all()


@given(values=VALUES)
def test_rows_are_scored_independently(values: np.ndarray) -> None:
    scores, order = scores_of(values), [3, 0, 2]
    np.testing.assert_array_equal(scores.take(order).total(REFINED), scores.total(REFINED)[order])
    halves = Scores.concatenate([scores.take([0, 1]), scores.take([2, 3, 4])])
    np.testing.assert_array_equal(halves.total(SEARCH), scores.total(SEARCH))


def test_terms_that_are_not_given_count_as_zero() -> None:
    scores = Scores.of(np.array([1.0, 2.0]), clash=3.0)
    np.testing.assert_allclose(scores.total(REFINED), [1.0 + REFINED.clash * 3.0, 2.0 + REFINED.clash * 3.0])


def test_infinite_energies_rank_last_unless_all_are_infinite() -> None:
    energy = np.array([-100.0, np.inf, np.nan])
    assert finite_energies(energy).tolist() == [-100.0, COINCIDENT_ENERGY, 0.0]
    assert finite_energies(np.array([np.inf, np.nan])).tolist() == [0.0, 0.0]
