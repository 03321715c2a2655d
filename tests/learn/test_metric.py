"""Training a metric: its gradient is that of what it promises, and it learns to lead lower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from problems import linear_gaussian

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.learned_metric import LearnedMetric
from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.trust_region import TrustRegion
from geofold.errors import InputFileError
from geofold.learn.metric import LOSS_FLOOR, MetricStream, loss_surrogate, natural_step, train_metric
from geofold.learn.pretrained import load_metric
from geofold.learn.weights import save_weights

PROBLEM = linear_gaussian()
START = LearnedMetric.start(PROBLEM.latent_dim, rank=2, hidden=8, seed=1)


def parts(radius: float) -> Controller:
    return Controller(NoMotion(), START, TrustRegion(radius=radius, largest=radius), FixedGate(1), horizon=1)


@pytest.mark.parametrize("radius", [0.05, 1e3], ids=["bound", "free"])
def test_the_promised_gradient_is_that_of_the_loss_after_the_step(radius: float) -> None:
    controller = parts(radius)
    state = controller.init(PROBLEM, PROBLEM.start(3, 0.4))

    def after(head: torch.Tensor) -> torch.Tensor:
        """Relative loss after the step, by automatic differentiation all the way."""
        metric = replace(START, head_weight=head)
        z, _ = NoMotion().step(PROBLEM.observe(state.domain, PROBLEM.goal), state.memory)
        seen = evaluate_loss(PROBLEM, z, state.domain, PROBLEM.goal)
        at = linearise(PROBLEM, z, state.domain, seen)
        learnt = metric.update(metric.init(*z.shape, z), at, torch.zeros_like(z), 0)
        v = -metric.factor(learnt).solve(at.gradient)
        pushed = torch.stack([at.push(e.expand_as(z)) for e in torch.eye(z.shape[1], dtype=z.dtype)], -1).detach()
        moved = (pushed @ v[..., None])[..., 0]
        length = ((at.weight * moved.square()).sum(-1) + START.damping * v.square().sum(-1)).sqrt()
        alpha = controller.trust_region.step_fraction(length.detach(), state.radius)
        step = torch.where(alpha < 0.25, state.radius / length, alpha)[:, None] * v
        loss = PROBLEM.loss(PROBLEM.decode(z + step, state.domain), state.domain, PROBLEM.goal).total
        return (loss / (seen.loss.total + LOSS_FLOOR)).mean()

    expected = torch.autograd.grad(after(head := START.head_weight.clone().requires_grad_(True)), head)[0]
    head = START.head_weight.clone().requires_grad_(True)
    gradient = torch.autograd.grad(
        loss_surrogate(replace(START, head_weight=head), controller, PROBLEM, state, PROBLEM.goal), head
    )[0]
    assert float(expected.abs().max()) > 1e-6
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-10)


def test_it_learns_to_lead_lower_and_comes_from_its_courses() -> None:
    controller = parts(1e3)

    def make_stream(number: int) -> MetricStream:
        start = controller.init(PROBLEM, PROBLEM.start(8, 0.1 + number % 5))
        return MetricStream(controller, PROBLEM, start, PROBLEM.goal, 2)

    one, two = (train_metric(make_stream, 40, START) for _ in range(2))
    assert all(torch.equal(value, two.weights[name]) for name, value in one.weights.items())

    def relative_loss(metric: LearnedMetric) -> float:
        stream = make_stream(3)
        state = replace(controller, metric=metric).init(PROBLEM, stream.state.domain)
        at_z, _ = NoMotion().step(PROBLEM.observe(state.domain, PROBLEM.goal), state.memory)
        seen = evaluate_loss(PROBLEM, at_z, state.domain, PROBLEM.goal)
        step = natural_step(metric, linearise(PROBLEM, at_z, state.domain, seen), controller, state.radius)
        after = PROBLEM.loss(PROBLEM.decode(at_z + step, state.domain), state.domain, PROBLEM.goal).total
        return float((after / seen.loss.total).mean())

    assert relative_loss(one) < 0.9 * relative_loss(START)


def test_metrics_are_read_back_and_others_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "metric.safetensors", START.weights, {"damping": 0.5})
    loaded = load_metric(tmp_path / "metric.safetensors")
    assert loaded.damping == 0.5 and torch.equal(loaded.head_bias, START.head_bias)
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(2)}, {})
    with pytest.raises(InputFileError, match="holds no metric"):
        load_metric(tmp_path / "other.safetensors")
