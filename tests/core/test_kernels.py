"""Kernels of the controller's algebra against the plain functions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geofold.core.domain import Expansion, Loss
from geofold.core.gate import Features, LearnedGate
from geofold.core.linearise import Linearisation
from geofold.core.metric import DenseFactor
from geofold.core.pullback import Pullback
from geofold.kernels.library import library, plain

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler here")
ROWS, DIM, OBSERVED = 3, 7, 20
NOISE = torch.Generator().manual_seed(6)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=NOISE, dtype=torch.float64)


def linearised(stiff: int) -> Linearisation:
    """Linearisation of a linear decoder."""
    jacobian = draw(ROWS, OBSERVED, DIM)

    def push(v: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bkd,pbd->pbk", jacobian, v)

    def pull(c: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bkd,pbk->pbd", jacobian, c)

    def gram(weight: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bki,bk,bkj->bij", jacobian, weight, jacobian)

    expansion = Expansion(None, push, pull, lambda v: draw(ROWS, OBSERVED), gram)  # type: ignore[arg-type]
    weight = draw(OBSERVED).square().expand(ROWS, -1)
    directions = draw(stiff, ROWS, OBSERVED) if stiff else None
    return Linearisation(draw(ROWS, DIM), Loss(draw(ROWS), {}), draw(ROWS, OBSERVED), draw(ROWS, DIM), weight,
                         expansion, directions)  # fmt: skip


def close_to(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("stiff", [0, 1, 3])
@torch.no_grad()
def test_metric_and_lengths_are_the_plain_ones(stiff: int) -> None:
    metric, at, v = Pullback(damping=0.1, decay=0.9), linearised(stiff), draw(ROWS, DIM)
    fast = slow = metric.init(ROWS, DIM, v)
    for _ in range(3):
        at = linearised(stiff)
        fast = metric.update(fast, at, v, 0)
        factor = metric.factor(fast)
        lengths = at.length_squared(v, factor.damping), at.apply_weight(draw(ROWS, OBSERVED)[[0] * ROWS])
        with plain():
            slow = metric.update(slow, at, v, 0)
            reference = metric.factor(slow)
            close_to(lengths[0], at.length_squared(v, reference.damping))
        close_to(fast.factor, slow.factor)
        close_to(fast.weight, slow.weight)
        assert isinstance(factor, DenseFactor) and isinstance(reference, DenseFactor)
        close_to(factor.cholesky, reference.cholesky)
        close_to(factor.solve(v), reference.solve(v))
        close_to(factor.times(factor.solve(v)), v)
        close_to(factor.condition(), reference.condition())


@pytest.mark.parametrize("stiff", [0, 2])
@torch.no_grad()
def test_weights_of_observations_are_the_plain_ones(stiff: int) -> None:
    at, y = linearised(stiff), draw(ROWS, OBSERVED)
    fast = at.apply_weight(y)
    with plain():
        close_to(fast, at.apply_weight(y))


@torch.no_grad()
def test_a_metric_beyond_its_limits_is_limited_either_way() -> None:
    metric, v = Pullback(damping=1e-3, largest=50.0), draw(ROWS, DIM)
    state = metric.update(metric.init(ROWS, DIM, v), linearised(0), v, 0)
    factor = metric.factor(state)
    with plain():
        close_to(factor.solve(v), metric.factor(state).solve(v))
    assert float(factor.condition().max()) <= 50 * (1 + 1e-9)


@torch.no_grad()
def test_a_learned_gate_decides_as_the_plain_one() -> None:
    gate = LearnedGate.start(seed=1)
    features = Features(draw(40).abs(), draw(40), draw(40).abs(), draw(40).abs() + 0.1, draw(40).abs(), draw(40).abs())
    for case in (features, replace_none(features)):
        fast = gate.open_logit(case), gate.depth_logits(case), gate.open(case), gate.depth(case)
        with plain():
            slow = gate.open_logit(case), gate.depth_logits(case), gate.open(case), gate.depth(case)
        for one, other in zip(fast, slow, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    assert replace(gate, name="other").open(features).any()


def replace_none(features: Features) -> Features:
    """Features of a predictor whose motion is not known."""
    return features._replace(motion=None)
