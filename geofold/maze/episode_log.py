"""Setup, log and record of an episode.

Glossary: ``T`` steps made. Points (x, y) are in sides of the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofold.core.state import ControllerState, StepInfo
from geofold.maze.regret import Leg, OpenLeg
from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.world import World

TARGET_RADIUS = STEP_LENGTH
"""Distance (sides) from a target at which it is reached."""


@dataclass(frozen=True)
class EpisodeSetup:
    """Setup of an episode.

    Attributes
    ----------
    world : World
    move_at : int or None
        Step before which the obstacle is dragged; None: never.
    drag : 'small', 'medium' or 'large'
    """

    world: World
    move_at: int | None = None
    drag: str = "large"


@dataclass(frozen=True)
class EpisodeRecord:
    """Record of an episode.

    Attributes
    ----------
    worlds : tuple of World
        World at the start and, if the obstacle was dragged, after the drag.
    positions : (T + 1, 2)
    inner, loss, milliseconds, seconds, bumps : (T,)
        For each step: number of corrections K, loss of the emitted plan, wall-clock time of the controller (ms), its
        CPU time (s), and total number of collisions.
    legs : tuple of Leg
        Path to each target.
    dragged : int or None
        Step before which the obstacle was dragged.
    """

    worlds: tuple[World, ...]
    positions: np.ndarray
    inner: np.ndarray
    loss: np.ndarray
    milliseconds: np.ndarray
    seconds: np.ndarray
    bumps: np.ndarray
    legs: tuple[Leg, ...]
    dragged: int | None

    @property
    def reached(self) -> int:
        """Number of targets reached."""
        return sum(leg.reached for leg in self.legs)

    def cells(self, along: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, (T,) each, of the cell in which each step began, with `along` cells along a side."""
        column, row = np.clip((self.positions[:-1] * along).astype(int), 0, along - 1).T
        return row, column


class EpisodeLog:
    """Log of one running episode."""

    def __init__(self, setup: EpisodeSetup) -> None:
        self.setup, self.worlds, self.legs = setup, [setup.world], list[Leg]()
        self.dragged: int | None = None
        self.open_leg = OpenLeg.of(setup.world, setup.world.targets[0], setup.world.start, 0)
        self.positions, self.bumps, self.step_values = [setup.world.start], [0], list[tuple[int, float, float, float]]()

    @property
    def world(self) -> World:
        """World in its current state."""
        return self.worlds[-1]

    @property
    def is_over(self) -> bool:
        """Whether no target remains."""
        return len(self.legs) == len(self.world.targets)

    def drag_if_due(self, step: int) -> bool:
        """Drag the obstacle if it is due before this step, and return whether it was dragged."""
        if step != self.setup.move_at:
            return False
        after = self.world.drag_obstacle(self.setup.drag, self.positions[-1], self.open_leg.target)
        if after is self.world:
            return False
        self.dragged = step
        self.worlds.append(after)
        self.open_leg = self.open_leg.continue_in(after, self.positions[-1])
        return True

    def record(
        self, state: ControllerState, info: StepInfo, row: int, seconds: float, steps: int, leg_steps: int | None
    ) -> bool:
        """Record a step, and return whether the target has changed.

        Parameters
        ----------
        state : ControllerState
            State after the step.
        info : StepInfo
        row : int
            Row of this episode in the batch.
        seconds : float
            CPU time of the step (s).
        steps, leg_steps
            See `run_episodes`.
        """
        position = state.domain.origin.position[row].numpy().copy()
        self.positions.append(position)
        self.bumps.append(int(state.domain.bumps[row]))
        share = info.milliseconds / len(info.inner_steps)
        self.step_values.append((int(info.inner_steps[row]), float(info.loss_after[row]), share, seconds))
        made, began = len(self.step_values), self.open_leg.began
        reached = bool(np.linalg.norm(position - self.open_leg.target) <= TARGET_RADIUS)
        if not reached and made not in (steps, began + (leg_steps or steps)):
            return False
        self.legs.append(self.open_leg.close(position, made, reached, self.bumps[-1] - self.bumps[began]))
        if self.is_over or made == steps:
            return False
        self.open_leg = OpenLeg.of(self.world, self.world.targets[len(self.legs)], position, made)
        return True

    def result(self) -> EpisodeRecord:
        """Record of the finished episode."""
        inner, loss, milliseconds, seconds = (np.array(part) for part in zip(*self.step_values, strict=True))
        return EpisodeRecord(
            tuple(self.worlds),
            np.stack(self.positions),
            inner,
            loss,
            milliseconds,
            seconds,
            np.array(self.bumps[1:]),
            tuple(self.legs),
            self.dragged,
        )
