"""What a step carries on, and what it tells its reader."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from geofold.core.gate import Pace
from geofold.core.metric import MetricState


class ControllerState(NamedTuple):
    """All that the next step needs.

    domain : the domain's own state.
    memory : the backbone's state.
    metric : averages of the metric.
    radius : (B,) trust radius.
    direction : (B, d) last accepted step.
    loss : (B,) loss of what was emitted last, NaN before the first step.
    goal : the last goal, None before the first step.
    steps : how many steps were made.
    pace : what a step costs, for controllers with a budget of time.
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
    """What happened, row by row; None where the gate let the proposal pass in every row.

    z : (B, d) the latent that was emitted.
    loss_before, loss_after : (B,) loss of the proposal and of what was emitted.
    terms : named terms of the loss after, (B,) each.
    difficulty : (B,) what the gate saw.
    accepted : (B,) bool, whether any correction was taken.
    inner_steps : (B,) K, corrections tried.
    radius : (B,) trust radius after the step.
    kappa : (B,) g'G^-1 g at the proposal.
    condition : (B,) condition number of the metric.
    actual, predicted : (B,) decrease of the last correction.
    milliseconds : wall-clock time of the step.
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
