"""What the papers state about the step, held numerically on the problem zoo."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import ZOO, Problem, curved_surface, linear_gaussian, rosenbrock, torus_arm

from geofold.core.backbone import Momentum, NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.linearise import Linearisation, evaluate_loss, linearise
from geofold.core.metric import DenseFactor
from geofold.core.pullback import Pullback
from geofold.core.retraction import second_order
from geofold.core.trust_region import TrustRegion

NEARLY_UNDAMPED = Pullback("exact", damping=1e-9, largest=1e15)


def at_start(problem: Problem, shift: float = 0.0) -> Linearisation:
    state = problem.start()
    z = torch.full_like(state, shift)
    return linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))


def loss_at(problem: Problem, z: torch.Tensor) -> float:
    state = problem.start()
    return float(problem.loss(problem.decode(z, state), state, problem.goal).total)


@pytest.mark.parametrize("horizon", [1, 3])
@pytest.mark.parametrize("radius", [100.0, 2.0, 0.3])
@pytest.mark.parametrize("backbone", [NoMotion(), Momentum(0.5)], ids=["hold-still", "glide"])
def test_predicted_decrease_is_exact_on_a_linear_quadratic_problem(horizon, radius, backbone):
    """With a predictor that glides on, the surrogate is a quadratic with other curvature: then to first order only."""
    problem = linear_gaussian()
    region = TrustRegion(radius=radius, largest=200.0)
    control = Controller(backbone, NEARLY_UNDAMPED, region, FixedGate(1), horizon=horizon, through=True)
    _, info = control.step(problem, control.init(problem, problem.start()), problem.goal)
    if horizon == 1 or isinstance(backbone, NoMotion):
        torch.testing.assert_close(info.predicted, info.actual, rtol=1e-6, atol=0)
    else:
        gaps = []
        for size in (1e-2, 1e-3):
            small = replace(control, trust_region=TrustRegion(radius=size, smallest=1e-4))
            _, info = small.step(problem, small.init(problem, problem.start()), problem.goal)
            gaps.append(abs(float(info.predicted - info.actual)))
        assert math.log10(gaps[0] / gaps[1]) == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("make", ZOO)
def test_proposition_1_natural_direction_solves_the_trust_region_subproblem(make):
    """No step of the same length promises more to first order, and none within the radius more in the model."""
    problem = make()
    at = at_start(problem, 0.05)
    metric = Pullback("exact")
    factor = metric.factor(metric.update(metric.init(1, problem.dim, at.z), at, at.z, 0))
    v = -factor.solve(at.gradient)
    noise = torch.Generator().manual_seed(0)
    for share in (0.1, 0.5, 1.0):
        radius = share * factor.norm(v)
        best = share * v
        model = -(at.gradient * best).sum(-1) - factor.quadratic(best) / 2
        for _ in range(200):
            other = torch.randn(v.shape, generator=noise, dtype=torch.float64)
            other = other * radius / factor.norm(other) * torch.rand(1, generator=noise, dtype=torch.float64)
            assert float(-(at.gradient * other).sum(-1) - factor.quadratic(other) / 2) <= float(model) * (1 + 1e-12)


@pytest.mark.parametrize("make", ZOO)
def test_proposition_1_decrease_along_the_retraction(make):
    """l(Retr(a v)) <= l - a/2 |grad|^2_{G^-1} for a <= 1/L, with L the curvature along the very curve."""
    problem = make()
    at = at_start(problem, 0.05)
    metric = Pullback("exact")
    factor = metric.factor(metric.update(metric.init(1, problem.dim, at.z), at, at.z, 0))
    v = -factor.solve(at.gradient)
    squared = float((at.gradient * -v).sum())

    def along(a: float) -> float:
        return loss_at(problem, problem.space.retract(at.z, second_order(at, factor, a * v)))

    effective_radius, grid = 1.0, 100
    for _ in range(40):  # the curve up to 1/L must itself be what L was measured on
        h = effective_radius / grid
        values = [along(k * h) for k in range(grid + 3)]
        bend = max((values[k - 1] - 2 * values[k] + values[k + 1]) / h**2 for k in range(1, grid + 2)) / squared
        if effective_radius <= 1 / max(bend, 1e-9):
            break
        effective_radius /= 1.5
    for a in (effective_radius, effective_radius / 3, effective_radius / 10):
        assert along(a) <= loss_at(problem, at.z) - a / 2 * squared * (1 - 1e-9)
    slope = (loss_at(problem, at.z) - along(1e-6)) / 1e-6
    assert slope == pytest.approx(squared, rel=1e-3)


@dataclass(frozen=True)
class Attracted:
    """A backbone whose flow contracts to a point at a given rate, with bounded errors."""

    centre: torch.Tensor
    rate: float
    error: float
    name: str = "attracted"

    def init_state(self, batch, dim, like):
        return like.new_zeros(batch, 1)

    def step(self, x, state):
        noise = torch.sin(state * torch.arange(1, x.shape[-1] + 1, dtype=x.dtype) * 12.9898)
        return -0.5 * self.rate * (x - self.centre) + self.error * noise / math.sqrt(x.shape[-1]), state + 1

    def write(self, state, z):
        return state


@pytest.mark.parametrize(
    ("make", "centre"),
    [
        (linear_gaussian, torch.linspace(-1, 1, 5)),
        (torus_arm, torch.linspace(0.2, 0.8, 4)),
        (curved_surface, torch.tensor([-0.2, 0.5])),
        (rosenbrock, torch.tensor([1.0, 1.0])),
    ],
)
@pytest.mark.parametrize("error", [0.0, 1e-3])
@pytest.mark.parametrize("radius", [0.05, 0.2])
def test_proposition_2_predict_then_correct_contracts(make, centre, error, radius):
    """V = |z - z*|_G^2 obeys V' <= (1 - mu) V + C (eps sqrt(V) + eps^2 + rho^3), and ends within that noise floor."""
    problem, centre, mu = make(), centre.double(), 0.2
    if make is rosenbrock:
        problem = replace(problem, goal=(0.0, 0.0))
    metric = Pullback("exact")
    region = TrustRegion(radius=radius, largest=radius)
    control = Controller(Attracted(centre, mu, error), metric, region, FixedGate(1), horizon=1)
    there = centre[None]
    at = linearise(problem, there * 0, there, evaluate_loss(problem, there * 0, there, problem.goal))
    factor = metric.factor(metric.update(metric.init(1, problem.dim, at.z), at, at.z, 0))
    begin = problem.space.retract(there, 0.1 * torch.cos(torch.arange(problem.dim, dtype=torch.float64))[None])
    state = control.init(problem, begin)
    cost = [float(factor.quadratic(problem.space.minus(begin, there)))]
    for _ in range(80):
        state, _ = control.step(problem, state, problem.goal)
        cost.append(float(factor.quadratic(problem.space.minus(state.domain, there))))
    largest = math.sqrt(float(torch.linalg.eigvalsh(factor.matrix)[0, -1]))
    for before, after in pairwise(cost):
        floor = 4 * (largest * error * math.sqrt(before) + (largest * error) ** 2) + radius**3
        assert after <= (1 - mu) * before + floor
    assert cost[-1] <= 1e-6 * cost[0] + 40 * (largest * error) ** 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(ZOO), st.integers(0, 10_000), st.floats(0.2, 1.0))
