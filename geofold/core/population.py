"""Several streams in one batch, where the good ones are carried on and the bad ones start anew from them.

Rounds of streaming are followed by a selection: the better half of the rows stays, the other half becomes
copies of it that are kicked away. What happened to a row can be traced back through the copies.
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
    """How a population is run.

    Parameters
    ----------
    steps : tuple of int
        Steps of each phase of a round (a kick is followed by its phases, e.g. from a soft loss to a hard one).
    rounds : int
        Rounds at most.
    kicks : int
        Moves in the longest kick; copies get between one and so many.
    size : float
        Standard deviation of the latent of a kick.
    content : float
        Loss at which the search ends.
    """

    steps: tuple[int, ...]
    rounds: int = 6
    kicks: int = 5
    size: float = 0.3
    converged_loss: float = 0.5


@dataclass
class Lineage:
    """Snapshots of every row and where each row came from, so that one row's whole path can be told."""

    frames: list[Any]
    parents: list[Tensor]
    infos: list[StepInfo | None]

    def path(self, row: int) -> list[tuple[Any, StepInfo | None, int]]:
        """Snapshot, step info (None for a kick) and row number along the path that led to `row`."""
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
    goal
        Goal of a phase: called with its number and, row by row, whether the row was kicked in this round.
    worth
        Loss (B,) of a domain state that rows are compared by, the same in every round.
    snapshot
        What to remember of a domain state after each step.
    progress
        Called after each step with steps done, steps at most, and the best worth of the last round.

    Returns
    -------
    ControllerState, Lineage
        Rows sorted by worth, best first.
    """
    noise = torch.Generator().manual_seed(seed)
    rows = len(state.radius)
    same = torch.arange(rows)
    lineage = Lineage([snapshot(state.domain)], [same], [None])
    kept, best, done = 1, float("inf"), 0
    for number in range(plan.rounds):
        state = _scatter(domain, state, same >= kept, plan, noise, lineage, snapshot, controller)
        # in the first round every row starts softly; later the good ones, which are kept, stay as hard as they are
        fresh = tuple(number == 0 or row >= kept for row in range(rows))
        for phase, steps in enumerate(plan.steps):
            aim = goal(phase, fresh)
            for _ in range(steps):
                state, info = controller.step(domain, state, aim)
                _record(lineage, snapshot(state.domain), same, info)
                done += 1
                if progress is not None:
                    progress(done, plan.rounds * sum(plan.steps), best)
        value = cost(state.domain)
        best = float(value.min())
        order = torch.argsort(value, stable=True)
        last = best <= plan.converged_loss or number == plan.rounds - 1
        kept = rows if last else (rows + 1) // 2
        chosen = torch.cat([order[:kept], order[: rows - kept]])
        state = select_rows(domain, state, chosen)
        _record(lineage, snapshot(state.domain), chosen, None)
        if last:
            break
    return state, lineage


def select_rows(domain: Selectable, state: ControllerState, rows: Tensor) -> ControllerState:
    """Controller state whose row k is row rows[k] of the given one."""
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
    """Kick some rows away, each by its own number of moves in its own direction."""
    if not bool(moving.any()):
        return state
    shape = state.direction.shape
    lasting = torch.randn(shape, generator=noise, dtype=torch.float64).to(state.direction)
    lengths = 1 + torch.randint(0, plan.kicks, (len(moving),), generator=noise)
    for number in range(plan.kicks):
        passing = torch.randn(shape, generator=noise, dtype=torch.float64).to(state.direction)
        latent = plan.size * (0.6 * lasting + 0.4 * passing)
        state = state._replace(domain=kick(domain, state.domain, latent, moving & (lengths > number)))
        _record(lineage, snapshot(state.domain), torch.arange(len(moving)), None)
    return state._replace(radius=torch.where(moving, controller.trust_region.radius, state.radius))


def _record(lineage: Lineage, frame: Any, parents: Tensor, info: StepInfo | None) -> None:
    lineage.frames.append(frame)
    lineage.parents.append(parents)
    lineage.infos.append(info)
