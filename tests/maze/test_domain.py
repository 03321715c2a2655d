"""The maze keeps the contract of a domain, and its metric is that of the surface."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geofold.core.checks import check_backbone, check_domain
from geofold.core.domain import AnalyticDecoder, AnalyticLoss, Domain, Selectable
from geofold.core.linearise import differentiate
from geofold.maze.domain import MazeDomain, MazeGoal, MazeState
from geofold.maze.episode import maze_controller
from geofold.maze.features import N_FEATURES
from geofold.maze.plan import PlanDecoder, PlanOrigin
from geofold.maze.plan_shift import PlanShift
from geofold.maze.worlds.world import make_world

WORLDS = [make_world(3), make_world(4, "corridors")]


def scenes(with_features: bool = True) -> tuple[MazeDomain, MazeState]:
    """Two agents, a few steps from the start of their worlds."""
    domain = MazeDomain.of(WORLDS, np.stack([world.targets[0] for world in WORLDS]), with_features=with_features)
    position = torch.as_tensor(np.stack([world.start for world in WORLDS]))
    return domain, domain.start(position, torch.arange(2))


@pytest.mark.parametrize("size", [0.1, 0.9, 1.5])
def test_domain_contract_for_latents_of_several_sizes(size: float) -> None:
    domain, state = scenes()
    noise = torch.Generator().manual_seed(0)
    latent = size * torch.randn(2, domain.latent_dim, generator=noise, dtype=torch.float64)
    check_domain(domain, state, MazeGoal(), latent=latent)
    for protocol in (Domain, AnalyticDecoder, AnalyticLoss, Selectable):
        assert isinstance(domain, protocol)


def test_contract_along_a_stream() -> None:
    domain, start = scenes(with_features=False)
    controller = maze_controller()
    state = controller.init(domain, start)
    for _ in range(12):
        state, info = controller.step(domain, state, MazeGoal())
    check_domain(domain, state.domain, MazeGoal(), latent=info.z)


def test_derivatives_in_closed_form_are_those_of_the_decoder() -> None:
    domain, state = scenes()
    noise = torch.Generator().manual_seed(1)
    z, v = (torch.randn(2, domain.latent_dim, generator=noise, dtype=torch.float64) for _ in range(2))
    closed, found = domain.expand(z, state), differentiate(domain, z, state)
    weight = torch.rand_like(closed.prediction.mean)
    assert torch.allclose(closed.push(v[None]), found.push(v[None]), atol=1e-12)
    assert torch.allclose(closed.bend(v), found.bend(v), atol=1e-10)
    assert torch.allclose(closed.gram(weight), found.gram(weight), atol=1e-12)


def test_the_metric_of_one_move_is_that_of_the_surface() -> None:
    domain, state = scenes()
    plan, z = PlanDecoder(domain.fields.relief, 1), torch.tensor([[0.3, 0.2], [-0.1, 0.4]], dtype=torch.float64)
    around = plan.expand(z, state.origin)
    gram = around.gram(around.prediction.precision.expand(2, -1))
    there = state.origin.position + around.prediction.mean[:, :2]
    slope = domain.fields.relief.slope(there[:, None], state.origin.scene)[:, 0]
    surface = torch.eye(2, dtype=torch.float64) + slope[:, :, None] * slope[:, None]
    assert torch.allclose(gram, surface, atol=1e-12)


def test_a_row_of_a_batch_is_a_batch_of_one() -> None:
    domain, start = scenes(with_features=False)
    controller = maze_controller()
    both = controller.init(domain, start)
    alone = controller.init(domain, domain.select(start, torch.tensor([1])))
    for _ in range(10):
        both, _ = controller.step(domain, both, MazeGoal())
        alone, _ = controller.step(domain, alone, MazeGoal())
    assert torch.allclose(both.domain.origin.position[1], alone.domain.origin.position[0], atol=1e-9)


def test_plan_shift_is_a_backbone_that_continues_the_plan() -> None:
    check_backbone(PlanShift(), batch=2, features=4, dim=16)
    plan = torch.arange(16.0)[None]
    assert PlanShift().step(plan, plan)[0].tolist() == [[*range(2, 16), 14, 15]]


def test_a_first_move_is_never_longer_than_a_step() -> None:
    domain, state = scenes()
    origin = PlanOrigin(*state.origin)
    mean = domain.plan.decode(7.0 * torch.ones(2, domain.latent_dim, dtype=torch.float64), origin).mean
    move = mean[:, :2]
    length = (move.square().sum(-1) + (move * origin.slope).sum(-1).square()).sqrt()
    assert torch.allclose(length, torch.full_like(length, 1 / 48))


def test_observations_have_the_declared_size() -> None:
    domain, state = scenes()
    assert domain.observe(state, None).shape == (2, N_FEATURES)
    assert scenes(with_features=False)[0].observe(state, None).shape == (2, 4)
