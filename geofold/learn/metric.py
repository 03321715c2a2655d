"""Train G_psi, a learned metric, on a frozen controller, so that one natural step in it reaches the lowest loss.

Streams follow G_psi as it is. At each of their states its step is computed once more, and the weights follow the
gradient of the loss at the end of that step, relative to the loss at its start. The domain need not be differentiated
twice: the closed-form gradient at the end is propagated through the Woodbury solve and the scaling of the trust region.

Glossary: ``B`` rows, ``d`` latent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.controller import Controller
from geofold.core.domain import Domain
from geofold.core.learned_metric import LearnedMetric
from geofold.core.linearise import Linearisation, evaluate_loss, linearise
from geofold.core.state import ControllerState

RATE, CLIP = 3e-3, 1.0
"""Learning rate of Adam, and largest norm of a gradient."""
LOSS_FLOOR = 0.05
"""Loss added to the denominator of the relative loss, so that converged rows contribute no gradient."""


class MetricStream(NamedTuple):
    """A stream of several rows to learn from; the metric of its controller is replaced."""

    controller: Controller
    domain: Domain
    state: ControllerState
    goal: Any
    steps: int


def natural_step(metric: LearnedMetric, at: Linearisation, parts: Controller, radius: Tensor) -> Tensor:
    """Compute the step of a metric within the trust radius, differentiably in the metric's weights.

    Parameters
    ----------
    metric : LearnedMetric
        The metric.
    at : Linearisation
        Loss and decoder at the present latent.
    parts : Controller
        Its trust region scales the step.
    radius : (B,)
        Trust radius.

    Returns
    -------
    (B, d)
    """
    batch, dim = at.z.shape
    updated = metric.update(metric.init(batch, dim, at.z), at, torch.zeros_like(at.z), 0)
    v = -metric.factor(updated).solve(at.gradient)
    fixed = v.detach()
    with torch.no_grad():
        length = at.length_squared(fixed, metric.damping)
        by_v = 2 * (at.pull(at.weight * at.push(fixed)) + metric.damping * fixed)
    # |v|_G: its value, with its derivative along v
    length = (length + (by_v * (v - fixed)).sum(-1)).clamp_min(1e-300).sqrt()
    alpha = parts.trust_region.step_fraction(length.detach(), radius)
    bound = alpha < parts.trust_region.first / 4
    return torch.where(bound, radius / length, alpha)[:, None] * v


def loss_surrogate(
    metric: LearnedMetric, parts: Controller, domain: Domain, state: ControllerState, goal: Any
) -> Tensor:
    """Scalar whose gradient by the metric's weights is that of the relative loss after a step, averaged over rows.

    Parameters
    ----------
    metric : LearnedMetric
        The metric.
    parts : Controller
        Frozen predictor and trust region.
    domain, state, goal
        The domain, the state of the stream and the task.
    """
    z, _ = parts.backbone.step(domain.observe(state.domain, goal), state.memory)
    evaluation = evaluate_loss(domain, z, state.domain, goal)
    at = linearise(domain, z, state.domain, evaluation)
    step = natural_step(metric, at, parts, state.radius)
    trial = domain.space.retract(z, step.detach())
    after = linearise(domain, trial, state.domain, evaluate_loss(domain, trial, state.domain, goal)).gradient
    scale = 1 / (evaluation.loss.total + LOSS_FLOOR)
    return (scale[:, None] * after * step).sum(-1).mean()


def train_metric(
    streams: Callable[[int], MetricStream],
    count: int,
    start: LearnedMetric,
    *,
    progress: Callable[[int], None] | None = None,
) -> LearnedMetric:
    """Train G_psi on streams, each once; the same streams give the same weights.

    Parameters
    ----------
    streams : callable
        Gives a stream by its number.
    count : int
        Number of streams.
    start : LearnedMetric
        Initial weights.
    progress : callable, optional
        Called with the number of streams done.
    """
    weights = {name: value.clone().requires_grad_(True) for name, value in start.weights.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=RATE)
    for number in range(count):
        optimiser.param_groups[0]["lr"] = RATE * (1 - number / count)
        stream = streams(number)
        state = stream.state
        for _ in range(stream.steps):
            metric = start.with_weights(weights)
            frozen = start.with_weights({name: value.detach() for name, value in weights.items()})
            optimiser.zero_grad()
            loss_surrogate(metric, stream.controller, stream.domain, state, stream.goal).backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), CLIP)
            parts = replace(stream.controller, metric=frozen)
            state, _ = parts.step(stream.domain, state, stream.goal)
            optimiser.step()
        if progress is not None:
            progress(number + 1)
    return start.with_weights({name: value.detach() for name, value in weights.items()})
