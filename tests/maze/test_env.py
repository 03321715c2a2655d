"""The gymnasium environment: its own checker, the same ground as the controller's, and mistakes in one line."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from geofold.errors import OptionError
from geofold.maze.episode import run_episode
from geofold.maze.render import CAPTION_HEIGHT, IMAGE_SIDE
from geofold.maze.worlds.arcs import arc_length, surface_length
from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.world import make_world

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402

from geofold.maze.env import MazeEnv  # noqa: E402


@pytest.mark.parametrize("layout", ["world", "corridors"])
def test_gymnasium_s_own_checker(layout: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # the checker can only construct further environments, to check render modes, if they are registered
        warnings.filterwarnings("ignore", message=".*skip_render_check.*|.*render modes.*|.*spec.*")
        check_env(MazeEnv(layout, targets=2, move_at=1), skip_render_check=True)


def test_it_is_the_ground_that_the_controller_moves_over() -> None:
    run = run_episode(make_world(1000, targets=2), move_at=20, drag="large")
    env = MazeEnv(targets=2, move_at=20, drag="large")
    env.reset(options={"world": 1000})
    total = 0.0
    for step, move in enumerate(np.diff(run.positions, axis=0)):
        _, reward, ended, cut, info = env.step(tangent_of(env, move) / STEP_LENGTH)
        total += reward
        assert np.allclose(env.trail[-1], run.positions[step + 1], atol=1e-9)
        assert ended == (step + 1 == len(run.inner)) and not cut
    assert info["dragged"] and info["bumps"] == 0 and info["target"] == 1 and total > 0
    assert np.array_equal(env.world.layout.mover, run.worlds[-1].layout.mover)


def tangent_of(env: MazeEnv, move: np.ndarray) -> np.ndarray:
    """Tangent vector (2,) at the agent whose length is that of the arc above a move (2,)."""
    origin, move = env.state.origin, torch.as_tensor(move)[None]
    arc = arc_length(env.world.relief, origin.position, move, origin.scene)
    return (move * (arc / surface_length(move, origin.slope))[:, None])[0].numpy()


def test_same_seed_same_episode() -> None:
    def played() -> list[np.ndarray]:
        env = MazeEnv("corridors")
        seen, _ = env.reset(seed=3)
        env.action_space.seed(3)
        return [seen, *(env.step(env.action_space.sample())[0] for _ in range(10))]

    assert all(np.array_equal(one, other) for one, other in zip(played(), played(), strict=True))


def test_walls_stop_and_steps_run_out() -> None:
    env = MazeEnv(steps=60)
    env.reset(seed=0)
    for _ in range(60):
        _, reward, ended, cut, info = env.step(np.array([-1.0, -1.0]))
    assert cut and not ended and info["bumps"] > 0 and reward < 0
    assert (env.trail[-1] > 0).all()


def test_rgb_array_mode_returns_changing_images(monkeypatch) -> None:
    env = MazeEnv(render_mode="rgb_array")
    env.reset(seed=0)
    image = env.render()
    assert image.shape == (IMAGE_SIDE + CAPTION_HEIGHT, IMAGE_SIDE, 3) and image.dtype == np.uint8
    env.step(np.array([1.0, 0.0]))
    assert not np.array_equal(env.render(), image)


def test_human_mode_draws_without_a_screen(monkeypatch) -> None:
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setitem(MazeEnv.metadata, "render_fps", 1000)
    env = MazeEnv(render_mode="human")
    env.reset(seed=0)
    env.step(np.array([1.0, 0.0]))
    assert env.render() is None
    env.close()
    env.close()


@pytest.mark.parametrize(
    ("options", "word"),
    [({"layout": "sea"}, "corridors"), ({"drag": "far"}, "medium"), ({"render_mode": "ansi"}, "rgb_array")],
)
def test_invalid_options_raise(options: dict[str, str], word: str) -> None:
    with pytest.raises(OptionError, match=word):
        MazeEnv(**options)


def test_invalid_moves_raise() -> None:
    env = MazeEnv()
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2))
    env.reset(seed=0)
    for action in (np.array([np.nan, 0.0]), np.zeros(3)):
        with pytest.raises(OptionError, match="two finite numbers"):
            env.step(action)
