"""How G_psi is trained on a frozen controller: a natural step in it should lead to the lowest loss.

Streams follow G_psi as it is; at each of their states the step that it gives is made once more, and its weights follow
the gradient of the loss where that step ends (relative to the loss where it began). That gradient needs no
differentiation of the domain: the closed-form slope at the end is carried back through the Woodbury solve and the
trust region's scaling.

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
LOSS_FLOOR = 0.05
"""Loss that is added where one is divided by it: who is content has nothing to teach."""


class MetricStream(NamedTuple):
    """A stream of several rows to learn from: its controller's metric is replaced."""

    controller: Controller
    domain: Domain
    state: ControllerState
    goal: Any
    steps: int


def natural_step(metric: LearnedMetric, at: Linearisation, parts: Controller, radius: Tensor) -> Tensor:
    """The step (B, d) that a metric gives within a trust radius (B,), differentiable in the metric's weights."""
    batch, dim = at.z.shape
    learnt = metric.update(metric.init(batch, dim, at.z), at, torch.zeros_like(at.z), 0)
    v = -metric.factor(learnt).solve(at.gradient)
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
    """Scalar whose gradient by the metric's weights is that of the relative loss after a step, mean over rows."""
    z, _ = parts.backbone.step(domain.observe(state.domain, goal), state.memory)
    seen = evaluate_loss(domain, z, state.domain, goal)
    at = linearise(domain, z, state.domain, seen)
    step = natural_step(metric, at, parts, state.radius)
    trial = domain.space.retract(z, step.detach())
    after = linearise(domain, trial, state.domain, evaluate_loss(domain, trial, state.domain, goal)).gradient
    scale = 1 / (seen.loss.total + LOSS_FLOOR)
    return (scale[:, None] * after * step).sum(-1).mean()


def train_metric(
    courses: Callable[[int], MetricStream],
    count: int,
    start: LearnedMetric,
    *,
    told: Callable[[int], None] | None = None,
) -> LearnedMetric:
    """G_psi after so many courses, each streamed over once; the same courses give the same weights."""
    weights = {name: value.clone().requires_grad_(True) for name, value in start.weights.items()}
    optimiser = torch.optim.Adam(weights.values(), lr=RATE)
    for number in range(count):
        optimiser.param_groups[0]["lr"] = RATE * (1 - number / count)
        course = courses(number)
        state = course.state
        for _ in range(course.steps):
            metric = start.with_weights(weights)
            frozen = start.with_weights({name: value.detach() for name, value in weights.items()})
            optimiser.zero_grad()
            loss_surrogate(metric, course.controller, course.domain, state, course.goal).backward()
            torch.nn.utils.clip_grad_norm_(weights.values(), CLIP)
            parts = replace(course.controller, metric=frozen)
            state, _ = parts.step(course.domain, state, course.goal)
            optimiser.step()
        if told is not None:
            told(number + 1)
    return start.with_weights({name: value.detach() for name, value in weights.items()})
