"""Running a stream: step after step, and a kick for rows that are stuck.

A natural step is local: it ends in the nearest minimum. A row whose loss has stopped falling while the gate
still finds it wanting gets a few random moves of full size in one random direction (as a latent, so that
the domain caps and closes them like any other move), and goes on from there. A kick is a step: it takes the place of
what would have been proposed, uncorrected, so no row ever moves by more than a step may.
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
    """When a row counts as stuck, and what is done about it.

    Parameters
    ----------
    window : int
        Steps over which the loss has to fall.
    fraction : float
        By how much of itself.
    tolerance : float
        Loss up to which a row is content.
    kicks : int
        Moves in a kick.
    size : float
        Standard deviation of the latent of a kick.
    """

    window: int = 8
    fraction: float = 0.02
    tolerance: float = 0.05
    kicks: int = 3
    size: float = 0.5


@dataclass(frozen=True)
class _Restless:
    """Per-row memory of a stream: best loss of late, steps since it fell, kicks to go and their direction."""

    best: Tensor
    since: Tensor
    left: Tensor
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
    """Steps without end towards a goal; the caller stops when content.

    Parameters
    ----------
    goal
        The goal, or a callable that gives the goal of each step (its number), for goals that change.
    patience
        Kicks for stuck rows; None: none.
    thorough
        Takes over once a row has been stuck: effort is spent where the structure proved to be in trouble. It must
        have the same metric and backbone as `controller`.

    Yields
    ------
    ControllerState, StepInfo
    """
    noise = torch.Generator().manual_seed(seed)
    restless: _Restless | None = None
    number = 0
    while True:
        parts, rows = controller, None
        if restless is not None and bool((restless.left > 0).any()):
            controller = fallback_controller or controller
            rows = restless.left > 0
            parts = replace(
                controller,
                backbone=_Kicked(controller.backbone, restless.direction, rows),
                gate=_Shut(controller.gate, rows),
            )
            state = state._replace(radius=torch.where(rows, controller.trust_region.radius, state.radius))
        state, info = parts.step(domain, state, goal(number) if callable(goal) else goal)
        number += 1
        if stuck_criterion is not None:
            restless = _watch(restless, info, stuck_criterion, state, domain, noise)
            if rows is not None:
                restless = replace(restless, left=torch.where(rows, restless.left - 1, restless.left))
        yield state, info


@dataclass(frozen=True)
class _Kicked:
    """A backbone whose proposal is a given latent in some rows."""

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
class _Shut:
    """A gate that stays shut in some rows."""

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
    """State after one move along a latent in some rows; the other rows stay to the last bit."""
    with torch.no_grad():
        moved = domain.decode(latent * rows[:, None], state)
        return domain.commit(Prediction(moved.mean, moved.precision, moved.valid), state)


def _watch(
    old: _Restless | None,
    info: StepInfo,
    stuck_criterion: StuckCriterion,
    state: ControllerState,
    domain: Domain,
    noise: torch.Generator,
) -> _Restless:
    loss = info.loss_after
    if old is None:
        zero = torch.zeros_like(loss, dtype=torch.long)
        old = _Restless(torch.full_like(loss, torch.inf), zero, zero, loss.new_zeros(len(loss), domain.latent_dim))
    fell = loss < old.best * (1 - stuck_criterion.fraction)
    # while a row is being kicked it may climb: its record starts anew afterwards
    kicked = old.left > 0
    best = torch.where(kicked, torch.full_like(loss, torch.inf), torch.where(fell, loss, old.best))
    since = torch.where(fell | kicked, 0, old.since + 1)
    stuck = (since >= stuck_criterion.window) & (loss > stuck_criterion.tolerance) & ~kicked
    fresh = stuck_criterion.size * torch.randn(old.direction.shape, generator=noise, dtype=torch.float64).to(loss)
    return _Restless(
        best,
        torch.where(stuck, 0, since),
        torch.where(stuck, stuck_criterion.kicks, old.left),
        torch.where(stuck[:, None], fresh, old.direction),
    )
