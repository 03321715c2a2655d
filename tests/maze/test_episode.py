"""Episodes: targets reached by short ways without collisions, under drags, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geofold.bench.maze.agents.ilqr import IlqrLite
from geofold.errors import OptionError
from geofold.maze.episode import run_episode, run_episodes
from geofold.maze.episode_log import TARGET_RADIUS, EpisodeSetup
from geofold.maze.plan_shift import PlanShift
from geofold.maze.render import (
    CAPTION_HEIGHT,
    DEPTH_COLOURS,
    IMAGE_SIDE,
    draw_frames,
    draw_ground,
    encode_gif,
    heat_map,
    mean_inner_steps,
)
from geofold.maze.worlds.arcs import arc_length
from geofold.maze.worlds.fields import STEP_LENGTH, Fields
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.world import make_world


@pytest.fixture(scope="module")
def run():
    return run_episode(make_world(1000, targets=3), move_at=20, drag="large")


def test_it_gets_there_by_a_short_way(run) -> None:
    assert run.reached == 3 and run.bumps[-1] == 0
    assert run.dragged == 20 and len(run.worlds) == 2
    for leg in run.legs:
        assert np.linalg.norm(run.positions[leg.ended] - leg.target) <= TARGET_RADIUS
        # a target counts as reached a step before it, and the oracle's ways are up to 1.4 % too long
        assert -0.05 < leg.regret < 0.5


def test_every_step_keeps_the_rules(run) -> None:
    at, moves = torch.as_tensor(run.positions[:-1]), torch.as_tensor(np.diff(run.positions, axis=0))
    arcs = arc_length(run.worlds[0].relief, at, moves, torch.zeros(len(at), dtype=torch.long), 64)
    assert float(arcs.max()) <= STEP_LENGTH * (1 + 1e-4) and float(arcs.median()) >= STEP_LENGTH * (1 - 1e-4)
    ground = [Fields.of([world]) for world in run.worlds]
    for step, place in enumerate(run.positions):
        fields = ground[step > run.dragged]
        assert float(fields.distance(torch.as_tensor(place)[None, None], torch.zeros(1, dtype=torch.long))) > 0


def test_rows_walk_as_they_would_alone() -> None:
    walks = [EpisodeSetup(make_world(1000 + k, targets=3), at, "large") for k, at in enumerate((20, None, 35))]
    walks.append(EpisodeSetup(make_world(1003, targets=1)))
    # a sweep is bold enough to make much of a rounding error after a while
    for controller, steps in ((None, 70), (IlqrLite(PlanShift()), 15)):
        together = run_episodes(walks, controller, steps=steps, leg_steps=30)
        for walk, run in zip(walks, together, strict=True):
            alone = run_episode(walk.world, controller, move_at=walk.move_at, drag=walk.drag, steps=steps, leg_steps=30)
            assert np.allclose(run.positions, alone.positions, atol=1e-9) and np.array_equal(run.inner, alone.inner)
            assert run.dragged == alone.dragged and np.array_equal(run.bumps, alone.bumps)
            assert [(leg.began, leg.ended, leg.reached) for leg in run.legs] == [
                (leg.began, leg.ended, leg.reached) for leg in alone.legs
            ]
        # one of them was over before the others
        assert controller is not None or len(together[-1].inner) < 70 == len(together[0].inner)


@pytest.mark.parametrize("layout", ["world", "corridors"])
def test_same_seed_same_way(layout: str) -> None:
    one, other = (run_episode(make_world(7, layout), move_at=10, drag="small", steps=30) for _ in range(2))
    assert np.array_equal(one.positions, other.positions) and np.array_equal(one.inner, other.inner)
    assert encode_gif(one) == encode_gif(other) and heat_map([one]) == heat_map([other])


def test_an_unfinished_leg_is_recorded(run) -> None:
    short = run_episode(make_world(1000, targets=3), steps=5)
    assert len(short.inner) == 5 and not short.legs[-1].reached
    assert np.array_equal(short.positions, run.positions[:6])


def test_pictures_show_what_happened(run) -> None:
    images = draw_frames(run)
    assert len(images) == len(run.inner) + 1 and images[0].shape == (IMAGE_SIDE + CAPTION_HEIGHT, IMAGE_SIDE, 3)
    before, after = draw_ground(run.worlds[0]), draw_ground(run.worlds[1], run.worlds[0])
    moved = (before != after).any(-1)[::-1].reshape(CELLS, IMAGE_SIDE // CELLS, CELLS, -1).any((1, 3))
    assert np.array_equal(moved, run.worlds[0].layout.mover ^ run.worlds[1].layout.mover) or moved.sum() > 0
    colours = {tuple(colour) for colour in images[-1][:IMAGE_SIDE].reshape(-1, 3)}
    assert {DEPTH_COLOURS[min(int(k), 4)] for k in run.inner} <= colours
    assert encode_gif(run)[:6] == b"GIF89a" and heat_map([run])[1:4] == b"PNG"
    mean = mean_inner_steps([run], blur=1e-3)
    column, row = (run.positions[0] * CELLS).astype(int)
    here = ((run.positions[:-1] * CELLS).astype(int) == (column, row)).all(1)
    assert mean[row, column] == pytest.approx(run.inner[here].mean())


def test_a_drag_that_is_none() -> None:
    with pytest.raises(OptionError, match="small, medium, large"):
        run_episode(make_world(0), move_at=3, drag="huge")
