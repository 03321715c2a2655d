"""Endless streams of controller steps, with random kicks for rows that are stuck.

A natural-gradient step is local and ends in the nearest minimum. A row whose loss has stopped falling above the
tolerance gets a few random moves of full size in one random direction, and continues from there. A kick is a latent, so
the domain caps and closes it like any other move. It replaces the proposal of a step and is not corrected, so no row
moves further than one step allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.domain import Domain, Prediction
from geofold.core.gate import Features, Gate
from geofold.core.state import ControllerState, StepInfo


@dataclass(frozen=True)
class StuckCriterion:
    """Criterion for stuck rows, and the kick that they get.

    Parameters
    ----------
    window : int
        Number of steps without sufficient decrease after which a row is stuck.
    fraction : float
        Relative decrease of the loss that counts as sufficient.
    tolerance : float
        Loss up to which a row has converged and is never stuck.
    kicks : int
        Number of moves in a kick.
    size : float
        Standard deviation of the latent of a kick.
    """

    window: int = 8
    fraction: float = 0.02
    tolerance: float = 0.05
    kicks: int = 3
    size: float = 0.5


@dataclass(frozen=True)
class _StuckState:
    """Record of each row: best recent loss, steps since it fell, remaining kicks and their direction (B, d)."""

    best: Tensor
    since: Tensor
    kicks_left: Tensor
    direction: Tensor


def stream(
    controller: Controller,
    domain: Domain,
    state: ControllerState,
    goal: Any,
    *,
    stuck_criterion: StuckCriterion | None = None,
    fallback_controller: Controller | None = None,
    seed: int = 0,
) -> Iterator[tuple[ControllerState, StepInfo]]:
    """Yield steps towards a goal without end; the caller decides when to stop.

    Parameters
    ----------
    controller : Controller
    domain : Domain
    state : ControllerState
        State before the first step, from `Controller.init`.
    goal
        Goal, or a callable that returns the goal of a step given its number (for goals that change).
    stuck_criterion : StuckCriterion or None
        Criterion and size of kicks for stuck rows; None: no kicks.
    fallback_controller : Controller or None
        Controller that takes over at the first kick, typically one with more corrections per step. It must have the
        same metric and backbone as `controller`.
    seed : int
        Seed of the kicks.

    Yields
    ------
    ControllerState, StepInfo
        State after each step and its diagnostics.
    """
    noise = torch.Generator().manual_seed(seed)
    stuck: _StuckState | None = None
    number = 0
    while True:
        parts, rows = controller, None
        if stuck is not None and bool((stuck.kicks_left > 0).any()):
            controller = fallback_controller or controller
            rows = stuck.kicks_left > 0
            parts = replace(
                controller,
                backbone=_KickedBackbone(controller.backbone, stuck.direction, rows),
                gate=_ClosedGate(controller.gate, rows),
            )
            state = state._replace(radius=torch.where(rows, controller.trust_region.radius, state.radius))
        state, info = parts.step(domain, state, goal(number) if callable(goal) else goal)
        number += 1
        if stuck_criterion is not None:
            stuck = _update_stuck(stuck, info, stuck_criterion, state, domain, noise)
            if rows is not None:
                stuck = replace(stuck, kicks_left=torch.where(rows, stuck.kicks_left - 1, stuck.kicks_left))
        yield state, info


@dataclass(frozen=True)
class _KickedBackbone:
    """Backbone whose proposal is a given latent in some rows."""

    backbone: Backbone
    latent: Tensor
    rows: Tensor

    @property
    def name(self) -> str:
        return self.backbone.name

    def init_state(self, batch: int, dim: int, like: Tensor) -> Any:
        return self.backbone.init_state(batch, dim, like)

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        z, after = self.backbone.step(x, state)
        z = torch.where(self.rows[:, None], self.latent.to(z), z)
        return z, self.backbone.write(after, z)

    def read(self, state: Any) -> Tensor:
        return self.backbone.read(state)

    def write(self, state: Any, z: Tensor) -> Any:
        return self.backbone.write(state, z)


@dataclass(frozen=True)
class _ClosedGate:
    """Gate that is closed in some rows."""

    gate: Gate
    rows: Tensor

    @property
    def name(self) -> str:
        return self.gate.name

    @property
    def largest(self) -> int:
        return self.gate.largest

    def open(self, features: Features) -> Tensor:
        return self.gate.open(features) & ~self.rows

    def depth(self, features: Features) -> Tensor:
        return self.gate.depth(features)


def kick(domain: Domain, state: Any, latent: Tensor, rows: Tensor) -> Any:
    """Apply one uncorrected move along a latent (B, d) to some rows.

    Parameters
    ----------
    domain : Domain
    state
        State of the domain.
    latent : (B, d)
    rows : (B,) bool
        Rows that move; the others remain unchanged, bit for bit.

    Returns
    -------
    State of the domain after the move.
    """
    with torch.no_grad():
        moved = domain.decode(latent * rows[:, None], state)
        return domain.commit(Prediction(moved.mean, moved.precision, moved.valid), state)


def _update_stuck(
    previous: _StuckState | None,
    info: StepInfo,
    stuck_criterion: StuckCriterion,
    state: ControllerState,
    domain: Domain,
    noise: torch.Generator,
) -> _StuckState:
    loss = info.loss_after
    if previous is None:
        zero = torch.zeros_like(loss, dtype=torch.long)
        previous = _StuckState(
            torch.full_like(loss, torch.inf), zero, zero, loss.new_zeros(len(loss), domain.latent_dim)
        )
    has_fallen = loss < previous.best * (1 - stuck_criterion.fraction)
    # The loss may rise during a kick, so the record of the best loss is reset.
    kicked = previous.kicks_left > 0
    best = torch.where(kicked, torch.full_like(loss, torch.inf), torch.where(has_fallen, loss, previous.best))
    since = torch.where(has_fallen | kicked, 0, previous.since + 1)
    newly_stuck = (since >= stuck_criterion.window) & (loss > stuck_criterion.tolerance) & ~kicked
    direction = stuck_criterion.size * torch.randn(previous.direction.shape, generator=noise, dtype=torch.float64).to(
        loss
    )
    return _StuckState(
        best,
        torch.where(newly_stuck, 0, since),
        torch.where(newly_stuck, stuck_criterion.kicks, previous.kicks_left),
        torch.where(newly_stuck[:, None], direction, previous.direction),
    )
