"""Outcomes with fewer frames keep their ends and what was spent on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from geofold.modelling.outcome import StreamOutcome, inner_steps_per_frame

FRAMES = np.arange(10.0)[:, None, None] * np.ones((1, 2, 3))
OUTCOME = StreamOutcome(cast(Any, None), np.arange(2), FRAMES, "done", "none", depth=tuple(range(10)))


@pytest.mark.parametrize("most", [2, 3, 7, 9])
def test_thinning_keeps_the_ends_and_the_sum(most: int) -> None:
    thin = OUTCOME.thinned(most)
    assert len(thin.frames) == len(thin.depths) == most
    np.testing.assert_array_equal(thin.frames[[0, -1]], FRAMES[[0, -1]])
    assert (np.diff(thin.frames[:, 0, 0]) > 0).all()
    assert sum(k for k in inner_steps_per_frame([thin]) if k is not None) == sum(OUTCOME.depth)


def test_few_frames_stay_and_unknown_depths_stay_unknown() -> None:
    assert OUTCOME.thinned(10) is OUTCOME
    assert replace(OUTCOME, depth=()).thinned(4).depths == (None,) * 4
    assert replace(OUTCOME, depth=(1, 2)).thinned(3).depths == (None, None, None)
    assert replace(OUTCOME, depth=(1, 2)).thinned(10).depths == (None,) * 8 + (1, 2)
