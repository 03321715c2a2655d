"""The streaming loop: predict, judge, correct, commit (GeoSSM's Algorithm 1 with ESM's gate and depth).

A controller is a frozen set of parts with pure ``init`` and ``step``; the caller owns the loop. Rows of a
batch are independent: each has its own radius, depth and acceptance, kept apart by masks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone
from geofold.core.domain import Domain, Loss, Prediction
from geofold.core.gate import Gate
from geofold.core.linearise import Linearisation, Look, detached, linearise, look
from geofold.core.metric import Factor, Metric, MetricState
from geofold.core.report import ControllerState, StepInfo
from geofold.core.retraction import second_order
from geofold.core.surrogate import horizon_loss
from geofold.core.trust_region import TrustRegion


@dataclass(frozen=True)
class Controller:
    """Parts of the loop.

    Parameters
    ----------
    backbone, metric, trust_region, gate
        See the modules of the same names.
    horizon, discount
        H and gamma of the surrogate.
    drift : float
        mu: ties the correction to the proposal by (mu/2) |z - z0|_G^2.
    bend : bool
        Second-order retraction (else first order).
    once : bool
        A row is content with the first correction that is accepted; its budget K then buys second chances with a
        smaller radius, at the price of one trial each, and not further corrections.
    seed : int
        Of the sketch's random probes.
    """

    backbone: Backbone
    metric: Metric
    trust_region: TrustRegion
    gate: Gate
    horizon: int = 3
    discount: float = 0.97
    drift: float = 0.0
    bend: bool = True
    once: bool = False
    seed: int = 0

    def init(self, domain: Domain, state: Any) -> ControllerState:
        """State before the first step of a stream."""
        with torch.no_grad():
            like = domain.observe(state, None)
        batch, dim = like.shape[0], domain.latent_dim
        return ControllerState(
            domain=state, memory=self.backbone.init_state(batch, dim, like), metric=self.metric.init(batch, dim, like),
            radius=self.trust_region.init(batch, like), direction=like.new_zeros(batch, dim), goal=None, steps=0,
        )  # fmt: skip

    def step(self, domain: Domain, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One streaming step towards a goal.

        Returns
        -------
        ControllerState, StepInfo
            The next state, and what happened for the reader. Nothing given is changed.
        """
        began = time.perf_counter()
        with torch.no_grad():
            proposal, memory = self.backbone.step(domain.observe(state.domain, goal), state.memory)
        seen = look(domain, proposal, state.domain, goal)
        loss = detached(seen.loss)
        # Something new is wanted: what the radius learned about the old loss means nothing now.
        fresh = state.goal is not None and goal != state.goal
        radius = torch.full_like(state.radius, self.trust_region.radius) if fresh else state.radius
        work = _Work(
            z=proposal, prediction=seen.prediction, loss=loss, radius=radius, metric=state.metric,
            direction=state.direction, inner=torch.zeros_like(state.radius, dtype=torch.long),
            last=torch.zeros_like(state.radius, dtype=torch.bool),
        )  # fmt: skip
        difficulty = loss.total if loss.difficulty is None else loss.difficulty
        open_rows = self.gate.open(difficulty)
        if bool(open_rows.any()):
            work = self._correct(domain, state, goal, memory, work, open_rows, seen)
        with torch.no_grad():
            committed = domain.commit(work.prediction, state.domain)
        after = ControllerState(
            domain=committed, memory=self.backbone.write(memory, work.z), metric=work.metric, radius=work.radius,
            direction=work.direction, goal=goal, steps=state.steps + 1,
        )  # fmt: skip
        info = StepInfo(
            z=work.z, loss_before=loss.total, loss_after=work.loss.total, terms=work.loss.terms,
            difficulty=difficulty, accepted=work.accepted(), inner_steps=work.inner, radius=work.radius,
            kappa=work.kappa, condition=work.condition, actual=work.actual, predicted=work.predicted,
            milliseconds=1e3 * (time.perf_counter() - began),
        )  # fmt: skip
        return after, info

    def _correct(
        self, domain: Domain, state: ControllerState, goal: Any, memory: Any, work: _Work, rows: Tensor, seen: Look
    ) -> _Work:
        """Inner corrections on the rows that the gate opened."""
        proposal, weight, depth = work.z, None, rows.to(torch.long)
        moved = True
        for inner in range(self.gate.largest):
            # A row that was refused is where it was, and so is all that was learned there.
            if moved:
                seen = seen if inner == 0 else look(domain, work.z, state.domain, goal)
                at = linearise(domain, work.z, state.domain, seen, weight)
                weight = at.weight
                seed = hash((self.seed, state.steps, inner)) & 0x7FFFFFFF
                looked = work.last if inner else torch.ones_like(work.last)
                metric = _merge(looked, self.metric.update(work.metric, at, work.direction, seed), work.metric)
                factor = self.metric.factor(metric)
            if inner == 0:
                kappa = (at.gradient * factor.solve(at.gradient)).sum(-1)
                depth = torch.where(rows, self.gate.depth(kappa), torch.zeros_like(depth))
                work = work.judged(kappa, factor.condition())
            work = self._inner_step(
                domain, state.domain, goal, memory, work, at, metric, factor, proposal, depth > inner
            )
            moved = bool(work.last.any())
            if self.once:
                depth = torch.where(work.last, torch.zeros_like(depth), depth)
            if not bool((depth > inner + 1).any()):
                break
        return work

    def _inner_step(
        self, domain: Domain, state: Any, goal: Any, memory: Any, work: _Work, at: Linearisation,
        metric: MetricState, factor: Factor, proposal: Tensor, rows: Tensor,
    ) -> _Work:  # fmt: skip
        """One natural step with its trust region; rows outside the mask stay as they are."""
        damping = self.metric.damping
        away = domain.space.minus(work.z, proposal)
        gradient = at.gradient + self.drift * _times(factor, away) if self.drift else at.gradient
        # the drift term has curvature mu G of its own
        v = -factor.solve(gradient) / (1 + self.drift)
        length_squared = at.length_squared(v, damping)
        length = length_squared.sqrt()
        alpha = self.trust_region.scale(length, work.radius)
        step = alpha[:, None] * v
        if self.bend:
            step = second_order(at, factor, step, damping)
        trial = domain.space.retract(work.z, step)
        now = _horizon(self, domain, memory, work.z, state, goal, at.loss)
        then, prediction, loss = horizon_loss(
            domain, self.backbone, memory, trial, state, goal, steps=self.horizon, discount=self.discount
        )
        if self.drift:
            now = now + self.drift / 2 * factor.quadratic(away)
            then = then + self.drift / 2 * factor.quadratic(domain.space.minus(trial, proposal))
        predicted = self.trust_region.predicted(alpha, -(gradient * v).sum(-1), (1 + self.drift) * length_squared)
        actual = now - then
        taken = rows & self.trust_region.accept(actual, predicted)
        radius = self.trust_region.update(work.radius, actual, predicted, alpha * length, taken)
        return work.moved(
            rows, taken, trial, prediction, loss, torch.where(rows, radius, work.radius),
            _merge(rows, metric, work.metric), step, actual, predicted,
        )  # fmt: skip


