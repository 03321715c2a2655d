"""Sketches of the pullback metric against what they estimate."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from problems import ZOO, curved_surface, expanded, linear_gaussian, rosenbrock, torus_arm

from geofold.core.linearise import Linearisation, evaluate_loss, linearise
from geofold.core.metric import WoodburyFactor
from geofold.core.pullback import SKETCHES, Pullback


def at_start(problem) -> Linearisation:
    state = problem.start()
    z = torch.zeros_like(state)
    return linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))


def information(at: Linearisation) -> torch.Tensor:
    """J'WJ by dense algebra."""
    jacobian = at.expansion.push(torch.eye(at.z.shape[-1], dtype=torch.float64)[:, None])[:, 0].T
    weight = torch.diag(at.weight[0])
    if at.stiff_directions is not None:
        weight = weight + at.stiff_directions[:, 0].T @ at.stiff_directions[:, 0]
    return jacobian.T @ weight @ jacobian


def stiffened(at: Linearisation, count: int = 2) -> Linearisation:
    """The same with directions along which the loss is stiff."""
    noise = torch.Generator().manual_seed(5)
    rows = torch.randn(count, 1, at.weight.shape[-1], generator=noise, dtype=torch.float64)
    return replace(at, stiff_directions=rows * at.weight.mean().sqrt())


def sketched(metric: Pullback, at: Linearisation, seed: int) -> torch.Tensor:
    """G - lambda I after one update, computed directly to avoid a Cholesky factor of 16,384 columns."""
    state = metric.update(metric.init(1, at.z.shape[-1], at.z), at, torch.zeros_like(at.z), seed)
    average = state.factor[0] / state.weight if metric.sketch == "nystrom" else state.factor[0] / state.weight.sqrt()
    return average if metric.sketch == "nystrom" else average @ average.T


def dense(factor) -> torch.Tensor:
    if isinstance(factor, WoodburyFactor):
        return (factor.columns @ factor.columns.mT)[0] + torch.diag(factor.diagonal[0])
    return factor.matrix[0]


def error(found: torch.Tensor, want: torch.Tensor) -> float:
    return float(torch.linalg.matrix_norm(found - want) / torch.linalg.matrix_norm(want))


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("sketch", ["fisher", "paper"])
@pytest.mark.parametrize("stiff", [False, True])
def test_random_columns_converge(make, sketch, stiff):
    """UU' tends to J'WJ (fisher) or, divided by r, to its square (paper), like one over the root of r."""
    at = stiffened(at_start(make())) if stiff else at_start(make())
    want = information(at) if sketch == "fisher" else information(at) @ information(at)
    errors = []
    for rank in (64, 1024, 16384):
        scale = 1 if sketch == "fisher" else 1 / rank
        metric = Pullback(sketch, rank=rank, informed=False, largest=1e15)
        each = [error(scale * sketched(metric, at, seed), want) for seed in range(8)]
        errors.append(math.sqrt(sum(e * e for e in each) / 8))
    slope = math.log(errors[-1] / errors[0]) / math.log(16384 / 64) if errors[0] > 1e-12 else -0.5
    assert -0.7 < slope < -0.3
    assert errors[-1] < 0.05


