"""iLQR-lite (GeoSSM, Appendix E).

The frozen predictor is linearised around its own roll-out and the loss is expanded to second order; one Riccati sweep
gives the first action.

The state of the linear problem is the latent, to which an action u is added; the result affects the next latent by way
of the predictor's memory: y = dz + u, dz' = A y. The loss is quadratic with the curvature of the decoder's metric, and
an action costs (mu/2) |u|^2.

    M_h = gamma^h Q_h + A'P A,  b_h = gamma^h g_h + A'p,  u = -(M + mu I)^-1 (b + M dz)
    P_h = M - M (M + mu I)^-1 M,  p_h = b - M (M + mu I)^-1 b

Glossary: ``B`` rows, ``d`` latent, ``h`` steps ahead.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from geofold.core.backbone import Backbone, map_tensors
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.linearise import evaluate_loss, linearise, loss_value
from geofold.core.metric import EuclideanMetric
from geofold.core.state import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion


@dataclass(frozen=True)
class Quadratic:
    """Loss of a step around its latent: gradient g (..., d), curvature Q (..., d, d), and A of the next step."""

    gradient: Tensor
    curvature: Tensor
    transition: Tensor | None


@dataclass(frozen=True)
class IlqrLite:
    """Makes one Riccati sweep at each step.

    Parameters
    ----------
    backbone : Backbone
        Frozen predictor; its step must be differentiable.
    effort : float
        Weight mu of the actions.
    damping : float
        Is added to the diagonal of Q.
    budget : float or None
        Time limit (ms): no further step is linearised after half of it. Results then depend on the speed of the
        machine.
    """

    backbone: Backbone
    horizon: int = 3
    discount: float = 0.97
    effort: float = 4.0
    damping: float = 1e-3
    budget: float | None = None

    def init(self, domain: Any, state: Any) -> ControllerState:
        """Make the initial state of a controller without corrections."""
        alone = Controller(self.backbone, EuclideanMetric(), TrustRegion(), FixedGate(0), horizon=1)
        return alone.init(domain, state)

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step of a stream."""
        began = time.perf_counter()
        with torch.no_grad():
            z, memory = self.backbone.step(domain.observe(state.domain, goal), state.memory)
        action = sweep(self._roll_out(domain, state.domain, memory, z, goal, began), self.discount, self.effort)
        after = z + action
        with torch.no_grad():
            before = loss_value(domain, domain.decode(z, state.domain), state.domain, goal)
            prediction = domain.decode(after, state.domain)
            loss = loss_value(domain, prediction, state.domain, goal)
            committed = domain.commit(prediction, state.domain)
        next_state = state._replace(
            domain=committed,
            memory=self.backbone.write(memory, after),
            loss=loss.total,
            goal=goal,
            steps=state.steps + 1,
        )
        ones = torch.ones(len(z), dtype=torch.long)
        info = StepInfo(
            z=after,
            loss_before=before.total,
            loss_after=loss.total,
            terms=loss.terms,
            difficulty=before.total,
            accepted=ones.bool(),
            inner_steps=ones,
            radius=state.radius,
            kappa=None,
            factor=None,
            actual=None,
            predicted=None,
            milliseconds=1e3 * (time.perf_counter() - began),
        )
        return next_state, info

    def _roll_out(self, domain: Any, future: Any, memory: Any, z: Tensor, goal: Any, began: float) -> list[Quadratic]:
        """Roll the predictor out and linearise it step by step."""
        quadratics: list[Quadratic] = []
        for h in range(self.horizon):
            linearisation = linearise(domain, z, future, evaluation := evaluate_loss(domain, z, future, goal))
            curvature = linearisation.expansion.gram(linearisation.weight) + self.damping * torch.eye(
                z.shape[1], dtype=z.dtype
            )
            late = self.budget is not None and 1e3 * (time.perf_counter() - began) > self.budget / 2
            if h + 1 == self.horizon or late:
                return [*quadratics, Quadratic(linearisation.gradient, curvature, None)]
            with torch.no_grad():
                future = domain.commit(evaluation.prediction, future)
                x = domain.observe(future, goal)
            leaf = z.detach().requires_grad_(True)
            with torch.enable_grad():
                proposal, memory = self.backbone.step(x, self.backbone.write(memory, leaf))
            # rows are independent, so the gradient of a sum over rows is that of each row
            eye = torch.eye(z.shape[1], dtype=z.dtype)[:, None].expand(-1, len(z), -1)
            transition = torch.autograd.grad(proposal, leaf, eye, is_grads_batched=True)[0].transpose(0, 1)
            quadratics.append(Quadratic(linearisation.gradient, curvature, transition))
            z = proposal.detach()
            memory = map_tensors(memory, Tensor.detach)
        return quadratics


def sweep(steps: list[Quadratic], discount: float, effort: float) -> Tensor:
    """First of the optimal actions (..., d), by a Riccati sweep from the last step to the first."""
    size = steps[0].gradient.shape[-1]
    eye = effort * torch.eye(size, dtype=steps[0].gradient.dtype)
    cost, slope = torch.zeros_like(steps[0].curvature), torch.zeros_like(steps[0].gradient)
    action = slope
    for h in range(len(steps) - 1, -1, -1):
        step, weight = steps[h], discount**h
        m, b = weight * step.curvature, weight * step.gradient
        if step.transition is not None:
            m, b = m + step.transition.mT @ cost @ step.transition, b + (step.transition.mT @ slope[..., None])[..., 0]
        gain = torch.linalg.solve(m + eye, torch.cat([m, b[..., None]], -1))
        action = -gain[..., -1]
        cost, slope = m - m @ gain[..., :-1], b + (m @ action[..., None])[..., 0]
    return action