def _horizon(
    controller: Controller, domain: Domain, memory: Any, z: Tensor, state: Any, goal: Any, loss: Loss
) -> Tensor:
    """m(0): the loss at hand where the horizon is one step, else a roll-out."""
    if controller.horizon == 1:
        return loss.total
    return horizon_loss(
        domain, controller.backbone, memory, z, state, goal, steps=controller.horizon, discount=controller.discount
    )[0]


def _times(factor: Factor, v: Tensor) -> Tensor:
    """G v by differentiation of v'Gv / 2, which every metric has."""
    with torch.enable_grad():
        leaf = v.detach().requires_grad_(True)
        return torch.autograd.grad(factor.quadratic(leaf).sum() / 2, leaf)[0]


def _merge(rows: Tensor, new: MetricState, old: MetricState) -> MetricState:
    """New averages where a row was open."""
    return MetricState(
        torch.where(rows[:, None, None], new.factor, old.factor), torch.where(rows, new.weight, old.weight)
    )


@dataclass(frozen=True)
class _Work:
    """What the inner loop hands on from one correction to the next."""

    z: Tensor
    prediction: Prediction
    loss: Loss
    radius: Tensor
    metric: MetricState
    direction: Tensor
    inner: Tensor
    last: Tensor
    taken: Tensor | None = None
    kappa: Tensor | None = None
    condition: Tensor | None = None
    actual: Tensor | None = None
    predicted: Tensor | None = None

    def accepted(self) -> Tensor:
        """(B,) bool: rows in which at least one correction was taken."""
        return torch.zeros_like(self.radius, dtype=torch.bool) if self.taken is None else self.taken

    def judged(self, kappa: Tensor, condition: Tensor) -> _Work:
        """The same with the difficulty written down."""
        return replace(self, kappa=kappa, condition=condition)

    def moved(
        self, rows: Tensor, taken: Tensor, z: Tensor, prediction: Prediction, loss: Loss, radius: Tensor,
        metric: MetricState, step: Tensor, actual: Tensor, predicted: Tensor,
    ) -> _Work:  # fmt: skip
        """Take the trial in the rows where it was accepted; the masks are spared where all rows agree."""
        tried = self.inner + rows.to(torch.long)
        judged = replace(
            self, radius=radius, metric=metric, actual=actual, predicted=predicted, last=taken,
            taken=self.accepted() | taken, inner=tried,
        )  # fmt: skip
        if not bool(taken.any()):
            return judged
        if bool(taken.all()):
            return replace(judged, z=z, prediction=prediction, loss=loss, direction=step)
        wide = taken[:, None]
        mean = torch.where(wide, prediction.mean, self.prediction.mean)
        precision = torch.where(wide, prediction.precision, self.prediction.precision)
        valid = torch.where(taken, prediction.valid, self.prediction.valid)
        terms = {name: torch.where(taken, term, self.loss.terms[name]) for name, term in loss.terms.items()}
        return replace(
            judged, z=torch.where(wide, z, self.z), prediction=Prediction(mean, precision, valid),
            loss=Loss(torch.where(taken, loss.total, self.loss.total), terms, None),
            direction=torch.where(wide, step, self.direction),
        )  # fmt: skip
