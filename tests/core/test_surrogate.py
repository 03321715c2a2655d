"""Horizon surrogate and the linearisation that its slope comes from."""

from __future__ import annotations

import math

import pytest
import torch
from problems import ZOO, curved_surface, expanded, linear_gaussian, walled

from geofold.core.backbone import HoldStill
from geofold.core.linearise import linearise
from geofold.core.surrogate import horizon_loss


def surrogate(problem, z, steps, discount=0.9):
    state, backbone = problem.start(len(z)), HoldStill()
    memory = backbone.init_state(len(z), problem.dim, z)
    return horizon_loss(problem, backbone, memory, z, state, problem.goal, steps=steps, discount=discount)


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_horizon_is_normalised(make, steps):
    """After the corrected step nothing moves, so every imagined loss is the same and so is their mean."""
    problem = make()
    z = 0.1 * torch.ones(2, problem.dim, dtype=torch.float64)
    worth, prediction, loss = surrogate(problem, z, steps)
    torch.testing.assert_close(worth, loss.total)
    torch.testing.assert_close(worth, problem.loss(prediction, problem.start(2), problem.goal).total)


def test_horizon_weighs_the_future_by_the_discount():
    """A backbone that repeats its last latent walks on: the imagined losses are those of 1, 2 and 3 steps."""

    class Repeat(HoldStill):
        def step(self, x, state):
            return state, state

    problem, z = linear_gaussian(), torch.full((1, 5), 0.05, dtype=torch.float64)
    backbone = Repeat()
    worth, _, _ = horizon_loss(
        problem, backbone, backbone.init_state(1, 5, z), z, problem.start(), problem.goal, steps=3, discount=0.5
    )
    losses = [problem.loss(problem.decode(k * z, problem.start()), None, problem.goal).total for k in (1, 2, 3)]
    torch.testing.assert_close(worth, (losses[0] + 0.5 * losses[1] + 0.25 * losses[2]) / 1.75)


def test_what_cannot_be_decoded_is_worth_nothing():
    problem = walled(curved_surface(), 0.5)
    z = torch.tensor([[0.4, 0.4], [0.6, 0.0], [math.nan, 0.0]], dtype=torch.float64)
    worth = surrogate(problem, z, 2)[0]
    assert worth[0].isfinite() and (worth[1:] == math.inf).all()


@pytest.mark.parametrize("make", ZOO)
@pytest.mark.parametrize("wrap", [lambda p: p, expanded], ids=["autograd", "analytic"])
def test_linearisation_against_finite_differences(make, wrap):
    problem = wrap(make())
    state = problem.start(2, 0.1)
    noise = torch.Generator().manual_seed(1)
    z = 0.1 * torch.randn(2, problem.dim, generator=noise, dtype=torch.float64)
    v = torch.randn(2, problem.dim, generator=noise, dtype=torch.float64)
    at = linearise(problem, z, state, problem.goal, None)

    def mean(t: float) -> torch.Tensor:
        return problem.decode(z + t * v, state).mean

    def loss(t: float) -> torch.Tensor:
        return problem.loss(problem.decode(z + t * v, state), state, problem.goal).total

    h = 1e-4
    torch.testing.assert_close(at.push(v), (mean(h) - mean(-h)) / (2 * h), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(at.acceleration(v), (mean(h) - 2 * mean(0) + mean(-h)) / h**2, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close((at.gradient * v).sum(-1), (loss(h) - loss(-h)) / (2 * h), rtol=1e-5, atol=1e-6)
    cotangent = torch.randn(3, 2, at.weight.shape[-1], generator=noise, dtype=torch.float64)
    torch.testing.assert_close((at.pull(cotangent) * v).sum(-1), (cotangent * at.push(v)).sum(-1))
    assert not z.requires_grad and not at.prediction.mean.requires_grad and not at.loss.total.requires_grad


def test_a_given_weight_is_kept():
    problem = curved_surface()
    state = problem.start()
    frozen = torch.rand(1, 6, dtype=torch.float64)
    assert torch.equal(linearise(problem, state * 0, state, problem.goal, frozen).weight, frozen)