@pytest.mark.parametrize("make", ZOO)
def test_stiff_directions_are_part_of_the_metric_and_of_the_true_length(make):
    at = stiffened(at_start(make()))
    metric = Pullback("exact", damping=1e-9, largest=1e15)
    state = metric.update(metric.init(1, at.z.shape[-1], at.z), at, torch.zeros_like(at.z), 0)
    want = information(at)
    torch.testing.assert_close(state.factor[0] / state.weight, want, rtol=1e-9, atol=1e-12)
    v = torch.randn(1, at.z.shape[-1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(at.length_squared(v, 0.5), ((v @ want) * v).sum(-1) + 0.5 * v.square().sum(-1))
    shorter = replace(at, stiff_directions=None)
    assert float(at.length_squared(v, 0.0)[0]) > float(shorter.length_squared(v, 0.0)[0])


def test_nystrom_grows_to_the_whole_matrix():
    """Never above it, better with every probe, exact from the rank on."""
    problem = linear_gaussian(dim=12, observations=16)
    at = at_start(problem)
    want = information(at)
    mean = []
    for rank in (1, 3, 6, 9, 12, 20):
        found = [sketched(Pullback("nystrom", rank=rank, informed=False), at, seed) for seed in range(12)]
        for one in found:
            assert float(torch.linalg.eigvalsh(want - one)[0]) > -1e-9 * float(torch.linalg.matrix_norm(want, 2))
        mean.append(sum(error(one, want) for one in found) / 12)
    assert all(b < a for a, b in pairwise(mean[:4]))
    # twelve random signs may be dependent; twenty span
    assert mean[4] < 0.05 and mean[5] < 1e-8


@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
@pytest.mark.parametrize("make", [rosenbrock, linear_gaussian, torus_arm, curved_surface])
@pytest.mark.parametrize("sketch", ["exact", "nystrom"])
def test_average_of_a_constant_metric_stays_that_metric(make, wrap, sketch):
    """Over a thousand looks, from the first one on."""
    problem = wrap(make())
    at = at_start(problem)
    metric = Pullback(sketch, rank=16 * problem.dim, damping=1e-2, largest=1e15)
    state = metric.init(1, problem.dim, at.z)
    want = information(at) + 1e-2 * torch.eye(problem.dim, dtype=torch.float64)
    for number in range(1000 if wrap(problem) is problem and make is curved_surface else 60):
        state = metric.update(state, at, torch.zeros_like(at.z), number)
        torch.testing.assert_close(dense(metric.factor(state)), want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("sketch", ["fisher", "paper"])
def test_average_of_random_columns_keeps_its_expectation(sketch):
    """The mean of UU' over a thousand looks is what one look has in the mean: no bias, no pile-up."""
    problem = linear_gaussian()
    at = at_start(problem)
    metric = Pullback(sketch, rank=8, decay=0.8, informed=False, largest=1e15)
    want = information(at) if sketch == "fisher" else 8 * information(at) @ information(at)
    state, total = metric.init(1, problem.dim, at.z), torch.zeros_like(want)
    for number in range(1000):
        state = metric.update(state, at, torch.zeros_like(at.z), number)
        total += dense(metric.factor(state)) - metric.damping * torch.eye(problem.dim, dtype=torch.float64)
    assert error(total / 1000, want) < 0.1


@pytest.mark.parametrize("sketch", SKETCHES)
def test_without_adaptation_the_first_look_is_kept(sketch):
    problem = curved_surface()
    metric = Pullback(sketch, adapt=False)
    first = at_start(problem)
    state = problem.start()
    z = torch.tensor([[0.5, -0.4]], dtype=torch.float64)
    later = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))
    one = metric.update(metric.init(1, 2, first.z), first, torch.zeros_like(z), 0)
    two = metric.update(one, later, z, 1)
    assert torch.equal(one.factor, two.factor) and torch.equal(one.weight, two.weight)
    moving = Pullback(sketch)
    assert not torch.equal(one.factor, moving.update(one, later, z, 1).factor)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_rows_adapt_independently(sketch):
    """A row whose stream has not begun is filled, one that is frozen is not."""
    problem, metric = curved_surface(), Pullback(sketch, adapt=False)
    state = problem.start(2, 0.3)
    z = torch.zeros_like(state)
    at = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))
    empty = metric.init(2, 2, z)
    seen = metric.update(empty, at, z, 0)
    half = seen._replace(
        factor=torch.stack([seen.factor[0], empty.factor[1]]), weight=torch.stack([seen.weight[0], empty.weight[1]])
    )
    after = metric.update(half, at, z, 0)
    assert torch.equal(after.factor, seen.factor) and torch.equal(after.weight, seen.weight)


@pytest.mark.parametrize("sketch", ["paper", "nystrom"])
def test_informed_probes_in_the_latent(sketch):
    """The gradient and the last accepted step, as long as a random probe, lie in what the sketch has seen."""
    problem = linear_gaussian(dim=9, observations=12)
    at = at_start(problem)
    previous = torch.sin(torch.arange(9, dtype=torch.float64))[None]
    metric = Pullback(sketch, rank=4, informed=True, largest=1e15)
    found = dense(metric.factor(metric.update(metric.init(1, 9, at.z), at, previous, 3)))
    want = information(at)
    if sketch == "nystrom":  # exact on the span of its probes
        for probe in (at.gradient[0], previous[0]):
            torch.testing.assert_close((found - 1e-3 * torch.eye(9)) @ probe, want @ probe, rtol=1e-6, atol=1e-6)
    else:
        column = metric.update(metric.init(1, 9, at.z), at, previous, 3).factor[0, :, 0]
        assert abs(float(torch.cosine_similarity(column, want @ at.gradient[0], dim=0))) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("sketch", SKETCHES)
def test_condition_is_clamped_by_raising_lambda(sketch):
    problem = linear_gaussian()
    at, metric = at_start(problem), Pullback(sketch, damping=1e-3, largest=50.0)
    state = metric.update(metric.init(1, 5, at.z), at, torch.zeros_like(at.z), 0)
    factor = metric.factor(state)
    assert 1 <= float(factor.condition()) <= 50 * (1 + 1e-9)
    assert float(factor.damping) > 1e-3
    # the sketch itself is as it was: only the floor came up
    free = Pullback(sketch, damping=1e-3, largest=1e15).factor(state)
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(
        dense(factor) - float(factor.damping) * eye, dense(free) - 1e-3 * eye, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("sketch", SKETCHES)
def test_size_of_the_sketch_is_capped(sketch):
    problem = linear_gaussian()
    at, metric = at_start(problem), Pullback(sketch, damping=1e-3, cap=0.1)
    state = metric.update(metric.init(1, 5, at.z), at, torch.zeros_like(at.z), 0)
    top = float(torch.linalg.eigvalsh(dense(metric.factor(state)))[-1])
    assert top == pytest.approx(0.1**2 + 1e-3, rel=1e-9)


def test_a_small_lambda_leaves_a_tame_metric_alone():
    """Nine decades between lambda and a metric of size one: nothing is clamped at the default ceilings."""
    problem = curved_surface()
    at, metric = at_start(problem), Pullback("exact", damping=1e-7)
    state = metric.update(metric.init(1, 2, at.z), at, torch.zeros_like(at.z), 0)
    torch.testing.assert_close(dense(metric.factor(state)), information(at) + 1e-7 * torch.eye(2, dtype=torch.float64))


def test_unknown_sketch_is_refused():
    with pytest.raises(ValueError, match="expected one of exact, fisher, nystrom, paper"):
        Pullback("fischer")