def test_natural_step_does_not_depend_on_the_latent_coordinates(make, seed, spread):
    """z -> Az: the same move in observation space, with the damping transformed along; the gradient's is another."""
    problem = make()
    noise = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(problem.dim, problem.dim, generator=noise, dtype=torch.float64))
    a = q * torch.logspace(-spread, spread, problem.dim, dtype=torch.float64)
    inverse = torch.linalg.inv(a)
    plain = replace(problem, g=lambda y: problem.g(problem.start() + y), begin=(0.0,) * problem.dim)
    plain = replace(plain, space=rosenbrock().space)
    other = replace(plain, g=lambda y: plain.g(y @ inverse.T))
    damping = 1e-2 * torch.eye(problem.dim, dtype=torch.float64)[None]
    moves, gradients = [], []
    for p, tie in ((plain, damping), (other, inverse.T @ damping @ inverse)):
        at = at_start(p)
        factor = DenseFactor.of(at.expansion.gram(at.weight) + tie, torch.zeros(1, dtype=torch.float64))
        k = len(p.weight)
        moves.append(at.push(-factor.solve(at.gradient))[:, :k])
        gradients.append(at.push(-at.gradient)[:, :k])
    torch.testing.assert_close(moves[0], moves[1], rtol=1e-7, atol=1e-7 * float(moves[0].abs().max()))
    assert float((gradients[0] - gradients[1]).norm()) > 1e-2 * float(gradients[0].norm())
