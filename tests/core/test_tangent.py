"""Spaces: retract and minus undo each other, angles stay in their interval, small angles stay as they are."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from geofold.core.tangent import Euclid, Product, Torus, wrap

SPACES = [Euclid(), Torus(), Product((Euclid(), Torus()), (2, 3))]
angles = st.lists(st.floats(-math.pi, math.pi, exclude_max=True), min_size=5, max_size=5)
steps = st.lists(st.floats(-3.1, 3.1), min_size=5, max_size=5)


@pytest.mark.parametrize("space", SPACES, ids=lambda s: type(s).__name__)
@settings(max_examples=50, deadline=None, derandomize=True)
@given(angles, steps)
def test_minus_undoes_retract(space, z, step):
    a, d = torch.tensor([z], dtype=torch.float64), torch.tensor([step], dtype=torch.float64)
    torch.testing.assert_close(space.minus(space.retract(a, d), a), d, rtol=0, atol=1e-12)
    torch.testing.assert_close(space.minus(a, a), torch.zeros_like(a), rtol=0, atol=0)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(-1e3, 1e3))
@example(math.nextafter(-math.pi, -math.inf))
@example(math.nextafter(-3 * math.pi, -math.inf))
@example(math.pi)
@example(-math.pi)
def test_wrap_stays_in_its_interval_and_turns_by_whole_turns(angle):
    wrapped = float(wrap(torch.tensor(angle, dtype=torch.float64)))
    assert -math.pi <= wrapped < math.pi
    turns = (angle - wrapped) / (2 * math.pi)
    assert abs(turns - round(turns)) < 1e-9
    if -math.pi <= angle < math.pi:
        assert wrapped == angle
