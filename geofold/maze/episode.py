"""Episodes: streams of a controller through worlds with consecutive targets and dragged obstacles.

Glossary: ``T`` steps made. Points (x, y) are in sides of the world.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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
from geofold.maze.episode_log import EpisodeLog, EpisodeRecord, EpisodeSetup
from geofold.maze.plan_shift import PlanShift
from geofold.maze.scenes import BatchGoal, replace_scenes
from geofold.maze.worlds.world import World, require_drag

EPISODE_STEPS = 256
"""Maximum number of steps of an episode."""
PLAN_TOLERANCE, GUIDED_TOLERANCE, MAX_DEPTH, SECOND_STEP_KAPPA = 0.3, 4.0, 4, 0.1
"""Parameters of the gate: tolerance, tolerance with a trained predictor, K_max, and the kappa of a second correction.

With a trained predictor, tolerances from 0.3 to 8 were compared on tuning worlds: 4 reaches as many targets in
corridors as lower ones (95 %, against 85 % without corrections) with a fifth of the corrections.
"""


def threshold_gate(tolerance: float = GUIDED_TOLERANCE) -> ThresholdGate:
    """Gate that opens above a loss, and adds a correction for every factor of ten in kappa; not trained."""
    return ThresholdGate(tolerance, first=SECOND_STEP_KAPPA, largest=MAX_DEPTH)


def maze_controller(
    backbone: Backbone | None = None,
    *,
    metric: Metric | None = None,
    gate: Gate | None = None,
    horizon: int = 1,
    trust_region: TrustRegion | None = None,
) -> Controller:
    """Return the controller of the maze.

    Parameters
    ----------
    backbone : Backbone or None
        None: `PlanShift`.
    metric : Metric or None
        None: the exact pullback metric.
    gate : Gate or None
        None: a threshold gate, with a higher tolerance if there is a backbone.
    horizon : int
        H; a plan contains future moves, so its own loss (H = 1) is sufficient.
    trust_region : TrustRegion or None
        None: a radius of 1 at first, and of 8 at most.

    Returns
    -------
    Controller
    """
    return Controller(
        backbone or PlanShift(),
        metric or Pullback(),
        trust_region or TrustRegion(radius=1.0, largest=8.0),
        gate or threshold_gate(PLAN_TOLERANCE if backbone is None else GUIDED_TOLERANCE),
        horizon=horizon,
    )


class StepController(Protocol):
    """Controller, or another object with its methods `init` and `step`."""

    def init(self, domain: Any, state: Any) -> ControllerState:
        """State before the first step."""

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step towards a goal."""


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
    """Run an episode until the last target is reached or the steps are used up.

    Parameters
    ----------
    world : World
    controller : StepController or None
        None: `maze_controller()`.
    move_at : int or None
        Step before which the obstacle is dragged; None: never.
    drag : 'small', 'medium' or 'large'
    steps, leg_steps, with_features
        See `run_episodes`.

    Returns
    -------
    EpisodeRecord

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
    """Run several episodes in one batch, one row each. The time of a step is divided equally among the rows.

    Parameters
    ----------
    setups : sequence of EpisodeSetup
    controller : StepController or None
        None: `maze_controller()`.
    steps : int
        Maximum number of steps of an episode.
    leg_steps : int or None
        Number of steps after which a target is given up for the next one; None: never.
    with_features : bool
        Whether the domain observes all features, see `MazeDomain`.

    Returns
    -------
    list of EpisodeRecord

    Raises
    ------
    OptionError
        If there is no drag of that name.
    """
    for setup in setups:
        require_drag(setup.drag)
    controller = controller or maze_controller()
    logs = [EpisodeLog(setup) for setup in setups]
    domain = _make_domain(logs, with_features)
    start = torch.as_tensor(np.stack([log.world.start for log in logs]))
    state, active = controller.init(domain, domain.start(start, torch.arange(len(logs)))), [*range(len(logs))]
    for step in range(steps):
        domain, state = _enter_scenes(
            domain, state, logs, [k for k in active if logs[k].drag_if_due(step)], with_features
        )
        start_time = time.process_time()
        state, info = controller.step(domain, state, _batch_goal([logs[k] for k in active]))
        cpu_seconds = (time.process_time() - start_time) / len(active)
        changed = [k for row, k in enumerate(active) if logs[k].record(state, info, row, cpu_seconds, steps, leg_steps)]
        remaining = [row for row, k in enumerate(active) if not logs[k].is_over]
        if not remaining or step + 1 == steps:
            break
        if len(remaining) < len(active):
            state = select_rows(domain, state, torch.as_tensor(remaining))
            active = [active[row] for row in remaining]
        domain, state = _enter_scenes(domain, state, logs, changed, with_features)
    return [log.result() for log in logs]


def _batch_goal(logs: list[EpisodeLog]) -> BatchGoal:
    counts = torch.tensor([(len(log.legs), len(log.worlds)) for log in logs])
    return BatchGoal(counts[:, 0], counts[:, 1])


def _make_domain(logs: list[EpisodeLog], with_features: bool) -> MazeDomain:
    targets = np.stack([log.open_leg.target for log in logs])
    return MazeDomain.of([log.world for log in logs], targets, with_features=with_features)


def _enter_scenes(
    domain: MazeDomain, state: ControllerState, logs: list[EpisodeLog], changed: list[int], with_features: bool
) -> tuple[MazeDomain, ControllerState]:
    """Replace the scenes of the episodes `changed`; latents, metric and memory of the streams are retained."""
    if not changed:
        return domain, state
    domain = replace_scenes(domain, changed, _make_domain([logs[k] for k in changed], with_features))
    return domain, state._replace(domain=domain.resume(state.domain, state.domain.origin.scene))
