"""The metrics' common interface: positive definite, solved as dense algebra would, clamped, pure."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import ZOO, curved_surface, expanded, linear_gaussian, rosenbrock

from geofold.core.covariance import LatentCovariance
from geofold.core.learned_metric import LearnedMetric
from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.metric import DenseFactor, EuclideanMetric, WoodburyFactor
from geofold.core.pullback import SKETCHES, Pullback


def at_start(problem, batch=1, spread=0.0):
    state = problem.start(batch, spread)
    z = torch.zeros_like(state)
    return linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def every_metric(dim: int):
    noise = torch.randn(40, dim, generator=rng(1), dtype=torch.float64)
    learned = LearnedMetric.start(dim, rank=3, seed=2)
    loud = LearnedMetric(learned.hidden_weight, learned.hidden_bias, 50 * learned.head_weight, learned.head_bias)
    pullbacks = [Pullback(sketch, rank=r) for sketch in SKETCHES for r in (1, 2, 8)]
    return [
        *pullbacks,
        EuclideanMetric(),
        LatentCovariance.of(noise),
        LatentCovariance.of(noise, rank=2),
        learned,
        loud,
    ]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 12), st.floats(0, 6))
def test_woodbury_equals_the_dense_inverse(seed, dim, rank, decades):
    """U with singular values spread so that G has condition numbers up to a million."""
    noise, damping = rng(seed), 1e-3
    columns = torch.randn(2, dim, rank, generator=noise, dtype=torch.float64)
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    size = (damping * 10 ** torch.linspace(0, decades, min(dim, rank), dtype=torch.float64)).sqrt()
    columns = left * size @ right
    g = torch.randn(2, dim, generator=noise, dtype=torch.float64)
    dense = damping * torch.eye(dim, dtype=torch.float64) + columns @ columns.mT
    factor = WoodburyFactor.of(columns, torch.full((2, dim), damping, dtype=torch.float64), uniform=True)
    full = DenseFactor.of(columns @ columns.mT, torch.full((2,), damping, dtype=torch.float64))
    reference = torch.linalg.solve(dense, g)
    bound = 1e-10 * float(reference.abs().max())
    torch.testing.assert_close(factor.solve(g), reference, rtol=0, atol=bound)
    torch.testing.assert_close(full.solve(g), reference, rtol=0, atol=bound)
    length = (g[:, None] @ dense @ g[..., None])[:, 0, 0]
    for one in (factor, full):
        torch.testing.assert_close(one.quadratic(g), length)
        torch.testing.assert_close(one.norm(g), length.sqrt())
        torch.testing.assert_close(one.times(g), (dense @ g[..., None])[..., 0])
        torch.testing.assert_close(one.damping, torch.full((2,), damping, dtype=torch.float64))
    torch.testing.assert_close(full.condition(), torch.linalg.cond(dense), rtol=1e-6, atol=0)
    torch.testing.assert_close(factor.condition(), torch.linalg.cond(dense), rtol=1e-6, atol=0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 12))
def test_woodbury_with_any_diagonal(seed, dim, rank):
    noise = rng(seed)
    columns = torch.randn(2, dim, rank, generator=noise, dtype=torch.float64)
    diagonal = 10 ** (4 * torch.rand(2, dim, generator=noise, dtype=torch.float64) - 3)
    g = torch.randn(2, dim, generator=noise, dtype=torch.float64)
    dense = torch.diag_embed(diagonal) + columns @ columns.mT
    factor = WoodburyFactor.of(columns, diagonal)
    torch.testing.assert_close(factor.solve(g), torch.linalg.solve(dense, g), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(factor.condition(), torch.linalg.cond(dense), rtol=1e-6, atol=0)


def test_single_precision_latents_are_solved_in_double():
    """At condition 1e6 an algebra in float32 is off by tens of per cent."""
    noise = rng(3)
    left = torch.linalg.qr(torch.randn(6, 6, generator=noise, dtype=torch.float64))[0]
    columns = (left[:, :4] * torch.logspace(0, 3, 4, dtype=torch.float64) * 1e-3**0.5)[None]
    g = torch.randn(1, 6, generator=noise)
    dense = 1e-3 * torch.eye(6, dtype=torch.float64) + columns[0] @ columns[0].T
    solved = WoodburyFactor.of(columns, torch.full((1, 6), 1e-3, dtype=torch.float64)).solve(g)
    assert solved.dtype == torch.float32
    torch.testing.assert_close(solved[0].double(), torch.linalg.solve(dense, g[0].double()), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
def test_every_metric_is_symmetric_positive_definite(make, wrap):
    problem = wrap(make())
    at = at_start(problem, batch=3, spread=0.2)
    eye = torch.eye(problem.dim, dtype=torch.float64)
    noise = rng(7)
    for metric in every_metric(problem.dim):
        state = metric.init(3, problem.dim, at.z)
        for number in range(3):
            state = metric.update(state, at, torch.randn(at.z.shape, generator=noise, dtype=torch.float64), number)
        factor = metric.factor(state)
        matrix = torch.stack([factor.times(e.expand(3, -1)) for e in eye], -1)
        scale = float(matrix.abs().max())
        torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=1e-10 * scale)
        size = torch.linalg.eigvalsh((matrix + matrix.mT) / 2)
        assert (size > 0).all() and (size[:, 0] >= metric.damping * (1 - 1e-6)).all()
        g = torch.randn(3, problem.dim, generator=noise, dtype=torch.float64)
        rounding = 1e-12 * float(factor.condition().max()) * float(g.abs().max())
        torch.testing.assert_close(factor.times(factor.solve(g)), g, rtol=0, atol=max(rounding, 1e-8))
        torch.testing.assert_close(factor.condition(), size[:, -1] / size[:, 0], rtol=1e-3, atol=0)


@pytest.mark.parametrize("make", [rosenbrock, curved_surface])
def test_rows_do_not_depend_on_their_neighbours(make):
    problem = make()
    whole = at_start(problem, batch=3, spread=0.2)
    for metric in every_metric(problem.dim):
        together = metric.factor(metric.update(metric.init(3, problem.dim, whole.z), whole, whole.z + 0.1, 5)).solve(
            whole.gradient
        )
        for row in range(3):
            start = problem.start(3, 0.2)[row : row + 1]
            z = torch.zeros_like(start)
            at = linearise(problem, z, start, evaluate_loss(problem, z, start, problem.goal))
            alone = metric.factor(metric.update(metric.init(1, problem.dim, z), at, z + 0.1, 5)).solve(at.gradient)
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-8, atol=1e-10)


def test_bias_of_the_empty_start_is_divided_out():
    """After t looks the average weighs look s by beta^(2(t-s)), and the weights add up to one."""
    problem = curved_surface()
    metric = Pullback("exact", decay=0.9)
    state, looks = problem.start(), []
    for s in range(4):
        z = torch.tensor([[0.1 * s, -0.05 * s]], dtype=torch.float64)
        looks.append(linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal)))
    kept = metric.init(1, 2, looks[0].z)
    for at in looks:
        kept = metric.update(kept, at, torch.zeros_like(at.z), 0)
    share = torch.tensor([0.81 ** (3 - s) for s in range(4)], dtype=torch.float64)
    mixed = sum(w * at.expansion.gram(at.weight)[0] for w, at in zip(share / share.sum(), looks, strict=True))
    average = metric.factor(kept).matrix[0] - metric.damping * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(average, mixed)


def test_informed_probes_lie_along_gradient_and_previous_direction():
    """u_1 = J'W^(1/2) e with e along W^(-1/2) dl/dy is parallel to g; u_r to J'WJ previous."""
    problem = curved_surface()
    at = at_start(problem)
    previous = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    metric = Pullback("fisher", rank=5, informed=True)
    columns = metric.update(metric.init(1, 2, at.z), at, previous, 1).factor[0]
    pushed = at.pull(at.weight * at.push(previous))[0]
    assert abs(float(torch.cosine_similarity(columns[:, 0], at.gradient[0], dim=0))) == pytest.approx(1, abs=1e-12)
    assert abs(float(torch.cosine_similarity(columns[:, -1], pushed, dim=0))) == pytest.approx(1, abs=1e-12)


def test_columns_do_not_pile_up_along_the_gradient():
    """Same look again and again: without random signs the first column would add up coherently."""
    problem = linear_gaussian()
    at, metric = at_start(problem), Pullback("fisher", rank=8, decay=0.98, informed=True)
    state = metric.init(1, 5, at.z)
    sizes = []
    for number in range(400):
        state = metric.update(state, at, torch.zeros_like(at.z), number)
        sizes.append(float((state.factor / state.weight.sqrt()[:, None, None])[0, :, 0].square().sum()))
    once = metric.update(metric.init(1, 5, at.z), at, torch.zeros_like(at.z), 0)
    alone = float(once.factor[0, :, 0].square().sum()) / (1 - 0.98**2)
    # coherent columns would tend to (1 + beta) / (1 - beta) = 99 times the size of one
    assert sum(sizes[100:]) / 300 < 8 * alone


def test_euclidean_metric_ignores_the_decoder():
    at, metric = at_start(rosenbrock()), EuclideanMetric(damping=0.25, scale=0.75)
    state = metric.init(1, 2, at.z)
    assert metric.update(state, at, at.z, 0) is state
    g = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(metric.factor(state).solve(g), g)
    assert float(metric.factor(state).condition()) == 1


def test_latent_covariance_is_that_of_the_latents():
    """With weights that hardly fade, numpy's; with strong fading, that of the last latents."""
    noise = rng(4)
    latents = torch.randn(500, 4, generator=noise, dtype=torch.float64) @ torch.randn(
        4, 4, generator=noise, dtype=torch.float64
    )
    full = LatentCovariance.of(latents, rank=4, decay=1.0)
    torch.testing.assert_close(full.columns @ full.columns.T, torch.cov(latents.T, correction=0))
    diagonal = LatentCovariance.of(latents, decay=1.0)
    torch.testing.assert_close(diagonal.diagonal, latents.var(0, correction=0))
    low = LatentCovariance.of(latents, rank=2, decay=1.0)
    size, basis = torch.linalg.eigh(torch.cov(latents.T, correction=0))
    torch.testing.assert_close(low.columns @ low.columns.T, basis[:, 2:] * size[2:] @ basis[:, 2:].T)
    recent = torch.cat([10 * latents, latents])
    faded = LatentCovariance.of(recent, decay=0.9).diagonal
    torch.testing.assert_close(faded, LatentCovariance.of(latents, decay=0.9).diagonal, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match="at least two"):
        LatentCovariance.of(latents[:1])
    with pytest.raises(ValueError, match="4 latent dimensions, problem of 2"):
        diagonal.init(1, 2, latents)


