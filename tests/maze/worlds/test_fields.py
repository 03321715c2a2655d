"""Ground and signed distances: exact where they are known, and their derivatives against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from geofold.maze.worlds.arcs import arc_length, walk
from geofold.maze.worlds.fields import STEP_LENGTH, Fields, cap_length, signed_distance
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.relief import RELIEFS, Relief
from geofold.maze.worlds.world import make_world

MIDDLES = (np.arange(CELLS) + 0.5) / CELLS
X, Y = np.meshgrid(MIDDLES, MIDDLES)
E = 1e-6


def points(count: int, seed: int = 0) -> torch.Tensor:
    return torch.as_tensor(np.random.default_rng(seed).uniform(0.03, 0.97, (2, count, 2)))


@pytest.fixture(scope="module")
def fields() -> Fields:
    """Waves and bumps in one batch, whose shorter lists of both are filled up."""
    return Fields.of([make_world(1, relief="ridges", slope=2.0), make_world(2, "corridors")])


def of_solid(barriers: np.ndarray) -> Fields:
    world = make_world(0)
    none = np.zeros_like(barriers)
    return Fields.of([replace(world, layout=world.layout._replace(fixed=barriers, mover=none))])


def test_a_half_plane_is_exact() -> None:
    found = of_solid(X < 0.25).distance(
        torch.tensor([[[0.6, 0.3], [0.25, 0.5], [0.1, 0.9]]], dtype=torch.float64), ZERO
    )
    assert torch.allclose(found, torch.tensor([[0.35, 0.0, -0.15]], dtype=torch.float64), atol=1e-12)


def test_a_disc_is_right_to_a_cell() -> None:
    found = signed_distance(np.hypot(X - 0.5, Y - 0.5) < 0.2)
    assert np.abs(found - (np.hypot(X - 0.5, Y - 0.5) - 0.2)).max() < 1 / CELLS


def test_the_gradient_of_the_distance(fields: Fields) -> None:
    at, scene = points(40), torch.tensor([0, 1])
    slope = fields.distance_slope(at, scene)
    for k in range(2):
        shift = E * torch.eye(2, dtype=torch.float64)[k]
        expected = (fields.distance(at + shift, scene) - fields.distance(at - shift, scene)) / (2 * E)
        assert torch.allclose(slope[..., k], expected, atol=1e-6)


def test_scenes_of_one_atlas_do_not_touch(fields: Fields) -> None:
    at = torch.as_tensor(np.random.default_rng(3).uniform(-0.1, 1.1, (2, 50, 2)))
    both = fields.distance(at, torch.tensor([0, 1]))
    heights = fields.relief.height(at, torch.tensor([0, 1]))
    for k, world in enumerate((make_world(1, relief="ridges", slope=2.0), make_world(2, "corridors"))):
        assert torch.allclose(both[k], Fields.of([world]).distance(at[k : k + 1], ZERO)[0], atol=1e-12)
        assert torch.allclose(heights[k], world.relief.height(at[k : k + 1], ZERO)[0], atol=1e-12)


def test_outside_of_the_world_is_deeper_and_deeper_in_the_wall(fields: Fields) -> None:
    at = torch.tensor([[[-0.1, 0.5], [-0.2, 0.5], [1.3, 1.2]]], dtype=torch.float64)
    near, far, corner = fields.distance(at, ZERO)[0]
    assert far < near < 0 and corner < far


def test_slope_and_bend_of_the_ground(fields: Fields) -> None:
    relief, at, scene = fields.relief, points(20), torch.tensor([0, 1])
    height, slope = relief.height_and_slope(at, scene)
    assert torch.equal(height, relief.height(at, scene)) and torch.equal(slope, relief.slope(at, scene))
    along = points(20, seed=1) - 0.5
    ahead, back = (relief.height(at + sign * 1e-4 * along, scene) for sign in (1, -1))
    assert torch.allclose((slope * along).sum(-1), (ahead - back) / 2e-4, atol=1e-5)
    assert torch.allclose(relief.bend(at, scene, along), (ahead - 2 * height + back) / 1e-8, atol=1e-4)


@pytest.mark.parametrize("kind", RELIEFS)
@pytest.mark.parametrize("slope", [0.0, 0.45, 4.0])
def test_the_ground_is_as_steep_as_it_says(kind: str, slope: float) -> None:
    drawn = [Relief.draw(np.random.default_rng(seed), slope=slope, kind=kind) for seed in range(40)]
    slopes = Relief.stack(drawn).slope(points(400).flatten(0, 1)[None].expand(40, -1, -1), torch.arange(40))
    assert abs(float(slopes.square().sum(-1).mean().sqrt()) - slope) <= 0.18 * slope


@pytest.mark.parametrize("kind", RELIEFS)
def test_a_step_is_an_arc_of_the_surface(kind: str) -> None:
    relief, scene = make_world(4, relief=kind, slope=4.0).relief, torch.zeros(300, dtype=torch.long)
    noise = np.random.default_rng(5)
    at, tangent = (torch.as_tensor(noise.uniform(*ends, (300, 2))) for ends in ((0.05, 0.95), (-1, 1)))
    slope = relief.slope(at[:, None], scene)[:, 0]
    tangent = cap_length(tangent, slope)
    move = walk(relief, at, tangent, slope, scene)
    line = at[:, None] + torch.linspace(0, 1, 2001, dtype=at.dtype)[:, None] * move[:, None]
    rise = relief.height(line, scene).diff(dim=-1)
    arc = ((move.norm(dim=-1, keepdim=True) / 2000).square() + rise.square()).sqrt().sum(-1)
    assert torch.allclose(arc, torch.full_like(arc, STEP_LENGTH), rtol=5e-3)
    # the direction is that of the tangent vector, and the tangent vector itself would be a step of another length
    assert torch.allclose(move[:, 0] * tangent[:, 1], move[:, 1] * tangent[:, 0], atol=1e-12)
    assert ((arc_length(relief, at, tangent, scene, 64) / STEP_LENGTH - 1).abs() > 0.05).any()


def test_a_step_on_a_plane_is_its_tangent_vector() -> None:
    noise = np.random.default_rng(6)
    at, tangent = (torch.as_tensor(noise.uniform(0.2, 0.8, (20, 2))) for _ in range(2))
    flat = make_world(1, slope=0.0).relief
    assert torch.allclose(walk(flat, at, tangent, torch.zeros_like(at), torch.zeros(20, dtype=torch.long)), tangent)
    assert torch.equal(walk(flat, at, 0 * tangent, 0 * at, torch.zeros(20, dtype=torch.long)), 0 * tangent)


def test_a_move_ends_before_a_barrier_and_keeps_the_longest_step() -> None:
    fields, at = of_solid(X > 0.5), torch.tensor([[0.49, 0.5], [0.3, 0.5]], dtype=torch.float64)
    move = torch.tensor([[0.02, 0.0], [0.02, 0.0]], dtype=torch.float64)
    share, stopped = fields.free_fraction(at, move, torch.tensor([0, 0]))
    assert stopped.tolist() == [True, False] and share.tolist() == [0.25, 1.0]
    slope = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    short = cap_length(torch.tensor([[1.0, 0.0], [0.5 * STEP_LENGTH, 0.0]], dtype=torch.float64), slope)
    assert torch.allclose(short[:, 0], torch.tensor([STEP_LENGTH / 2**0.5, 0.5 * STEP_LENGTH], dtype=torch.float64))


ZERO = torch.zeros(1, dtype=torch.long)
