"""An episode: a controller's stream through a world, target after target, while an obstacle is dragged.

Glossary: ``T`` steps that were made. Points (x, y) are in sides of the world.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.core.metric import Metric
from geofold.core.pullback import Pullback
from geofold.core.report import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.maze.domain import MazeDomain, MazeGoal
from geofold.maze.fields import STEP
from geofold.maze.onward import Onward
from geofold.maze.score import Heading, Leg
from geofold.maze.world import World, require_drag

STEPS = 256
"""Of an episode."""
REACHED = STEP
"""Distance at which a target counts as reached."""
TOLERANCE, LARGEST, FIRST = 0.3, 4, 0.1
"""Gate: loss up to which a plan stands, K_max, and the kappa that earns a second inner step."""


@dataclass(frozen=True)
class Run:
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


def maze_controller(
    backbone: Backbone | None = None, *, metric: Metric | None = None, gate: Gate | None = None, horizon: int = 1
) -> Controller:  # fmt: skip
    """Controller of the maze. A plan looks ahead by itself, so the surrogate is the plan's own loss (H = 1)."""
    return Controller(
        backbone or Onward(), metric or Pullback(), TrustRegion(radius=1.0, largest=8.0),
        gate or ThresholdGate(TOLERANCE, first=FIRST, largest=LARGEST), horizon=horizon,
    )  # fmt: skip


class Stepping(Protocol):
    """What moves an agent step by step: a `Controller`, or what behaves like one."""

    def init(self, domain: Any, state: Any) -> ControllerState:
        """State before the first step."""

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One step towards a goal."""


def drive(
    world: World, controller: Stepping | None = None, *, move_at: int | None = None, drag: str = "large",
    steps: int = STEPS, leg_steps: int | None = None, senses: bool = False,
) -> Run:  # fmt: skip
    """Stream through a world until its last target is reached or the steps are spent.

    Parameters
    ----------
    controller
        None: `maze_controller()`.
    move_at : int or None
        Step before which the obstacle is dragged.
    drag : 'small', 'medium' or 'large'
    steps : int
        Of the episode.
    leg_steps : int or None
        Steps after which a target is given up for the next one; None: never.
    senses
        See `MazeDomain`.

    Raises
    ------
    OptionError
        If there is no drag of that name.
    """
    require_drag(drag)
    controller = controller or maze_controller()
    heading, legs = Heading.of(world, world.targets[0], world.start, 0), list[Leg]()
    worlds, positions, infos, spent, bumps = [world], [world.start], list[StepInfo](), list[float](), [0]
    dragged = None
    domain, state = _entered(controller, world, heading.target, None, senses)
    for step in range(steps):
        if step == move_at:
            after = world.dragged(drag, positions[-1], heading.target)
            if after is not world:
                world, dragged = after, step
                worlds.append(world)
                heading = heading.over(world, positions[-1])
                domain, state = _entered(controller, world, heading.target, state, senses)
        began = time.process_time()
        state, info = controller.step(domain, state, MazeGoal(len(legs), len(worlds)))
        spent.append(time.process_time() - began)
        infos.append(info)
        positions.append(state.domain.here.position[0].numpy().copy())
        bumps.append(int(state.domain.bumps[0]))
        there = bool(np.linalg.norm(positions[-1] - heading.target) <= REACHED)
        if there or step + 1 in (steps, heading.began + (leg_steps or steps)):
            legs.append(heading.ended(positions[-1], step + 1, there, bumps[-1] - bumps[heading.began]))
            if len(legs) == len(world.targets):
                break
            heading = Heading.of(world, world.targets[len(legs)], positions[-1], step + 1)
            domain, state = _entered(controller, world, heading.target, state, senses)
    return Run(
        tuple(worlds), np.stack(positions), np.array([int(info.inner_steps[0]) for info in infos]),
        np.array([float(info.loss_after[0]) for info in infos]), np.array([info.milliseconds for info in infos]),
        np.array(spent), np.array(bumps[1:]), tuple(legs), dragged,
    )  # fmt: skip


def _entered(
    controller: Stepping, world: World, target: np.ndarray, state: ControllerState | None, senses: bool
) -> tuple[MazeDomain, ControllerState]:
    """Another scene: the latent, the metric and the memory of the stream stay as they are."""
    domain = MazeDomain.of([world], target[None], senses=senses)
    scene = torch.zeros(1, dtype=torch.long)
    if state is None:
        return domain, controller.init(domain, domain.start(torch.as_tensor(world.start)[None], scene))
    return domain, state._replace(domain=domain.resumed(state.domain, scene))
