"""Train a gate: task loss + lambda E[K], on streams of a frozen controller.

Estimator: the exact expectation over K, neither straight-through nor Gumbel nor a policy gradient. A stream is a pure
function of its state, so at the start of each span of steps it is branched into all K in 0..K_max; each branch follows
the present gate to the end of the stream, where the task loss is computed. The expectation over K is then an explicit,
smooth function of the gate's probabilities, without variance from sampling K. Looking one step ahead would not suffice:
a correction that pays at once may spoil a move whose end the predictor knows.

Streams follow the gate's own choices mixed with random ones and are recorded again between rounds, so that the gate
learns from states that it leads to.

Glossary: ``m`` steps, ``K`` inner steps in 0..K_max.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.core.controller import Controller
from geofold.core.domain import Selectable
from geofold.core.gate import Features, Gate, LearnedGate
from geofold.core.population import select_rows
from geofold.core.state import ControllerState

EXPLORATION = 0.25
"""Fraction of the spans whose K is random."""
ADAM_STEPS, LEARNING_RATE = 1500, 0.02
LOGIT_PENALTY = 1e-3
"""Weight of the squared logits: a gate that becomes certain too early stops learning."""


@dataclass
class ForcedGate:
    """A gate with a prescribed K per row that records the features it is given; for training only.

    Attributes
    ----------
    budget : (B,) int
        K of each row.
    largest : int
        K_max.
    observed : list of Features
        Features of the steps so far.
    """

    budget: Tensor
    largest: int
    name: str = "forced"
    observed: list[Features] = field(default_factory=list)

    def open(self, features: Features) -> Tensor:
        """Rows (B,) whose K is not zero."""
        return self.budget > 0

    def depth(self, features: Features) -> Tensor:
        """Record the features; returns K (B,), at least one."""
        self.observed.append(features)
        return self.budget.clamp_min(1)


class Outcomes(NamedTuple):
    """Features (m,) of steps and the consequences of each K in their span.

    task : (m, K_max + 1) task losses at the end of the stream; spent : (m, K_max + 1) mean K of the whole stream from
    there on.
    """

    loss: Tensor
    change: Tensor
    violation: Tensor
    radius: Tensor
    kappa: Tensor
    motion: Tensor
    task: Tensor
    spent: Tensor

    def features(self) -> Features:
        """Features in the form that a gate takes."""
        return Features(self.loss, self.change, self.violation, self.radius, self.kappa, self.motion)


class GateCase(NamedTuple):
    """A stream of one row to learn from.

    controller : its gate is replaced; domain, state, goal : start and task; steps, span : length of the stream and of
    a decision; task_loss : task loss (B,) of domain states.
    """

    controller: Controller
    domain: Selectable
    state: ControllerState
    goal: Any
    steps: int
    span: int
    task_loss: Callable[[Any], Tensor]


def record_outcomes(case: GateCase, gate: Gate, *, largest: int, seed: int) -> Outcomes:
    """Compute the consequences of each K, span after span of a stream.

    Parameters
    ----------
    case : GateCase
        The stream.
    gate : Gate
        Decides how branches continue, and where the stream continues from (except for `EXPLORATION`).
    largest : int
        K_max.
    seed : int
        Seed of the random choices.
    """
    noise = torch.Generator().manual_seed(seed)
    budget, rows = torch.arange(largest + 1), torch.zeros(largest + 1, dtype=torch.long)
    gated, state = replace(case.controller, gate=gate), case.state
    parts: list[list[Tensor]] = []
    for begin in range(0, case.steps, case.span):
        forced = ForcedGate(budget, largest)
        branches, spent = select_rows(case.domain, state, rows), torch.zeros(largest + 1)
        for _ in range(min(case.span, case.steps - begin)):
            branches, info = replace(case.controller, gate=forced).step(case.domain, branches, case.goal)
            spent += info.inner_steps
        ends = branches
        for _ in range(begin + case.span, case.steps):
            ends, info = gated.step(case.domain, ends, case.goal)
            spent += info.inner_steps
        task = case.task_loss(ends.domain).expand(len(forced.observed) * (largest + 1), -1)
        features = [torch.cat([_columns(step)[k] for step in forced.observed]) for k in range(6)]
        parts.append([*features, task, (spent / case.steps).expand_as(task)])
        choice = int(torch.randint(largest + 1, (1,), generator=noise))
        if float(torch.rand(1, generator=noise)) > EXPLORATION:
            first = forced.observed[0]
            choice = int(torch.where(gate.open(first), gate.depth(first), 0)[0])
        state = select_rows(case.domain, branches, torch.tensor([min(choice, largest)]))
    return Outcomes(*(torch.cat(part).double() for part in zip(*parts, strict=True)))


def _columns(features: Features) -> list[Tensor]:
    """Features (B,) in the order of `Outcomes`; missing ones are zero."""
    motion = torch.zeros_like(features.loss) if features.motion is None else features.motion
    kappa = torch.zeros_like(features.loss) if features.kappa is None else features.kappa
    return [features.loss, features.change, features.violation, features.radius, kappa, motion]


def concatenate(parts: list[Outcomes]) -> Outcomes:
    """Concatenate the outcomes of several streams."""
    return Outcomes(*(torch.cat(part) for part in zip(*parts, strict=True)))


def expected_cost(gate: LearnedGate, outcomes: Outcomes, penalty: float) -> Tensor:
    """Mean over steps of E[task + penalty K] minus its value at K = 0; differentiable in the gate's weights."""
    features = outcomes.features()
    p_open = gate.open_logit(features).sigmoid()
    depth = gate.depth_logits(features).softmax(-1)
    probability = torch.cat([1 - p_open[:, None], p_open[:, None] * depth], -1)
    cost = outcomes.task + penalty * outcomes.spent
    return (probability * (cost - cost[:, :1])).sum(-1).mean()


def fit_gate(outcomes: Outcomes, penalty: float, *, still: float = math.inf, seed: int = 0) -> LearnedGate:
    """Fit the gate that minimises `expected_cost`.

    Parameters
    ----------
    outcomes : Outcomes
        Recorded steps; those in which the predictor moves by more than `still` are ignored.
    penalty : float
        lambda: task loss that one correction per step must save. A higher penalty gives fewer corrections.
    still : float
        See `geofold.core.gate.LearnedGate`.
    seed : int
        Seed of the initial weights.
    """
    first = LearnedGate.start(outcomes.task.shape[1] - 1, max_motion=still, seed=seed)
    weights = {name: value.clone().requires_grad_(name != "still") for name, value in first.weights.items()}
    outcomes = Outcomes(*(part[outcomes.motion <= still] for part in outcomes))
    features = outcomes.features()
    optimiser = torch.optim.Adam([value for value in weights.values() if value.requires_grad], lr=LEARNING_RATE)
    for iteration in range(ADAM_STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - iteration / ADAM_STEPS)
        gate = LearnedGate.of(weights)
        logits = torch.cat([gate.open_logit(features)[:, None], gate.depth_logits(features)], -1)
        loss = expected_cost(gate, outcomes, penalty) + LOGIT_PENALTY * logits.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return LearnedGate.of({name: value.detach() for name, value in weights.items()})
