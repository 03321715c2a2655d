"""Episodes: a controller's streams through worlds, target after target, while obstacles are dragged.

Glossary: ``T`` steps that were made. Points (x, y) are in sides of the world.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.core.metric import Metric
from geofold.core.population import select_rows
from geofold.core.pullback import Pullback
from geofold.core.state import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.maze.domain import MazeDomain
from geofold.maze.fields import STEP_LENGTH
from geofold.maze.layouts import CELLS
from geofold.maze.plan_shift import PlanShift
from geofold.maze.regret import Leg, OpenLeg
from geofold.maze.scenes import BatchGoal, replace_scenes
from geofold.maze.world import World, require_drag

EPISODE_STEPS = 256
"""Of an episode."""
TARGET_RADIUS = STEP_LENGTH
"""Distance at which a target counts as reached."""
PLAN_TOLERANCE, GUIDED_TOLERANCE, MAX_DEPTH, SECOND_STEP_KAPPA = 0.3, 4.0, 4, 0.1
"""Gate: loss up to which a plan stands, the same where a trained predictor leads, K_max, and the kappa that earns a
second inner step.

Of tolerances from 0.3 to 8, on tuning worlds with the trained predictor: at 4 as many targets are reached in corridors
(95 %; 85 % without corrections) with a fifth of the inner steps, at 1.6 % more steps in the open.
"""


@dataclass(frozen=True)
class EpisodeRecord:
    """What happened.

    Attributes
    ----------
    worlds
        The world and, where its obstacle was dragged, what it was then.
    positions : (T + 1, 2)
    inner, loss, milliseconds, seconds, bumps : (T,)
        Of every step: K, the loss of the plan that was emitted, the controller's wall clock (ms) and time on the
        processor (s), bumps so far.
    dragged : int or None
        The step before which the obstacle was dragged.
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
        """Targets that were reached."""
        return sum(leg.reached for leg in self.legs)

    def cells(self, along: int = CELLS) -> tuple[np.ndarray, np.ndarray]:
        """Row and column, (T,) each, of the cell that each step began in, of so many along a side."""
        column, row = np.clip((self.positions[:-1] * along).astype(int), 0, along - 1).T
        return row, column


def maze_controller(
    backbone: Backbone | None = None, *, metric: Metric | None = None, gate: Gate | None = None, horizon: int = 1
) -> Controller:
    """Controller of the maze. A plan looks ahead by itself, so the surrogate is the plan's own loss (H = 1)."""
    return Controller(
        backbone or PlanShift(),
        metric or Pullback(),
        TrustRegion(radius=1.0, largest=8.0),
        gate
        or ThresholdGate(
            PLAN_TOLERANCE if backbone is None else GUIDED_TOLERANCE, first=SECOND_STEP_KAPPA, largest=MAX_DEPTH
        ),
        horizon=horizon,
    )


