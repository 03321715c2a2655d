"""An episode: a controller's stream through a world, target after target, while an obstacle is dragged.

Glossary: ``T`` steps that were made. Points (x, y) are in sides of the world.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.core.metric import Metric
from geofold.core.pullback import Pullback
from geofold.core.report import ControllerState, StepInfo
from geofold.core.stream import Patience, stream
from geofold.core.trust_region import TrustRegion
from geofold.maze.domain import MazeDomain, MazeGoal
from geofold.maze.fields import STEP
from geofold.maze.onward import Onward
from geofold.maze.score import Heading, Leg
from geofold.maze.world import World, checked

STEPS = 256
"""Of an episode."""
REACHED = STEP
"""Distance at which a target counts as reached."""
TOLERANCE, LARGEST, FIRST = 0.3, 4, 0.1
"""Gate: loss up to which a plan stands, K_max, and the kappa that earns a second inner step."""
PATIENCE = Patience(window=12, fraction=0.05, tolerance=1.0, kicks=3, size=0.5)


@dataclass(frozen=True)
class Run:
    """What happened.

    Attributes
    ----------
    worlds
        The world and, where its obstacle was dragged, what it was then.
    positions : (T + 1, 2)
    inner, loss, milliseconds, bumps : (T,)
        Of every step: K, the loss of the plan that was emitted, the controller's time, bumps so far.
    dragged : int or None
        The step before which the obstacle was dragged.
    """

    worlds: tuple[World, ...]
    positions: np.ndarray
    inner: np.ndarray
    loss: np.ndarray
    milliseconds: np.ndarray
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


@dataclass(frozen=True)
class Driver:
    """How an episode is driven.

    Parameters
    ----------
    controller
    move_at : int or None
        Step before which the obstacle is dragged.
    drag : 'small', 'medium' or 'large'
    steps, leg_steps : int
        Steps of the episode, and those after which a target is given up for the next one (None: never).
    charted, senses
        See `MazeDomain`.
    patience
        Kicks for an agent that is stuck (None: none).
    """

    controller: Controller = field(default_factory=maze_controller)
    move_at: int | None = None
    drag: str = "large"
    steps: int = STEPS
    leg_steps: int | None = None
    charted: bool = True
    senses: bool = False
    patience: Patience | None = PATIENCE

    def __post_init__(self) -> None:
        checked(self.drag)

    def drive(self, world: World) -> Run:
        """Stream through a world until its last target is reached or the steps are spent."""
        heading, legs = Heading.of(world, world.targets[0], world.start, 0), list[Leg]()
        worlds, positions, infos, bumps = [world], [world.start], list[StepInfo](), [0]
        dragged, flow, state = None, None, None
        for step in range(self.steps):
            if step == self.move_at:
                after = world.dragged(self.drag, positions[-1], heading.target)
                if after is not world:
                    world, dragged, flow = after, step, None
                    worlds.append(world)
                    heading = heading.over(world, positions[-1])
            flow = flow or self._stream(world, heading.target, state, step)
            state, info = next(flow)
            infos.append(info)
            positions.append(state.domain.here.position[0].numpy().copy())
            bumps.append(int(state.domain.bumps[0]))
            there = bool(np.linalg.norm(positions[-1] - heading.target) <= REACHED)
            spent = step + 1 == self.steps or step + 1 - heading.began == self.leg_steps
            if there or spent:
                legs.append(heading.ended(positions[-1], step + 1, there, bumps[-1] - bumps[heading.began]))
                if len(legs) == len(world.targets):
                    break
                heading, flow = Heading.of(world, world.targets[len(legs)], positions[-1], step + 1), None
        return Run(
            tuple(worlds), np.stack(positions), np.array([int(info.inner_steps[0]) for info in infos]),
            np.array([float(info.loss_after[0]) for info in infos]), np.array([info.milliseconds for info in infos]),
            np.array(bumps[1:]), tuple(legs), dragged,
        )  # fmt: skip

    def _stream(
        self, world: World, target: np.ndarray, state: ControllerState | None, step: int
    ) -> Iterator[tuple[ControllerState, StepInfo]]:
        """Steps in another scene: the latent, the metric and the memory stay, the learned radius goes."""
        domain = MazeDomain.of([world], target[None], charted=self.charted, senses=self.senses)
        scene = torch.zeros(1, dtype=torch.long)
        if state is None:
            state = self.controller.init(domain, domain.start(torch.as_tensor(world.start)[None], scene))
        else:
            state = state._replace(domain=domain.resumed(state.domain, scene))
        seed = (world.seed + step) % 2**31
        return stream(self.controller, domain, state, MazeGoal(step), patience=self.patience, seed=seed)
