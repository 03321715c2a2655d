"""Working state of the corrections within one controller step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Domain, Loss, Prediction
from geofold.core.linearise import Linearisation
from geofold.core.metric import Factor, MetricState
from geofold.core.surrogate import Trial


class StepContext(NamedTuple):
    """Values that are constant during the corrections of one step.

    Attributes
    ----------
    domain : Domain
    state, goal
        State and goal in the types of the domain.
    memory
        State of the backbone after its proposal.
    proposal : (B, d)
        Latent proposed by the backbone.
    """

    domain: Domain
    state: Any
    goal: Any
    memory: Any
    proposal: Tensor


class LocalModel(NamedTuple):
    """Linearised problem and metric at the current latent.

    Attributes
    ----------
    at : Linearisation
    metric : MetricState
        Averages of the metric, this latent included.
    factor : Factor
        Factor of the metric.
    descent : (B, d)
        G^-1 g, the natural gradient.
    """

    at: Linearisation
    metric: MetricState
    factor: Factor
    descent: Tensor


@dataclass(frozen=True)
class Work:
    """State that the inner loop passes from one correction to the next.

    Attributes
    ----------
    z : (B, d)
        Current latent, with its `prediction` and `loss`.
    radius : (B,)
        Trust radius.
    metric : MetricState
    direction : (B, d)
        Last accepted step.
    inner : (B,) int
        Number of corrections tried.
    last : (B,) bool
        Whether the last correction was accepted.
    accepted : (B,) bool or None
        Whether any correction was accepted; None before the first.
    kappa, actual, predicted : (B,) or None
    factor : Factor or None
    gradient : (B, d) or None
        Diagnostics, see `geofold.core.state.StepInfo`.
    """

    z: Tensor
    prediction: Prediction
    loss: Loss
    radius: Tensor
    metric: MetricState
    direction: Tensor
    inner: Tensor
    last: Tensor
    accepted: Tensor | None = None
    kappa: Tensor | None = None
    factor: Factor | None = None
    gradient: Tensor | None = None
    actual: Tensor | None = None
    predicted: Tensor | None = None

    def any_accepted(self) -> Tensor:
        """Rows (B,) bool in which at least one correction was accepted."""
        return torch.zeros_like(self.radius, dtype=torch.bool) if self.accepted is None else self.accepted

    def move(self, accepted: Tensor, z: Tensor, trial: Trial, step: Tensor) -> Work:
        """Replace the latent by a trial in the rows (B,) in which it was accepted.

        Parameters
        ----------
        accepted : (B,) bool
        z : (B, d)
            Trial latent.
        trial : Trial
            Prediction and loss of the trial.
        step : (B, d)
            Step that leads to it.

        Returns
        -------
        Work
        """
        ever = accepted if self.accepted is None else self.accepted | accepted
        work = replace(self, last=accepted, accepted=ever)
        if not bool(accepted.any()):
            return work
        prediction, loss = trial.prediction, trial.loss
        if bool(accepted.all()):  # no masks are needed
            return replace(work, z=z, prediction=prediction, loss=loss, direction=step)
        wide = accepted[:, None]
        mean = torch.where(wide, prediction.mean, self.prediction.mean)
        precision = torch.where(wide, prediction.precision, self.prediction.precision)
        valid = torch.where(accepted, prediction.valid, self.prediction.valid)
        terms = {name: torch.where(accepted, term, self.loss.terms[name]) for name, term in loss.terms.items()}
        return replace(
            work,
            z=torch.where(wide, z, self.z),
            prediction=Prediction(mean, precision, valid),
            loss=Loss(torch.where(accepted, loss.total, self.loss.total), terms),
            direction=torch.where(wide, step, self.direction),
        )


def merge_rows(rows: Tensor, new: MetricState, old: MetricState) -> MetricState:
    """Metric state with the averages of `new` in some rows (B,) and those of `old` in the others."""
    return MetricState(
        torch.where(rows[:, None, None], new.factor, old.factor), torch.where(rows, new.weight, old.weight)
    )
