"""Population of streams in one batch, with selection: the worse half restarts from kicked copies of the better half.

After each round of streaming the better half of the rows is retained and the other half is replaced by its copies,
which are kicked. `Lineage` records the copies, so the trajectory of each final row can be traced back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import take_rows
from geofold.core.controller import Controller
from geofold.core.domain import RowGoal, Selectable
from geofold.core.metric import MetricState
from geofold.core.state import ControllerState, StepInfo
from geofold.core.stream import kick


@dataclass(frozen=True)
class PopulationPlan:
    """Schedule of a population.

    Parameters
    ----------
    steps : tuple of int
        Number of steps in each phase of a round; phases may differ in their goal, e.g. from a soft loss to a hard one.
    rounds : int
        Maximum number of rounds.
    kicks : int
        Maximum number of moves in a kick; each copy gets between one and this many.
    size : float
        Standard deviation of the latent of a kick.
    converged_loss : float
        Cost at which the search ends.
    """

    steps: tuple[int, ...]
    rounds: int = 6
    kicks: int = 5
    size: float = 0.3
    converged_loss: float = 0.5


@dataclass
class Lineage:
    """Snapshots of all rows and the parent of each row, from which the trajectory of a row is reconstructed.

    Attributes
    ----------
    frames : list
        Snapshot of the domain state after each event (step, kick or selection).
    parents : list of (B,) int
        Row that each row was before the event.
    infos : list of StepInfo or None
        Diagnostics of a step; None for kicks and selections.
    """

    frames: list[Any]
    parents: list[Tensor]
    infos: list[StepInfo | None]

    def path(self, row: int) -> list[tuple[Any, StepInfo | None, int]]:
        """Snapshots, step infos (None for kicks and selections) and row numbers along the trajectory of a final row."""
        steps = []
        for frame, parent, info in zip(
            reversed(self.frames), reversed(self.parents), reversed(self.infos), strict=True
        ):
            steps.append((frame, info, row))
            row = int(parent[row])
        return steps[::-1]


def evolve(
    controller: Controller,
    domain: Selectable,
    state: ControllerState,
    goal: Callable[[int, tuple[bool, ...]], Any],
    plan: PopulationPlan,
    *,
    cost: Callable[[Any], Tensor],
    snapshot: Callable[[Any], Any],
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[ControllerState, Lineage]:
    """Run a population of streams.

    Parameters
    ----------
    controller : Controller
    domain : Selectable
    state : ControllerState
        State before the first step, one row per stream.
    goal : callable
        Goal of a phase: called with the number of the phase and, for each row, whether it was kicked in this round.
    plan : PopulationPlan
    cost : callable
        Cost (B,) of a domain state by which rows are compared (lower is better), the same in every round.
    snapshot : callable
        Part of a domain state that is recorded after each step.
    seed : int
        Seed of the kicks.
    progress : callable or None
        Called after each step with the steps done, the maximum number of steps and the lowest cost of the last round.

    Returns
    -------
    ControllerState
        Rows sorted by cost, lowest first.
    Lineage
        Record of all rows.
    """
    noise = torch.Generator().manual_seed(seed)
    rows = len(state.radius)
    row_numbers = torch.arange(rows)
    lineage = Lineage([snapshot(state.domain)], [row_numbers], [None])
    n_retained, lowest, done = 1, float("inf"), 0
    for number in range(plan.rounds):
        state = _scatter(domain, state, row_numbers >= n_retained, plan, noise, lineage, snapshot, controller)
        # In the first round every row counts as kicked; later the retained rows do not.
        kicked = tuple(number == 0 or row >= n_retained for row in range(rows))
        for phase, steps in enumerate(plan.steps):
            phase_goal = goal(phase, kicked)
            for _ in range(steps):
                state, info = controller.step(domain, state, phase_goal)
                _record(lineage, snapshot(state.domain), row_numbers, info)
                done += 1
                if progress is not None:
                    progress(done, plan.rounds * sum(plan.steps), lowest)
        costs = cost(state.domain)
        lowest = float(costs.min())
        order = torch.argsort(costs, stable=True)
        last = lowest <= plan.converged_loss or number == plan.rounds - 1
        n_retained = rows if last else (rows + 1) // 2
        chosen = torch.cat([order[:n_retained], order[: rows - n_retained]])
        state = select_rows(domain, state, chosen)
        _record(lineage, snapshot(state.domain), chosen, None)
        if last:
            break
    return state, lineage


def select_rows(domain: Selectable, state: ControllerState, rows: Tensor) -> ControllerState:
    """Return the controller state whose row k is row rows[k] of `state`."""
    return state._replace(
        domain=domain.select(state.domain, rows),
        memory=take_rows(state.memory, rows),
        radius=state.radius[rows],
        metric=MetricState(state.metric.factor[rows], state.metric.weight[rows]),
        direction=state.direction[rows],
        loss=state.loss[rows],
        goal=state.goal.of(rows) if isinstance(state.goal, RowGoal) else state.goal,
    )


def _scatter(
    domain: Selectable,
    state: ControllerState,
    moving: Tensor,
    plan: PopulationPlan,
    noise: torch.Generator,
    lineage: Lineage,
    snapshot: Callable[[Any], Any],
    controller: Controller,
) -> ControllerState:
    """Kick the rows `moving` (B,), each by a random number of moves along a random direction."""
    if not bool(moving.any()):
        return state
    shape = state.direction.shape
    common_direction = torch.randn(shape, generator=noise, dtype=torch.float64).to(state.direction)
    lengths = 1 + torch.randint(0, plan.kicks, (len(moving),), generator=noise)
    for number in range(plan.kicks):
        move_direction = torch.randn(shape, generator=noise, dtype=torch.float64).to(state.direction)
        latent = plan.size * (0.6 * common_direction + 0.4 * move_direction)
        state = state._replace(domain=kick(domain, state.domain, latent, moving & (lengths > number)))
        _record(lineage, snapshot(state.domain), torch.arange(len(moving)), None)
    return state._replace(radius=torch.where(moving, controller.trust_region.radius, state.radius))


def _record(lineage: Lineage, frame: Any, parents: Tensor, info: StepInfo | None) -> None:
    lineage.frames.append(frame)
    lineage.parents.append(parents)
    lineage.infos.append(info)
