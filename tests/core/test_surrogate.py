"""Horizon surrogate and the linearisation that its slope comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from problems import ZOO, Problem, curved_surface, expanded, linear_gaussian, walled

from geofold.core.backbone import Momentum, NoMotion, take_rows
from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.surrogate import Horizon


def surrogate(problem, z, steps, discount=0.9, backbone=None):
    """Trial of latents z against no motion."""
    state, backbone = problem.start(len(z)), backbone or NoMotion()
    memory = backbone.init_state(len(z), problem.dim, z)
    still = torch.zeros_like(z)
    seen = problem.decode(still, state)
    loss = problem.loss(seen, state, problem.goal).total
    horizon = Horizon(steps, discount)
    return horizon.compare(problem, backbone, memory, state, problem.goal, still, seen, loss, z)


@dataclass(frozen=True)
class Single:
    """A problem that cannot double its state."""

    inner: Problem

    def __getattr__(self, name: str):
        if name in ("select", "inner"):
            raise AttributeError(name)
        return getattr(self.inner, name)


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_horizon_is_normalised(make, steps):
    """After the corrected step nothing moves, so every imagined loss is the same and so is their mean."""
    problem = make()
    z = 0.1 * torch.ones(2, problem.dim, dtype=torch.float64)
    trial = surrogate(problem, z, steps)
    torch.testing.assert_close(trial.trial_value, trial.loss.total)
    torch.testing.assert_close(trial.trial_value, problem.loss(trial.prediction, problem.start(2), problem.goal).total)
    still = problem.decode(torch.zeros_like(z), problem.start(2))
    torch.testing.assert_close(trial.current_value, problem.loss(still, problem.start(2), problem.goal).total)


def test_horizon_weighs_the_future_by_the_discount():
    """A backbone that repeats its last latent walks on: the imagined losses are those of 1, 2 and 3 steps."""
    problem, z = linear_gaussian(), torch.full((1, 5), 0.05, dtype=torch.float64)
    cost = surrogate(problem, z, 3, 0.5, Momentum(1.0)).trial_value
    losses = [problem.loss(problem.decode(k * z, problem.start()), None, problem.goal).total for k in (1, 2, 3)]
    torch.testing.assert_close(cost, (losses[0] + 0.5 * losses[1] + 0.25 * losses[2]) / 1.75)


@pytest.mark.parametrize("make", ZOO)
def test_two_latents_in_one_batch_equal_two_roll_outs(make):
    problem = make()
    z = 0.1 * torch.ones(3, problem.dim, dtype=torch.float64) * torch.arange(1, 4)[:, None]
    together, separate = (surrogate(p, z, 4, 0.9, Momentum(0.7)) for p in (problem, Single(problem)))
    torch.testing.assert_close(together.current_value, separate.current_value, rtol=1e-12, atol=0)
    torch.testing.assert_close(together.trial_value, separate.trial_value, rtol=1e-12, atol=0)


def test_rows_of_a_nested_memory():
    class Cache(NamedTuple):
        z: torch.Tensor
        rest: dict

    memory = Cache(torch.arange(3.0), {"k": [torch.arange(6.0).reshape(3, 2), 7]})
    taken = take_rows(memory, torch.tensor([2, 2, 0, 1]))
    assert isinstance(taken, Cache) and taken.z.tolist() == [2, 2, 0, 1]
    assert taken.rest["k"][0].shape == (4, 2) and taken.rest["k"][1] == 7


def test_latents_that_cannot_be_decoded_have_infinite_value():
    problem = walled(curved_surface(), 0.5)
    z = torch.tensor([[0.4, 0.4], [0.6, 0.0], [math.nan, 0.0]], dtype=torch.float64)
    cost = surrogate(problem, z, 2).trial_value
    assert cost[0].isfinite() and (cost[1:] == math.inf).all()


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("backbone", [NoMotion(), Momentum(0.6)], ids=["hold-still", "glide"])
def test_gradient_of_the_whole_horizon(make, backbone):
    """Against finite differences; for a predictor that holds still it is the gradient of the present loss."""
    problem, horizon = make(), Horizon(3, 0.9)
    state, z = problem.start(), torch.full((1, problem.dim), 0.05, dtype=torch.float64)
    memory = backbone.init_state(1, problem.dim, z)
    gradient = horizon.gradient(problem, backbone, memory, z, state, problem.goal)

    def m(latent):
        prediction = problem.decode(latent, state)
        rollout_loss = horizon.rollout_loss(problem, backbone, memory, latent, prediction, state, problem.goal)
        return (problem.loss(prediction, state, problem.goal).total + rollout_loss) / horizon.weight_sum

    h = 1e-6
    for k in range(problem.dim):
        e = torch.zeros_like(z)
        e[0, k] = h
        slope = float(m(z + e) - m(z - e)) / (2 * h)
        assert float(gradient[0, k]) == pytest.approx(slope, rel=1e-5, abs=1e-6)
    if isinstance(backbone, NoMotion):
        at = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))
        torch.testing.assert_close(gradient, at.gradient)


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
def test_linearisation_against_finite_differences(make, wrap):
    problem = wrap(make())
    state = problem.start(2, 0.1)
    noise = torch.Generator().manual_seed(1)
    z = 0.1 * torch.randn(2, problem.dim, generator=noise, dtype=torch.float64)
    v = torch.randn(2, problem.dim, generator=noise, dtype=torch.float64)
    at = linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal))

    def mean(t: float) -> torch.Tensor:
        return problem.decode(z + t * v, state).mean

    def loss(t: float) -> torch.Tensor:
        return problem.loss(problem.decode(z + t * v, state), state, problem.goal).total

    h = 1e-4
    torch.testing.assert_close(at.push(v), (mean(h) - mean(-h)) / (2 * h), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(at.expansion.bend(v), (mean(h) - 2 * mean(0) + mean(-h)) / h**2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((at.gradient * v).sum(-1), (loss(h) - loss(-h)) / (2 * h), rtol=1e-5, atol=1e-6)
    cotangent = torch.randn(3, 2, at.weight.shape[-1], generator=noise, dtype=torch.float64)
    torch.testing.assert_close((at.expansion.pull(cotangent) * v).sum(-1), (cotangent * at.push(v)).sum(-1))
    assert not z.requires_grad and not at.loss.total.requires_grad


def test_a_given_weight_is_kept():
    problem = curved_surface()
    state = problem.start()
    frozen, z = torch.rand(1, 6, dtype=torch.float64), torch.zeros_like(state)
    assert torch.equal(
        linearise(problem, z, state, evaluate_loss(problem, z, state, problem.goal), frozen).weight, frozen
    )