def test_learned_metric_can_be_trained():
    """The loss after its natural step falls along the gradient by its weights, which finite differences confirm."""
    problem = curved_surface()
    at = at_start(problem, 4, 0.1)
    metric = LearnedMetric.start(2, rank=1, hidden=8, seed=5)
    names = list(metric.weights)

    def task(weights) -> torch.Tensor:
        one = LearnedMetric(*weights)
        factor = one.factor(one.update(one.init(4, 2, at.z), at, at.z, 0))
        step = -0.3 * factor.solve(at.gradient)
        return problem.loss(problem.decode(step, problem.start(4, 0.1)), None, problem.goal).total.mean()

    weights = [w.clone().requires_grad_(True) for w in metric.weights.values()]
    gradients = torch.autograd.grad(task(weights), weights)
    for k, name in enumerate(names):
        forward, backward = ([w.detach().clone() for w in weights] for _ in range(2))
        forward[k].view(-1)[1] += 1e-6
        backward[k].view(-1)[1] -= 1e-6
        slope = float(task(forward) - task(backward)) / 2e-6
        assert float(gradients[k].reshape(-1)[1]) == pytest.approx(slope, rel=1e-3, abs=1e-8), name
    before = float(task(weights))
    optimiser = torch.optim.Adam(weights, lr=0.02)
    for _ in range(60):
        optimiser.zero_grad()
        task(weights).backward()
        optimiser.step()
    assert float(task(weights)) < 0.8 * before


def test_learned_metric_starts_near_the_identity():
    at = at_start(linear_gaussian())
    metric = LearnedMetric.start(5)
    factor = metric.factor(metric.update(metric.init(1, 5, at.z), at, at.z, 0))
    assert 1 / 3 < float(factor.quadratic(at.gradient) / at.gradient.square().sum()) < 3
    assert math.isclose(float(metric.factor(metric.init(1, 5, at.z)).condition()), 1.0)
    with pytest.raises(ValueError, match="5 latent dimensions, problem of 3"):
        metric.init(1, 3, at.z)
