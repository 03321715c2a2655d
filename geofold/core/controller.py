"""The streaming loop: predict, evaluate, correct, commit (GeoSSM, Algorithm 1, with the gate and depth of ESM).

A controller is a frozen set of parts with pure ``init`` and ``step``; the caller owns the loop. Rows of a batch are
independent: each has its own radius, depth and acceptance, handled by masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from geofold.allocator import keep_freed_memory
from geofold.core.backbone import Backbone
from geofold.core.correction import LocalModel, StepContext, Work, merge_rows
from geofold.core.domain import Domain, Loss
from geofold.core.gate import Features, Gate
from geofold.core.linearise import Linearisation, LossEvaluation, evaluate_loss, linearise
from geofold.core.metric import Metric, MetricState
from geofold.core.retraction import second_order
from geofold.core.state import ControllerState, StepInfo, affordable_depth
from geofold.core.surrogate import Horizon
from geofold.core.trust_region import TrustRegion


@dataclass(frozen=True)
class Controller:
    """Parts of the streaming loop.

    Parameters
    ----------
    backbone, metric, trust_region, gate
        See the modules of the same names.
    horizon, discount
        H and gamma of the surrogate.
    order : 1 or 2
        Order of the retraction.
    drift : float
        mu of the penalty (mu/2) |z - z0|_G^2, which holds the correction near the proposal z0.
    through : bool
        Use the gradient of the whole surrogate, by a backward pass through all H steps; otherwise the gradient of the
        present loss, which is cheaper, and the same for a backbone without motion.
    once : bool
        Stop correcting a row at its first accepted correction. Its K corrections are then attempts with a decreasing
        radius, which cost one trial each.
    stiff_directions : bool
        Include the directions along which the loss is stiff in the metric, if the domain provides them.
    budget : float or None
        Soft time limit tau_max of a step (ms): no more corrections are planned than fit into it at the recent pace.
        Results then depend on the speed of the machine.
    seed : int
        Seed of the random probes of a sketched metric.
    clock : callable
        Current time (s).
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
        """Return the controller state before the first step, from a state of the domain."""
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

    @torch.no_grad()
    def step(self, domain: Domain, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step towards a goal.

        Parameters
        ----------
        domain : Domain
        state : ControllerState
            State after the previous step; it is not modified.
        goal
            Goal in the type of the domain.

        Returns
        -------
        ControllerState
            State after the step.
        StepInfo
            Diagnostics of the step.
        """
        start_time = self.clock()
        proposal, memory = self.backbone.step(domain.observe(state.domain, goal), state.memory)
        evaluation = evaluate_loss(domain, proposal, state.domain, goal)
        loss = evaluation.loss
        # After a change of the goal the radius, adapted to the old loss, is reset.
        new_goal = _goal_changed(state.goal, goal, state.radius)
        work = Work(
            z=proposal,
            prediction=evaluation.prediction,
            loss=loss,
            radius=torch.where(new_goal, self.trust_region.radius, state.radius),
            metric=state.metric,
            direction=state.direction,
            inner=torch.zeros_like(state.radius, dtype=torch.long),
            last=torch.zeros_like(state.radius, dtype=torch.bool),
        )
        features = _features(loss, state.loss, work.radius, new_goal, proposal)
        rows = self.gate.open(features)
        max_depth = affordable_depth(state.pace, self.budget, self.gate.largest)
        correction_start, correction_time = self.clock(), 0.0
        if max_depth and bool(rows.any()):
            context = StepContext(domain, state.domain, goal, memory, proposal)
            work = self._correct(context, state.steps, work, features, rows, evaluation, max_depth)
            correction_time = self.clock() - correction_start
        committed = domain.commit(work.prediction, state.domain)
        step_time = self.clock() - start_time
        pace, refused = state.pace, not max_depth and bool(rows.any())
        if state.steps:  # the first step also initialises what later ones use
            durations = 1e3 * (step_time - correction_time), 1e3 * correction_time
            pace = pace.update(*durations, int(work.inner.max()), refused=refused)
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
        return after, _step_info(work, loss, features.loss, 1e3 * step_time)

    def _correct(
        self,
        context: StepContext,
        steps: int,
        work: Work,
        features: Features,
        rows: Tensor,
        evaluation: LossEvaluation,
        max_depth: int,
    ) -> Work:
        """Try at most `max_depth` corrections in the rows (B,) that the gate opened."""
        weight, depth = None, rows.to(torch.long)
        moved = True
        for inner in range(max_depth):
            # A rejected row has not moved, so its linearisation and metric remain valid.
            if moved:
                if inner:
                    evaluation = evaluate_loss(context.domain, work.z, context.state, context.goal)
                at = self._linearise(context, work, evaluation, weight)
                weight = at.weight
                metric = self._update_metric(work, at, inner, steps)
                factor = self.metric.factor(metric)
                model = LocalModel(at, metric, factor, factor.solve(at.gradient))
            if inner == 0:
                kappa = (model.at.gradient * model.descent).sum(-1)
                depth = torch.where(rows, self.gate.depth(features._replace(kappa=kappa)).clamp_max(max_depth), 0)
                work = replace(work, kappa=kappa, factor=model.factor, gradient=model.at.gradient)
            work = self._inner_step(context, work, model, depth > inner)
            moved = bool(work.last.any())
            if self.once:
                depth = torch.where(work.last, 0, depth)
            if inner + 1 == max_depth or not bool((depth > inner + 1).any()):
                break
        return work

    @property
    def _horizon(self) -> Horizon:
        return Horizon(self.horizon, self.discount)

    def _linearise(
        self, context: StepContext, work: Work, evaluation: LossEvaluation, weight: Tensor | None
    ) -> Linearisation:
        """Linearisation at the current latent, with the gradient of the surrogate if `through` is set."""
        domain, state, goal = context.domain, context.state, context.goal
        at = linearise(domain, work.z, state, evaluation, weight, stiff_directions=self.stiff_directions)
        if not self.through or self.horizon == 1:
            return at
        gradient = self._horizon.gradient(domain, self.backbone, context.memory, work.z, state, goal)
        return replace(at, gradient=gradient)

    def _update_metric(self, work: Work, at: Linearisation, inner: int, steps: int) -> MetricState:
        """Metric after one more linearisation, updated in the rows that have moved."""
        seed = hash((self.seed, steps, inner)) & 0x7FFFFFFF
        after = self.metric.update(work.metric, at, work.direction, seed)
        return after if inner == 0 else merge_rows(work.last, after, work.metric)

    def _inner_step(self, context: StepContext, work: Work, model: LocalModel, rows: Tensor) -> Work:
        """Try one natural-gradient step within the trust region; rows outside the mask (B,) remain unchanged."""
        region, mu = self.trust_region, self.drift
        space, factor = context.domain.space, model.factor
        v, gradient = -model.descent, model.at.gradient
        if mu:
            # The penalty adds the gradient mu G (z - z0) and the curvature mu G.
            offset = space.minus(work.z, context.proposal)
            gradient = gradient + mu * factor.times(offset)
            v = -(model.descent + mu * offset) / (1 + mu)
        slope = -(gradient * v).sum(-1)
        length_squared = model.at.length_squared(v, factor.damping)
        length = length_squared.sqrt()
        effective_radius = region.effective_radius(work.radius, slope * (1 + mu))
        alpha = region.step_fraction(length, effective_radius)
        step = alpha[:, None] * v
        if self.order == 2:
            step = second_order(model.at, factor, step, alpha * length)
        z = space.retract(work.z, step)
        trial = self._horizon.compare(
            context.domain,
            self.backbone,
            context.memory,
            context.state,
            context.goal,
            work.z,
            work.prediction,
            work.loss.total,
            z,
        )
        current_value, trial_value = trial.current_value, trial.trial_value
        if mu:
            current_value = current_value + mu / 2 * factor.quadratic(offset)
            trial_value = trial_value + mu / 2 * factor.quadratic(space.minus(z, context.proposal))
        predicted = region.predicted_decrease(alpha, slope, (1 + mu) * length_squared)
        actual = current_value - trial_value
        accepted = rows & region.accept(actual, predicted)
        radius = region.update(work.radius, actual, predicted, alpha * length, accepted, effective_radius)
        all_rows = bool(rows.all())
        work = replace(
            work,
            radius=radius if all_rows else torch.where(rows, radius, work.radius),
            metric=model.metric if all_rows else merge_rows(rows, model.metric, work.metric),
            actual=actual,
            predicted=predicted,
            inner=work.inner + rows,
        )
        return work.move(accepted, z, trial, step)


def _step_info(work: Work, loss: Loss, difficulty: Tensor, milliseconds: float) -> StepInfo:
    """Diagnostics of a finished step, from its working state and the loss of the proposal."""
    return StepInfo(
        z=work.z,
        loss_before=loss.total,
        loss_after=work.loss.total,
        terms=work.loss.terms,
        difficulty=difficulty,
        accepted=work.any_accepted(),
        inner_steps=work.inner,
        radius=work.radius,
        kappa=work.kappa,
        factor=work.factor,
        actual=work.actual,
        predicted=work.predicted,
        milliseconds=milliseconds,
        gradient=work.gradient,
    )


def _goal_changed(before: Any, goal: Any, like: Tensor) -> Tensor:
    """Rows (B,) bool whose goal differs from that of the previous step."""
    # by name, since an `isinstance` check of a protocol is slow, see `evaluate_loss`
    if before is not None and (differs := getattr(goal, "differs", None)):
        return differs(before)
    return torch.full_like(like, before is not None and goal != before, dtype=torch.bool)


def _features(loss: Loss, previous: Tensor, radius: Tensor, new_goal: Tensor, proposal: Tensor) -> Features:
    """Features of the gate that are known before a gradient is computed."""
    difficulty = loss.total if loss.difficulty is None else loss.difficulty
    change = torch.where(new_goal, 0.0, (loss.total - previous).nan_to_num(0.0))
    violation = torch.zeros_like(difficulty) if loss.violation is None else loss.violation
    return Features(difficulty, change, violation, radius, motion=proposal.norm(dim=-1))
