"""The streaming loop: predict, judge, correct, commit (GeoSSM's Algorithm 1 with ESM's gate and depth).

A controller is a frozen set of parts with pure ``init`` and ``step``; the caller owns the loop. Rows of a
batch are independent: each has its own radius, depth and acceptance, kept apart by masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geofold.core.allocator import keep_freed_memory
from geofold.core.backbone import Backbone
from geofold.core.domain import Domain, Loss, Prediction, RowGoal
from geofold.core.gate import Features, Gate, affordable_depth
from geofold.core.linearise import Linearisation, LossEvaluation, evaluate_loss, linearise
from geofold.core.metric import Factor, Metric, MetricState
from geofold.core.retraction import second_order
from geofold.core.state import ControllerState, StepInfo
from geofold.core.surrogate import Horizon, Trial
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
    order : 1 or 2
        Of the retraction.
    drift : float
        mu: ties the correction to the proposal by (mu/2) |z - z0|_G^2.
    through : bool
        The gradient is that of the whole surrogate, by a backward pass through all H steps; else that of the
        present loss, which is the same for a backbone that holds still, and cheap.
    once : bool
        A row is content with the first correction that is accepted; its budget K then buys second chances with a
        smaller radius, at the price of one trial each, and not further corrections.
    curved : bool
        Look at the directions along which the loss is stiff, where the domain tells them.
    budget : float or None
        tau_max in milliseconds (soft): no more inner steps are planned than fit, by the pace of the stream so far.
        Results then depend on the machine's speed.
    seed : int
        Of the sketch's random probes.
    clock : callable
        Seconds.
    """

    backbone: Backbone
    metric: Metric
    trust_region: TrustRegion
    gate: Gate
    horizon: int = 3
    discount: float = 0.97
    order: int = 2
    drift: float = 0.0
    through: bool = False
    once: bool = False
    stiff_directions: bool = True
    budget: float | None = None
    seed: int = 0
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        if self.horizon < 1 or self.order not in (1, 2) or self.drift < 0:
            raise ValueError("expected horizon >= 1, order 1 or 2, drift >= 0")

    def init(self, domain: Domain, state: Any) -> ControllerState:
        """State before the first step of a stream."""
        with torch.no_grad():
            like = domain.observe(state, None)
        batch, dim = like.shape[0], domain.latent_dim
        if batch > 1:
            keep_freed_memory()
        return ControllerState(
            domain=state,
            memory=self.backbone.init_state(batch, dim, like),
            metric=self.metric.init(batch, dim, like),
            radius=self.trust_region.init(batch, like),
            direction=like.new_zeros(batch, dim),
            loss=like.new_full((batch,), torch.nan),
            goal=None,
            steps=0,
        )

    def step(self, domain: Domain, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One streaming step towards a goal.

        Returns
        -------
        ControllerState, StepInfo
            The next state, and what happened for the reader. Nothing given is changed.
        """
        began = self.clock()
        with torch.no_grad():
            proposal, memory = self.backbone.step(domain.observe(state.domain, goal), state.memory)
        seen = evaluate_loss(domain, proposal, state.domain, goal)
        loss = seen.loss
        # Something new is wanted: what the radius learned about the old loss means nothing now.
        fresh = _fresh(state.goal, goal, state.radius)
        work = _Work(
            z=proposal,
            prediction=seen.prediction,
            loss=loss,
            radius=torch.where(fresh, self.trust_region.radius, state.radius),
            metric=state.metric,
            direction=state.direction,
            inner=torch.zeros_like(state.radius, dtype=torch.long),
            last=torch.zeros_like(state.radius, dtype=torch.bool),
        )
        features = _features(loss, state.loss, work.radius, fresh, proposal)
        rows = self.gate.open(features)
        most = self.gate.largest
        if self.budget is not None:
            most = affordable_depth(state.pace, self.budget, most)
        correcting, spent = self.clock(), 0.0
        if most and bool(rows.any()):
            work = self._correct(domain, state, goal, memory, work, features, rows, seen, most)
            spent = self.clock() - correcting
        with torch.no_grad():
            committed = domain.commit(work.prediction, state.domain)
        took = self.clock() - began
        pace = state.pace.seen(1e3 * (took - spent), 1e3 * spent, int(work.inner.max()))
        after = ControllerState(
            domain=committed,
            memory=self.backbone.write(memory, work.z),
            metric=work.metric,
            radius=work.radius,
            direction=work.direction,
            loss=work.loss.total,
            goal=goal,
            steps=state.steps + 1,
            pace=pace,
        )
        info = StepInfo(
            z=work.z,
            loss_before=loss.total,
            loss_after=work.loss.total,
            terms=work.loss.terms,
            difficulty=features.loss,
            accepted=work.accepted(),
            inner_steps=work.inner,
            radius=work.radius,
            kappa=work.kappa,
            condition=work.condition,
            actual=work.actual,
            predicted=work.predicted,
            milliseconds=1e3 * took,
        )
        return after, info

    def _correct(
        self,
        domain: Domain,
        state: ControllerState,
        goal: Any,
        memory: Any,
        work: _Work,
        features: Features,
        rows: Tensor,
        seen: LossEvaluation,
        most: int,
    ) -> _Work:
        """Inner corrections, at most `most`, on the rows that the gate opened."""
        proposal, weight, depth = work.z, None, rows.to(torch.long)
        moved = True
        for inner in range(most):
            # A row that was refused is where it was, and so is all that was learned there.
            if moved:
                seen = seen if inner == 0 else evaluate_loss(domain, work.z, state.domain, goal)
                at = linearise(domain, work.z, state.domain, seen, weight, stiff_directions=self.stiff_directions)
                weight = at.weight
                if self.through and self.horizon > 1:
                    ahead = self._horizon.gradient(domain, self.backbone, memory, work.z, state.domain, goal)
                    at = replace(at, gradient=ahead)
                metric = self._learn(work, at, inner, state.steps)
                factor = self.metric.factor(metric)
                descent = factor.solve(at.gradient)
            if inner == 0:
                kappa = (at.gradient * descent).sum(-1)
                depth = torch.where(rows, self.gate.depth(features._replace(kappa=kappa)).clamp_max(most), 0)
                work = replace(work, kappa=kappa, condition=factor.condition())
            work = self._inner_step(
                domain, state.domain, goal, memory, work, at, metric, factor, descent, proposal, depth > inner
            )
            moved = bool(work.last.any())
            if self.once:
                depth = torch.where(work.last, 0, depth)
            if inner + 1 == most or not bool((depth > inner + 1).any()):
                break
        return work

    @property
    def _horizon(self) -> Horizon:
        return Horizon(self.horizon, self.discount)

    def _learn(self, work: _Work, at: Linearisation, inner: int, steps: int) -> MetricState:
        """Metric after one more look, in the rows that stand at a new place."""
        seed = hash((self.seed, steps, inner)) & 0x7FFFFFFF
        after = self.metric.update(work.metric, at, work.direction, seed)
        return after if inner == 0 else _merge(work.last, after, work.metric)

    def _inner_step(
        self,
        domain: Domain,
        state: Any,
        goal: Any,
        memory: Any,
        work: _Work,
        at: Linearisation,
        metric: MetricState,
        factor: Factor,
        descent: Tensor,
        proposal: Tensor,
        rows: Tensor,
    ) -> _Work:
        """One natural step with its trust region; rows outside the mask stay as they are."""
        region, mu = self.trust_region, self.drift
        v, gradient = -descent, at.gradient
        if mu:
            # the tie pulls back by mu G (z - z0) and has a curvature mu G of its own
            away = domain.space.minus(work.z, proposal)
            gradient = gradient + mu * factor.times(away)
            v = -(descent + mu * away) / (1 + mu)
        slope = -(gradient * v).sum(-1)
        length_squared = at.length_squared(v, factor.damping)
        length, effective_radius = length_squared.sqrt(), region.effective_radius(work.radius, slope * (1 + mu))
        alpha = region.step_fraction(length, effective_radius)
        step = alpha[:, None] * v
        if self.order == 2:
            step = second_order(at, factor, step, alpha * length)
        trial = domain.space.retract(work.z, step)
        tried = self._horizon.compare(
            domain, self.backbone, memory, state, goal, work.z, work.prediction, work.loss.total, trial
        )
        now, then = tried.now, tried.then
        if mu:
            now = now + mu / 2 * factor.quadratic(away)
            then = then + mu / 2 * factor.quadratic(domain.space.minus(trial, proposal))
        predicted = region.predicted_decrease(alpha, slope, (1 + mu) * length_squared)
        actual = now - then
        taken = rows & region.accept(actual, predicted)
        radius = region.update(work.radius, actual, predicted, alpha * length, taken, effective_radius)
        everyone = bool(rows.all())
        work = replace(
            work,
            radius=radius if everyone else torch.where(rows, radius, work.radius),
            metric=metric if everyone else _merge(rows, metric, work.metric),
            actual=actual,
            predicted=predicted,
            inner=work.inner + rows,
        )
        return work.moved(taken, trial, tried, step)


def _fresh(before: Any, goal: Any, like: Tensor) -> Tensor:
    """Rows (B,) of which something new is wanted, bool."""
    if before is not None and isinstance(goal, RowGoal):
        return goal.differs(before)
    return torch.full_like(like, before is not None and goal != before, dtype=torch.bool)


def _features(loss: Loss, previous: Tensor, radius: Tensor, fresh: Tensor, proposal: Tensor) -> Features:
    """What the gate sees before a gradient is spent."""
    difficulty = loss.total if loss.difficulty is None else loss.difficulty
    change = torch.where(fresh, 0.0, (loss.total - previous).nan_to_num(0.0))
    violation = torch.zeros_like(difficulty) if loss.violation is None else loss.violation
    return Features(difficulty, change, violation, radius, motion=proposal.norm(dim=-1))


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

    def moved(self, taken: Tensor, z: Tensor, tried: Trial, step: Tensor) -> _Work:
        """Take the trial in the rows where it was accepted; the masks are spared where all rows agree."""
        judged = replace(self, last=taken, taken=taken if self.taken is None else self.taken | taken)
        if not bool(taken.any()):
            return judged
        prediction, loss = tried.prediction, tried.loss
        if bool(taken.all()):
            return replace(judged, z=z, prediction=prediction, loss=loss, direction=step)
        wide = taken[:, None]
        mean = torch.where(wide, prediction.mean, self.prediction.mean)
        precision = torch.where(wide, prediction.precision, self.prediction.precision)
        valid = torch.where(taken, prediction.valid, self.prediction.valid)
        terms = {name: torch.where(taken, term, self.loss.terms[name]) for name, term in loss.terms.items()}
        return replace(
            judged,
            z=torch.where(wide, z, self.z),
            prediction=Prediction(mean, precision, valid),
            loss=Loss(torch.where(taken, loss.total, self.loss.total), terms),
            direction=torch.where(wide, step, self.direction),
        )
