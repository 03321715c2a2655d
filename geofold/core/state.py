"""State carried from step to step, its pace, and diagnostics of a step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import Tensor

from geofold.core.metric import Factor, MetricState

SMOOTHING = 0.1
"""Share of the last step in an average of durations."""


class Pace(NamedTuple):
    """Recent duration (ms) of the parts of a step; None before the first measurement.

    Attributes
    ----------
    evaluation : float or None
        Duration of proposal, loss and commit.
    correction : float or None
        Duration of one inner correction.
    fastest : float or None
        Shortest duration of one so far.
    """

    evaluation: float | None = None
    correction: float | None = None
    fastest: float | None = None

    def update(self, evaluation: float, corrections: float, count: int, *, refused: bool = False) -> Pace:
        """Pace after one more step: the larger of the last duration and a slow average, since a budget holds at peaks.

        Parameters
        ----------
        evaluation, corrections : float
            Duration (ms) of the step without its corrections, and of all its corrections.
        count : int
            Number of corrections made.
        refused : bool
            Whether none was made because none fitted. The estimate then falls to that of the fastest one, so that a
            single slow correction does not end all others.
        """
        correction, fastest = self.correction, self.fastest
        if count:
            correction = _smooth(correction, corrections / count)
            fastest = min(corrections / count, math.inf if fastest is None else fastest)
        elif refused and correction is not None and fastest is not None:
            correction = max(fastest, (1 - SMOOTHING) * correction)
        return Pace(_smooth(self.evaluation, evaluation), correction, fastest)


def affordable_depth(pace: Pace, budget: float | None, largest: int) -> int:
    """Count the corrections, at most `largest`, that fit into `budget` (ms; None: all); one if the pace is unknown."""
    if budget is None:
        return largest
    if pace.evaluation is None or pace.correction is None:
        return 1
    return max(0, min(largest, math.floor((budget - pace.evaluation) / max(pace.correction, 1e-6))))


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else max(new, (1 - SMOOTHING) * old + SMOOTHING * new)


class ControllerState(NamedTuple):
    """State of a stream between two steps.

    Attributes
    ----------
    domain
        State of the domain.
    memory
        State of the backbone.
    metric : MetricState
        Averages of the metric.
    radius : (B,)
        Trust radius.
    direction : (B, d)
        Last accepted step.
    loss : (B,)
        Loss of the last emitted latent; NaN before the first step.
    goal
        Last goal; None before the first step.
    steps : int
        Number of steps made.
    pace : Pace
        Recent time per step, for controllers with a time budget.
    """

    domain: Any
    memory: Any
    metric: MetricState
    radius: Tensor
    direction: Tensor
    loss: Tensor
    goal: Any
    steps: int
    pace: Pace = Pace()


class StepInfo(NamedTuple):
    """Diagnostics of a step, one value per row.

    `kappa`, `factor`, `condition`, `gradient`, `angle`, `actual` and `predicted` are None if no row was corrected.

    Attributes
    ----------
    z : (B, d)
        Emitted latent.
    loss_before, loss_after : (B,)
        Loss of the proposal and of the emitted latent.
    terms : dict of str to (B,)
        Named terms of `loss_after`.
    difficulty : (B,)
        Loss that the gate compared with its tolerance.
    accepted : (B,) bool
        Whether any correction was accepted.
    inner_steps : (B,) int
        K, the number of corrections tried.
    radius : (B,)
        Trust radius after the step.
    kappa : (B,) or None
        g'G^-1 g at the proposal.
    factor : Factor or None
        Factor of the metric at the proposal.
    actual, predicted : (B,) or None
        Actual and predicted decrease of the last correction.
    milliseconds : float
        Wall-clock time of the step (ms).
    gradient : (B, d) or None
        Gradient of the loss at the proposal.
    """

    z: Tensor
    loss_before: Tensor
    loss_after: Tensor
    terms: dict[str, Tensor]
    difficulty: Tensor
    accepted: Tensor
    inner_steps: Tensor
    radius: Tensor
    kappa: Tensor | None
    factor: Factor | None
    actual: Tensor | None
    predicted: Tensor | None
    milliseconds: float
    gradient: Tensor | None = None

    @property
    def condition(self) -> Tensor | None:
        """Condition number (B,) of the metric at the proposal, computed on request."""
        return None if self.factor is None else self.factor.condition()

    @property
    def angle(self) -> Tensor | None:
        """Angle (B,), in radian, between natural and Euclidean direction at the proposal, computed on request.

        A metric changes where a step goes only as far as this angle is not zero. It is NaN where the gradient is zero.
        """
        if self.factor is None or self.gradient is None:
            return None
        natural = self.factor.solve(self.gradient)
        cosine = (natural * self.gradient).sum(-1) / (natural.norm(dim=-1) * self.gradient.norm(dim=-1))
        return cosine.clamp(-1, 1).acos()
