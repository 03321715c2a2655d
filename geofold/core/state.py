"""State carried from step to step, and diagnostics of a step."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from geofold.core.gate import Pace
from geofold.core.metric import MetricState


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

    `kappa`, `condition`, `actual` and `predicted` are None if no row was corrected.

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
    condition : (B,) or None
        Condition number of the metric.
    actual, predicted : (B,) or None
        Actual and predicted decrease of the last correction.
    milliseconds : float
        Wall-clock time of the step (ms).
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
    condition: Tensor | None
    actual: Tensor | None
    predicted: Tensor | None
    milliseconds: float
