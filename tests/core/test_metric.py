"""The metric: solves against dense algebra, sketches against what they estimate."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import curved_surface, expanded, linear_gaussian, rosenbrock, torus_arm

from geofold.core.linearise import linearise, look
from geofold.core.metric import DenseFactor, EuclideanMetric, WoodburyFactor
from geofold.core.pullback import Pullback


def at_start(problem, z=None):
    state = problem.start()
    z = torch.zeros_like(state) if z is None else z
    return linearise(problem, z, state, look(problem, z, state, problem.goal))


def fisher_information(problem, at) -> torch.Tensor:
    jacobian = torch.func.jacfwd(lambda z: problem.decode(z[None], problem.start()).mean[0])(at.z[0])
    return jacobian.T @ (at.weight[0][:, None] * jacobian)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 12), st.floats(0, 6))
def test_woodbury_equals_the_dense_inverse(seed, dim, rank, decades):
    """U with singular values spread so that G has condition numbers up to a million."""
    noise, damping = rng(seed), 1e-3
    columns = torch.randn(2, dim, rank, generator=noise, dtype=torch.float64)
    left, _, right = torch.linalg.svd(columns, full_matrices=False)
    size = (damping * 10 ** torch.linspace(0, decades, min(dim, rank), dtype=torch.float64)).sqrt()
    columns = left * size @ right
    g = torch.randn(2, dim, generator=noise, dtype=torch.float64)
    dense = damping * torch.eye(dim, dtype=torch.float64) + columns @ columns.transpose(-1, -2)
    factor = WoodburyFactor.of(columns, torch.full((2, dim), damping, dtype=torch.float64), uniform=True)
    full = DenseFactor.of(columns @ columns.transpose(-1, -2), torch.full((2,), damping, dtype=torch.float64))
    reference = torch.linalg.solve(dense, g)
    torch.testing.assert_close(factor.solve(g), reference, rtol=1e-8, atol=1e-8 * float(reference.abs().max()))
    torch.testing.assert_close(full.solve(g), reference, rtol=1e-8, atol=1e-8 * float(reference.abs().max()))
    length = (g[:, None] @ dense @ g[..., None])[:, 0, 0]
    torch.testing.assert_close(factor.quadratic(g), length)
    torch.testing.assert_close(full.quadratic(g), length)
    torch.testing.assert_close(full.condition(), torch.linalg.cond(dense), rtol=1e-6, atol=0)
    if rank < dim:
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


@pytest.mark.parametrize("make", [rosenbrock, linear_gaussian, torus_arm, curved_surface])
@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
def test_exact_metric_is_the_fisher_information(make, wrap):
    problem = wrap(make())
    at, metric = at_start(problem), Pullback("exact", damping=1e-2)
    state = metric.init(1, problem.dim, at.z)
    want = fisher_information(problem, at) + 1e-2 * torch.eye(problem.dim, dtype=torch.float64)
    for again in range(3):  # the average of one and the same matrix is that matrix, from the first look on
        state = metric.update(state, at, torch.zeros_like(at.z), again)
        torch.testing.assert_close(metric.factor(state).matrix[0], want, rtol=1e-10, atol=1e-10)


def test_bias_of_the_empty_start_is_divided_out():
    """After t looks the average weighs look s by beta^(2(t-s)), and the weights add up to one."""
    problem = curved_surface()
    metric = Pullback("exact", decay=0.9)
    points = [torch.tensor([[0.1 * s, -0.05 * s]], dtype=torch.float64) for s in range(4)]
    looks = [at_start(problem, z) for z in points]
    state = metric.init(1, 2, points[0])
    for at in looks:
        state = metric.update(state, at, torch.zeros_like(at.z), 0)
    share = torch.tensor([0.81 ** (3 - s) for s in range(4)], dtype=torch.float64)
    mixed = sum(w * fisher_information(problem, at) for w, at in zip(share / share.sum(), looks, strict=True))
    average = metric.factor(state).matrix[0] - metric.damping * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(average, mixed)


def test_random_columns_converge_to_the_fisher_information():
    """Error of UU' falls like one over the square root of the number of columns."""
    problem = linear_gaussian()
    at = at_start(problem)
    want = fisher_information(problem, at)
    error = []
    for rank in (64, 256, 1024, 4096):
        total = 0.0
        for seed in range(12):
            columns = random_columns(Pullback("fisher", rank=rank), at, seed)
            total += float(torch.linalg.matrix_norm(columns @ columns.T - want).square())
        error.append(math.sqrt(total / 12) / float(torch.linalg.matrix_norm(want)))
    slope = math.log(error[-1] / error[0]) / math.log(4096 / 64)
    assert -0.6 < slope < -0.4
    assert error[-1] < 0.05


def random_columns(metric: Pullback, at, seed: int) -> torch.Tensor:
    """Columns of one look without the two informed probes, scaled up for those left out."""
    state = metric.update(metric.init(1, at.z.shape[-1], at.z), at, torch.zeros_like(at.z), seed)
    columns = (state.factor / state.weight.sqrt()[:, None, None])[0]
    # the first column lies along the gradient; the last is random when there is no previous direction
    return columns[:, 1:] * math.sqrt(metric.rank / (metric.rank - 1))


def test_informed_probes_lie_along_gradient_and_previous_direction():
    """u_1 = J'W^(1/2) e with e along W^(-1/2) dl/dy is parallel to g; u_r to J'WJ previous."""
    problem = curved_surface()
    at = at_start(problem)
    previous = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    metric = Pullback("fisher", rank=5)
    columns = metric.update(metric.init(1, 2, at.z), at, previous, 1).factor[0]
    pushed = fisher_information(problem, at) @ previous[0]
    assert abs(float(torch.cosine_similarity(columns[:, 0], at.gradient[0], dim=0))) == pytest.approx(1, abs=1e-12)
    assert abs(float(torch.cosine_similarity(columns[:, -1], pushed, dim=0))) == pytest.approx(1, abs=1e-12)


def test_columns_do_not_pile_up_along_the_gradient():
    """Same look again and again: without random signs the first column would add up coherently."""
    problem = linear_gaussian()
    at, metric = at_start(problem), Pullback("fisher", rank=8, decay=0.98)
    state = metric.init(1, 5, at.z)
    sizes = []
    for again in range(400):
        state = metric.update(state, at, torch.zeros_like(at.z), again)
        sizes.append(float((state.factor / state.weight.sqrt()[:, None, None])[0, :, 0].square().sum()))
    once = metric.update(metric.init(1, 5, at.z), at, torch.zeros_like(at.z), 0)
    alone = float(once.factor[0, :, 0].square().sum()) / (1 - 0.98**2)
    # coherent columns would tend to (1 + beta) / (1 - beta) = 99 times the size of one
    assert sum(sizes[100:]) / 300 < 8 * alone


@pytest.mark.parametrize("sketch", ["exact", "fisher"])
def test_condition_is_clamped(sketch):
    problem = linear_gaussian()
    at, metric = at_start(problem), Pullback(sketch, damping=1e-3, largest=50.0)
    state = metric.update(metric.init(1, 5, at.z), at, torch.zeros_like(at.z), 0)
    assert 1 <= float(metric.factor(state).condition()) <= 51 * (1 + 1e-9)


def test_euclidean_metric_ignores_the_decoder():
    at, metric = at_start(rosenbrock()), EuclideanMetric(damping=0.25, scale=0.75)
    state = metric.init(1, 2, at.z)
    assert metric.update(state, at, at.z, 0) is state
    g = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    torch.testing.assert_close(metric.factor(state).solve(g), g)