class StepController(Protocol):
    """What moves an agent step by step: a `Controller`, or what behaves like one."""

    def init(self, domain: Any, state: Any) -> ControllerState:
        """State before the first step."""

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One step towards a goal."""


@dataclass(frozen=True)
class EpisodeSetup:
    """An episode to be: a world, the step before which its obstacle is dragged (None: never), and how far."""

    world: World
    move_at: int | None = None
    drag: str = "large"


def run_episode(
    world: World,
    controller: StepController | None = None,
    *,
    move_at: int | None = None,
    drag: str = "large",
    steps: int = EPISODE_STEPS,
    leg_steps: int | None = None,
    with_features: bool = False,
) -> EpisodeRecord:
    """Stream through a world until its last target is reached or the steps are spent.

    Parameters
    ----------
    controller
        None: `maze_controller()`.
    move_at : int or None
        Step before which the obstacle is dragged.
    drag : 'small', 'medium' or 'large'
    steps, leg_steps, senses
        See `run_episodes`.

    Raises
    ------
    OptionError
        If there is no drag of that name.
    """
    (run,) = run_episodes(
        [EpisodeSetup(world, move_at, drag)], controller, steps=steps, leg_steps=leg_steps, with_features=with_features
    )
    return run


def run_episodes(
    setups: Sequence[EpisodeSetup],
    controller: StepController | None = None,
    *,
    steps: int = EPISODE_STEPS,
    leg_steps: int | None = None,
    with_features: bool = False,
) -> list[EpisodeRecord]:
    """Stream through several worlds side by side, a row each; times are what a row took of a step of all.

    Parameters
    ----------
    steps : int
        Of an episode.
    leg_steps : int or None
        Steps after which a target is given up for the next one; None: never.
    senses
        See `MazeDomain`.

    Raises
    ------
    OptionError
        If there is no drag of that name.
    """
    for setup in setups:
        require_drag(setup.drag)
    controller = controller or maze_controller()
    logs = [_EpisodeLog(setup) for setup in setups]
    domain = _make_domain(logs, with_features)
    begin = torch.as_tensor(np.stack([log.world.start for log in logs]))
    state, going = controller.init(domain, domain.start(begin, torch.arange(len(logs)))), [*range(len(logs))]
    for step in range(steps):
        domain, state = _enter_scenes(domain, state, logs, [k for k in going if logs[k].moved(step)], with_features)
        began = time.process_time()
        state, info = controller.step(domain, state, _batch_goal([logs[k] for k in going]))
        spent = (time.process_time() - began) / len(going)
        fresh = [k for row, k in enumerate(going) if logs[k].stepped(state, info, row, spent, steps, leg_steps)]
        left = [row for row, k in enumerate(going) if not logs[k].over]
        if not left or step + 1 == steps:
            break
        if len(left) < len(going):
            state = select_rows(domain, state, torch.as_tensor(left))
            going = [going[row] for row in left]
        domain, state = _enter_scenes(domain, state, logs, fresh, with_features)
    return [log.run() for log in logs]


class _EpisodeLog:
    """What an episode has come to."""

    def __init__(self, setup: EpisodeSetup) -> None:
        self.setup, self.worlds, self.legs = setup, [setup.world], list[Leg]()
        self.dragged: int | None = None
        self.open_leg = OpenLeg.of(setup.world, setup.world.targets[0], setup.world.start, 0)
        self.positions, self.bumps, self.told = [setup.world.start], [0], list[tuple[int, float, float, float]]()

    @property
    def world(self) -> World:
        """As it stands."""
        return self.worlds[-1]

    @property
    def over(self) -> bool:
        """Whether no target is left."""
        return len(self.legs) == len(self.world.targets)

    def moved(self, step: int) -> bool:
        """Whether the obstacle was dragged before a step."""
        if step != self.setup.move_at:
            return False
        after = self.world.drag_obstacle(self.setup.drag, self.positions[-1], self.open_leg.target)
        if after is self.world:
            return False
        self.dragged = step
        self.worlds.append(after)
        self.open_leg = self.open_leg.over(after, self.positions[-1])
        return True

    def stepped(
        self, state: ControllerState, info: StepInfo, row: int, seconds: float, steps: int, leg_steps: int | None
    ) -> bool:
        """Note a step; whether another target is wanted from now on."""
        here = state.domain.origin.position[row].numpy().copy()
        self.positions.append(here)
        self.bumps.append(int(state.domain.bumps[row]))
        share = info.milliseconds / len(info.inner_steps)
        self.told.append((int(info.inner_steps[row]), float(info.loss_after[row]), share, seconds))
        made, began = len(self.told), self.open_leg.began
        there = bool(np.linalg.norm(here - self.open_leg.target) <= TARGET_RADIUS)
        if not there and made not in (steps, began + (leg_steps or steps)):
            return False
        self.legs.append(self.open_leg.ended(here, made, there, self.bumps[-1] - self.bumps[began]))
        if self.over or made == steps:
            return False
        self.open_leg = OpenLeg.of(self.world, self.world.targets[len(self.legs)], here, made)
        return True

    def run(self) -> EpisodeRecord:
        """All of it."""
        inner, loss, milliseconds, seconds = (np.array(part) for part in zip(*self.told, strict=True))
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


def _batch_goal(logs: list[_EpisodeLog]) -> BatchGoal:
    told = torch.tensor([(len(log.legs), len(log.worlds)) for log in logs])
    return BatchGoal(told[:, 0], told[:, 1])


def _make_domain(logs: list[_EpisodeLog], with_features: bool) -> MazeDomain:
    targets = np.stack([log.open_leg.target for log in logs])
    return MazeDomain.of([log.world for log in logs], targets, with_features=with_features)


def _enter_scenes(
    domain: MazeDomain, state: ControllerState, logs: list[_EpisodeLog], fresh: list[int], with_features: bool
) -> tuple[MazeDomain, ControllerState]:
    """Other scenes of some walkers: the latent, the metric and the memory of their streams stay as they are."""
    if not fresh:
        return domain, state
    domain = replace_scenes(domain, fresh, _make_domain([logs[k] for k in fresh], with_features))
    return domain, state._replace(domain=domain.resume(state.domain, state.domain.origin.scene))
