"""Training a gate: what it minimises is an expectation, and it learns where a correction pays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from problems import linear_gaussian

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, LearnedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.errors import InputFileError
from geofold.learn.gate import ForcedGate, GateCase, Outcomes, concatenate, expected_cost, fit_gate, record_outcomes
from geofold.learn.pretrained import load_gate
from geofold.learn.weights import save_weights


def make_outcomes(count: int = 600, largest: int = 2) -> Outcomes:
    """Steps in trouble (loss above one), where each correction pays, and steps at peace, where none does."""
    noise = torch.Generator().manual_seed(0)
    loss = 10 ** (4 * torch.rand(count, generator=noise, dtype=torch.float64) - 2)
    gain = torch.where(loss > 1.0, -1.0, 0.0)[:, None] * torch.arange(largest + 1)
    one = torch.ones_like(loss)
    spent = torch.arange(largest + 1).double().expand(count, -1)
    return Outcomes(loss, 0 * one, 0 * one, one, loss, 0 * one, gain, spent)


def test_expectation_is_that_of_sampling() -> None:
    outcomes, gate = make_outcomes(200), LearnedGate.start(2, seed=1)
    features = outcomes.features()
    noise = torch.Generator().manual_seed(0)
    total = torch.zeros(200, dtype=torch.float64)
    for _ in range(2000):
        opened = torch.rand(200, generator=noise) < gate.open_logit(features).sigmoid()
        depth = 1 + torch.multinomial(gate.depth_logits(features).softmax(-1), 1, generator=noise)[:, 0]
        chosen = torch.where(opened, depth, 0)
        total += outcomes.task.gather(1, chosen[:, None])[:, 0] + 0.1 * chosen
    assert float(expected_cost(gate, outcomes, 0.1)) == pytest.approx(float(total.mean() / 2000), abs=0.01)


def test_it_opens_where_it_pays_and_less_at_a_higher_price() -> None:
    outcomes = make_outcomes()
    features = outcomes.features()
    shares = []
    for price in (0.05, 3.0):
        gate = fit_gate(outcomes, price)
        opened = gate.open(features)
        shares.append(float(opened.double().mean()))
        if price < 1:
            clear = (outcomes.loss > 3.0) | (outcomes.loss < 0.3)
            assert float((opened == (outcomes.loss > 1.0))[clear].double().mean()) > 0.97
            assert float((gate.depth(features)[outcomes.loss > 3.0] == 2).double().mean()) > 0.9
    assert shares[0] > 0.4 and shares[1] < 0.02


def test_it_waits_for_the_predictor_where_that_pays() -> None:
    """The same trouble, but corrections do harm while the predictor moves."""
    outcomes = make_outcomes()
    moving = torch.arange(len(outcomes.loss)) % 2 == 0
    outcomes = outcomes._replace(
        motion=moving.double(), task=torch.where(moving[:, None], -outcomes.task, outcomes.task)
    )
    gate = fit_gate(outcomes, 0.05)
    opened = gate.open(outcomes.features())
    trouble = outcomes.loss > 3.0
    assert not bool(opened[moving].any()) and float(opened[~moving & trouble].double().mean()) > 0.95
    waiting = fit_gate(outcomes, 0.05, still=0.5)
    assert not bool(waiting.open(outcomes.features())[moving].any()), "it waits without having learned to"


def case(steps: int = 6, span: int = 2) -> GateCase:
    problem = linear_gaussian()
    parts = Controller(NoMotion(), Pullback(), TrustRegion(), FixedGate(1), horizon=1)

    def task_loss(state) -> torch.Tensor:
        at = problem.decode(torch.zeros(len(problem.observe(state, None)), problem.latent_dim).double(), state)
        return torch.log(problem.loss(at, state, problem.goal).total)

    return GateCase(parts, problem, parts.init(problem, problem.start(1, 0.3)), problem.goal, steps, span, task_loss)


def test_outcomes_are_the_streams_with_each_depth() -> None:
    stream = case(steps=4, span=2)
    outcomes = record_outcomes(stream, FixedGate(1), largest=2, seed=0)
    assert outcomes.task.shape == (12, 3)
    for depth in range(3):
        state, spent = stream.state, 0
        for step in range(4):
            gate = ForcedGate(torch.tensor([depth]), 2) if step < 2 else FixedGate(1)
            state, info = replace(stream.controller, gate=gate).step(stream.domain, state, stream.goal)
            spent += int(info.inner_steps[0])
        torch.testing.assert_close(outcomes.task[0, depth], stream.task_loss(state.domain)[0].double())
        assert float(outcomes.spent[0, depth]) == spent / 4


def test_outcomes_come_from_the_seed_and_join() -> None:
    one, two = (record_outcomes(case(), FixedGate(1), largest=2, seed=4) for _ in range(2))
    assert torch.equal(one.task, two.task)
    assert len(concatenate([one, two]).loss) == 2 * len(one.loss)
    followed = record_outcomes(case(), fit_gate(one, 0.01), largest=2, seed=4)
    assert followed.task.shape == one.task.shape


def test_gates_are_read_back_and_others_refused(tmp_path: Path) -> None:
    gate = LearnedGate.start(2, seed=5)
    save_weights(tmp_path / "gate.safetensors", gate.weights, {"model": "gate"})
    loaded = load_gate(tmp_path / "gate.safetensors")
    assert all(torch.equal(value, loaded.weights[name]) for name, value in gate.weights.items())
    save_weights(tmp_path / "other.safetensors", {"a": torch.zeros(2)}, {})
    with pytest.raises(InputFileError, match="holds no gate"):
        load_gate(tmp_path / "other.safetensors")
