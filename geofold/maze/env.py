"""Maze as a gymnasium environment, with the worlds, ground and rules of the domain of the controller.

Actions are moves in steps, observations are the features of `geofold.maze.features`. The reward is the progress towards
the target in steps minus a cost for each collision.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch

from geofold.core.domain import Prediction
from geofold.errors import OptionError
from geofold.maze.domain import MazeDomain, MazeState
from geofold.maze.episode import EPISODE_STEPS
from geofold.maze.episode_log import TARGET_RADIUS
from geofold.maze.features import N_FEATURES
from geofold.maze.worlds.fields import STEP_LENGTH, cap_length
from geofold.maze.worlds.layouts import CELL_KINDS, CELLS
from geofold.maze.worlds.world import World, make_world, require_drag, require_world

COLLISION_COST = 1.0
"""Cost (steps) of a move that a barrier stops."""
OBSERVATION_BOUND = 8.0
"""Bound of the observations, beyond which they are clipped."""


class MazeEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """Environment of one maze.

    ``reset(options={"world": seed})`` selects a world; otherwise the generator of the environment draws its seed.

    Parameters
    ----------
    layout : 'world' or 'corridors'
    targets : int
        Number of consecutive targets; the episode ends at the last.
    move_at : int or None
        Step before which the obstacle is dragged; None: never.
    drag : 'small', 'medium' or 'large'
    steps : int
        Step at which an episode is truncated.
    render_mode : None, 'rgb_array' or 'human'
        'human' draws into a window of matplotlib, if there is a screen.
    relief, slope
        Ground of the worlds, see `make_world`.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 12}  # noqa: RUF012 (gymnasium's own contract)

    def __init__(
        self,
        layout: str = "world",
        targets: int = 1,
        move_at: int | None = None,
        drag: str = "large",
        steps: int = EPISODE_STEPS,
        render_mode: str | None = None,
        relief: str = "waves",
        slope: float | None = None,
    ) -> None:
        require_world(layout, targets, relief=relief, slope=slope)
        require_drag(drag)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise OptionError(f"render_mode {render_mode}", "rgb_array or human", "choose one of them")
        self.layout, self.count, self.move_at, self.drag = layout, targets, move_at, drag
        self.steps, self.render_mode = steps, render_mode
        self.relief, self.slope = relief, slope
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = gymnasium.spaces.Box(-OBSERVATION_BOUND, OBSERVATION_BOUND, (N_FEATURES,), np.float32)
        self.state: MazeState
        self.trail: list[np.ndarray] = []
        self._window: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start an episode in a world."""
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(2**31))
        seed_of_world = (options or {}).get("world", drawn)
        self.world = make_world(seed_of_world, self.layout, targets=self.count, relief=self.relief, slope=self.slope)
        self.dragged_from: World | None = None
        self.number, self.steps_made, self.trail = 0, 0, [self.world.start]
        self._enter(None)
        self._show()
        return self._observation(), self._info()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move by an action (2,) in steps, limited to one step on the surface."""
        if not self.trail:
            raise gymnasium.error.ResetNeeded("step() before reset(); expected a call of reset() first; call it")
        if not np.isfinite(action).all() or np.shape(action) != (2,):
            raise OptionError(f"action {np.asarray(action).tolist()}", "two finite numbers", "give a move (x, y)")
        if self.steps_made == self.move_at:
            self._drag()
        target, bumps = self.world.targets[self.number], int(self.state.bumps[0])
        before = np.linalg.norm(target - self.trail[-1])
        move = STEP_LENGTH * torch.as_tensor(np.clip(action, -1, 1), dtype=torch.float64)[None]
        self.state = self.domain.commit(_one_move_plan(cap_length(move, self.state.origin.slope)), self.state)
        self.trail.append(self.state.origin.position[0].numpy().copy())
        self.steps_made += 1
        left = np.linalg.norm(target - self.trail[-1])
        reward = float(before - left) / STEP_LENGTH - COLLISION_COST * (int(self.state.bumps[0]) - bumps)
        ended = bool(left <= TARGET_RADIUS) and self.number + 1 == self.count
        if left <= TARGET_RADIUS and not ended:
            self.number += 1
            self._enter(self.state)
        self._show()
        return self._observation(), reward, ended, self.steps_made >= self.steps and not ended, self._info()

    def render(self) -> Any:
        """Image (height, width, 3) of the maze and the path so far; None for 'human', which is shown at every step."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() without a render_mode; give rgb_array or human to the environment")
        return self._frame() if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _drag(self) -> None:
        after = self.world.drag_obstacle(self.drag, self.trail[-1], self.world.targets[self.number])
        if after is not self.world:
            self.world, self.dragged_from = after, self.world
            self._enter(self.state)

    def _enter(self, state: MazeState | None) -> None:
        """Start a scene: the world in its current state, and a target."""
        self.domain = MazeDomain.of([self.world], self.world.targets[self.number : self.number + 1], with_features=True)
        scene = torch.zeros(1, dtype=torch.long)
        start = torch.as_tensor(self.world.start)[None]
        self.state = self.domain.start(start, scene) if state is None else self.domain.resume(state, scene)

    def _observation(self) -> np.ndarray:
        features = self.domain.observe(self.state, None)[0].numpy()
        return np.clip(features, -OBSERVATION_BOUND, OBSERVATION_BOUND).astype(np.float32)

    def _info(self) -> dict[str, Any]:
        column, row = np.clip((self.trail[-1] * CELLS).astype(int), 0, CELLS - 1)
        return {
            "world": self.world.seed,
            "target": self.number,
            "bumps": int(self.state.bumps[0]),
            "kind": CELL_KINDS[self.world.layout.kind[row, column]],
            "dragged": self.dragged_from is not None,
        }

    def _frame(self) -> np.ndarray:
        from geofold.maze.render import draw_frame, draw_ground

        target = self.world.targets[self.number]
        note = (
            f"step {self.steps_made}  target {self.number + 1} of {self.count}  collisions {int(self.state.bumps[0])}"
        )
        return draw_frame(draw_ground(self.world, self.dragged_from), np.stack(self.trail), target, note=note)

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        from geofold.maze.window import Window

        self._window = self._window or Window()
        self._window.show(self._frame(), 1 / self.metadata["render_fps"])


def _one_move_plan(move: torch.Tensor) -> Prediction:
    """Prediction of a plan that consists of one move (1, 2)."""
    return Prediction(move, torch.ones_like(move), torch.ones(1, dtype=torch.bool))
