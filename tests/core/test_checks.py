"""The contract checks: what keeps its promises passes, and every broken promise is named."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from problems import ZOO, Expanded, Problem, curved_surface, expanded, rosenbrock, torus_arm

from geofold.core.backbone import Momentum, NoMotion
from geofold.core.checks import ContractError, check_backbone, check_domain, check_metric
from geofold.core.covariance import LatentCovariance
from geofold.core.domain import Loss, Prediction
from geofold.core.learned_metric import LearnedMetric
from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.metric import DenseFactor, EuclideanMetric
from geofold.core.pullback import SKETCHES, Pullback
from geofold.core.tangent import Euclid


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_zoo_keeps_the_contract(make, wrap, batch):
    problem = wrap(make())
    check_domain(problem, problem.start(batch, 0.1), problem.goal)


@pytest.mark.parametrize("backbone", [NoMotion(), Momentum(0.7)], ids=["hold-still", "glide"])
def test_backbones_keep_the_contract(backbone):
    check_backbone(backbone, 3, 7, 5)


@pytest.mark.parametrize("make", ZOO)
def test_metrics_keep_the_contract(make):
    problem = make()
    state = problem.start(3, 0.1)
    z = torch.zeros_like(state)
    at = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))
    latents = torch.randn(20, problem.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    metrics: list[Any] = [Pullback(sketch, rank=3) for sketch in SKETCHES]
    metrics += [EuclideanMetric(), LatentCovariance.of(latents, rank=1), LearnedMetric.start(problem.dim, rank=2)]
    for metric in metrics:
        check_metric(metric, at)


class Broken(Problem):
    """Each subclass breaks one promise."""


class NoFloats(Broken):
    def observe(self, state, goal):
        return torch.zeros(len(state), 2, dtype=torch.long)


class WrongRows(Broken):
    def decode(self, z, state):
        seen = super().decode(z, state)
        return replace(seen, mean=seen.mean[:1].expand(len(z) + 1, -1))


class NotANumber(Broken):
    def decode(self, z, state):
        seen = super().decode(z, state)
        return replace(seen, mean=seen.mean * math.nan)


class NegativeWeight(Broken):
    def decode(self, z, state):
        seen = super().decode(z, state)
        return replace(seen, precision=-seen.precision)


class NoBool(Broken):
    def decode(self, z, state):
        seen = super().decode(z, state)
        return replace(seen, valid=seen.valid.double())


class Random(Broken):
    def decode(self, z, state):
        seen = super().decode(z, state)
        return replace(seen, mean=seen.mean + 1e-3 * torch.rand(()))


class Mutates(Broken):
    def decode(self, z, state):
        state += 1e-6
        return super().decode(z, state)


class TermsDoNotAddUp(Broken):
    def loss(self, prediction, state, goal):
        loss = super().loss(prediction, state, goal)
        return Loss(loss.total + 1.0, loss.terms)


class OneLossForAll(Broken):
    def loss(self, prediction, state, goal):
        return Loss(super().loss(prediction, state, goal).total.sum()[None], {})


class LooksElsewhere(Broken):
    """Loss that depends on the latent other than through the prediction."""

    def decode(self, z, state):
        self.calls[:] = [float(z.detach().square().sum())]  # type: ignore[list-item]
        return Problem.decode(replace(self, calls=[]), z, state)

    def loss(self, prediction, state, goal):
        loss = super().loss(prediction, state, goal)
        extra = 3.0 * self.calls[0] * torch.ones_like(loss.total)
        return Loss(loss.total + extra, loss.terms | {"hidden": extra})


@dataclass(frozen=True)
class Drifting(Euclid):
    def minus(self, one, other):
        return 1.1 * (one - other)


class CommitsAnyway(Broken):
    def commit(self, prediction, state):
        return self.space.retract(state, prediction.mean[:, -self.dim :])


class MutatesInCommit(Broken):
    def commit(self, prediction, state):
        state += 1e-3
        return state.clone()


class SelectsWrongly(Broken):
    def select(self, state, rows):
        return state[rows].flip(0)


BROKEN = {
    NoFloats: "observe",
    WrongRows: "decode: mean",
    NotANumber: "decode",
    NegativeWeight: "decode: precision",
    NoBool: "decode: valid",
    Random: "decode",
    Mutates: "a modified argument state",
    TermsDoNotAddUp: "loss: terms",
    OneLossForAll: "loss: total",
    LooksElsewhere: "function of prediction.mean only",
    CommitsAnyway: "commit",
    MutatesInCommit: "a modified argument state",
    SelectsWrongly: "select",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_domain_raises_with_the_reason(kind):
    whole = curved_surface()
    problem = kind(**{name: getattr(whole, name) for name in Problem.__dataclass_fields__})
    with pytest.raises(ContractError, match=BROKEN[kind]):
        check_domain(problem, problem.start(3, 0.1), problem.goal)


def test_a_broken_space_raises():
    problem = replace(curved_surface(), space=Drifting())
    with pytest.raises(ContractError, match=r"space: .*minus"):
        check_domain(problem, problem.start(), problem.goal)


@pytest.mark.parametrize("name", ["push", "pull", "bend", "gram", "prediction"])
def test_a_wrong_derivative_raises(name):
    class Wrong(Expanded):
        def expand(self, z, state):
            right = super().expand(z, state)
            if name == "prediction":
                return replace(right, prediction=replace(right.prediction, mean=right.prediction.mean + 0.1))
            return replace(right, **{name: lambda x: 1.1 * getattr(right, name)(x)})

    whole = torus_arm()
    problem = Wrong(**{key: getattr(whole, key) for key in Problem.__dataclass_fields__})
    with pytest.raises(ContractError, match="expand" if name == "prediction" else f"expand: {name}"):
        check_domain(problem, problem.start(), problem.goal)


@dataclass(frozen=True)
class Counter(NoMotion):
    """A backbone that counts in place."""

    def step(self, x, state):
        state += 1
        return torch.zeros_like(state), state


@dataclass(frozen=True)
class Mixer(NoMotion):
    """A backbone whose rows know each other."""

    def step(self, x, state):
        z = x[:, : state.shape[1]] - x[:, : state.shape[1]].mean(0)
        return z, z


@dataclass(frozen=True)
class Forgetful(NoMotion):
    """Backbone that does not store a corrected latent."""

    def read(self, state):
        return state * 0


@dataclass(frozen=True)
class Deaf(NoMotion):
    """Backbone that stores a corrected latent and ignores it."""

    no_motion: bool = False

    def step(self, x, state):
        return x[:, : state.shape[1]], state


@dataclass(frozen=True)
class OtherScan(NoMotion):
    """A backbone whose scan is not its step."""

    def scan(self, xs, state):
        return torch.ones(len(xs), *state.shape, dtype=state.dtype), state


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (Counter(), "a modified argument state"),
        (Mixer(), "independent rows"),
        (Forgetful(), "read.write"),
        (Deaf(), "changes the next proposal"),
        (OtherScan(), "scan"),
    ],
)
def test_a_broken_backbone_raises(backbone, message):
    with pytest.raises(ContractError, match=message):
        check_backbone(backbone, 3, 7, 5)


def test_a_broken_metric_raises():
    problem = rosenbrock()
    state = problem.start(2, 0.1)
    z = torch.zeros_like(state)
    at = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))

    class Indefinite(Pullback):
        def factor(self, state):
            right = super().factor(state)
            return DenseFactor(-right.matrix, right.cholesky, right.damping)

    class WrongSolve(Pullback):
        def factor(self, state):
            right = super().factor(state)
            return DenseFactor(right.matrix, 2 * right.cholesky, right.damping)

    class Mutating(Pullback):
        def update(self, state, at, previous, seed):
            state.factor.add_(1.0)
            return super().update(state, at, previous, seed)

    for kind, message in ((Indefinite, "quadratic"), (WrongSolve, "solve"), (Mutating, "a modified argument state")):
        with pytest.raises(ContractError, match=message):
            check_metric(kind(), at)


def test_prediction_of_the_zoo_is_a_prediction():
    problem = rosenbrock()
    assert isinstance(problem.decode(problem.start() * 0, problem.start()), Prediction)
