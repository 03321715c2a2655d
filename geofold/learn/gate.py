"""How a gate is trained: task loss + lambda E[K], on streams of a frozen controller.

Estimator: neither straight-through nor Gumbel nor a policy gradient. A stream is a pure function of its state, so at
the start of each span of steps it is made with every K in 0..K_max side by side, each branch then goes on to the end
of the stream as the present gate would have it, and there the task is judged. The expectation over K is an explicit,
smooth function of the gate's probabilities: no variance from sampling K. One step ahead is not enough here, since a
correction that pays at once may spoil a move that the predictor knows the end of.
Streams follow the gate's own choices mixed with random ones and are renewed between rounds, so that the gate learns
from the states it leads to.

Glossary: ``m`` steps, ``K`` in 0..K_max.
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
"""Share of the spans whose K is drawn."""
ADAM_STEPS, LEARNING_RATE, LOGIT_PENALTY = 1500, 0.02, 1e-3
"""Adam's, and the price of a squared logit: a gate that is certain too soon learns no more."""


@dataclass
class ForcedGate:
    """A gate that does as it is told, row by row, and remembers what it saw. For training alone."""

    budget: Tensor
    largest: int
    name: str = "forced"
    seen: list[Features] = field(default_factory=list)

    def open(self, features: Features) -> Tensor:
        """Where the budget is not zero."""
        return self.budget > 0

    def depth(self, features: Features) -> Tensor:
        """The budget."""
        self.seen.append(features)
        return self.budget.clamp_min(1)


class Outcomes(NamedTuple):
    """Features (m,) of steps, and what their span's K led to: task losses (m, K_max + 1) at the stream's end, and
    mean K (m, K_max + 1) of the whole stream from there."""

    loss: Tensor
    change: Tensor
    violation: Tensor
    radius: Tensor
    kappa: Tensor
    motion: Tensor
    task: Tensor
    spent: Tensor

    def features(self) -> Features:
        """As the gate takes them."""
        return Features(self.loss, self.change, self.violation, self.radius, self.kappa, self.motion)


class GateCase(NamedTuple):
    """A stream of one row to learn from.

    controller : its gate is replaced.
    domain, state, goal : where it starts, what it is asked for.
    steps, span : of the stream, and of a decision.
    judge : task loss (B,) of domain states.
    """

    controller: Controller
    domain: Selectable
    state: ControllerState
    goal: Any
    steps: int
    span: int
    judge: Callable[[Any], Tensor]


def record_outcomes(case: GateCase, gate: Gate, *, largest: int, seed: int) -> Outcomes:
    """What each K leads to, span after span of a stream that goes on with the gate's choice.

    Parameters
    ----------
    gate
        How branches go on; its choices are followed but for `RANDOM`.
    """
    noise = torch.Generator().manual_seed(seed)
    budget, rows = torch.arange(largest + 1), torch.zeros(largest + 1, dtype=torch.long)
    own, state = replace(case.controller, gate=gate), case.state
    found: list[list[Tensor]] = []
    for begin in range(0, case.steps, case.span):
        forced = ForcedGate(budget, largest)
        wide, spent = select_rows(case.domain, state, rows), torch.zeros(largest + 1)
        for _ in range(min(case.span, case.steps - begin)):
            wide, info = replace(case.controller, gate=forced).step(case.domain, wide, case.goal)
            spent += info.inner_steps
        after = wide
        for _ in range(begin + case.span, case.steps):
            after, info = own.step(case.domain, after, case.goal)
            spent += info.inner_steps
        task = case.judge(after.domain).expand(len(forced.seen) * (largest + 1), -1)
        told = [torch.cat([_filled(one)[k] for one in forced.seen]) for k in range(6)]
        found.append([*told, task, (spent / case.steps).expand_as(task)])
        chosen = int(torch.randint(largest + 1, (1,), generator=noise))
        if float(torch.rand(1, generator=noise)) > EXPLORATION:
            first = forced.seen[0]
            chosen = int(torch.where(gate.open(first), gate.depth(first), 0)[0])
        state = select_rows(case.domain, wide, torch.tensor([min(chosen, largest)]))
    return Outcomes(*(torch.cat(part).double() for part in zip(*found, strict=True)))


def _filled(seen: Features) -> list[Tensor]:
    motion = torch.zeros_like(seen.loss) if seen.motion is None else seen.motion
    kappa = torch.zeros_like(seen.loss) if seen.kappa is None else seen.kappa
    return [seen.loss, seen.change, seen.violation, seen.radius, kappa, motion]


def concatenate(parts: list[Outcomes]) -> Outcomes:
    """Outcomes of several streams."""
    return Outcomes(*(torch.cat(part) for part in zip(*parts, strict=True)))


def expected_cost(gate: LearnedGate, seen: Outcomes, price: float) -> Tensor:
    """Mean over steps of E[task + price K], against K = 0; differentiable in the gate's weights."""
    told = seen.features()
    open_ = gate.open_logit(told).sigmoid()
    depth = gate.depth_logits(told).softmax(-1)
    share = torch.cat([1 - open_[:, None], open_[:, None] * depth], -1)
    cost = seen.task + price * seen.spent
    return (share * (cost - cost[:, :1])).sum(-1).mean()


def fit_gate(seen: Outcomes, price: float, *, still: float = math.inf, seed: int = 0) -> LearnedGate:
    """Gate that minimises `expected` on the outcomes of steps in which the predictor moves by no more than `still`."""
    first = LearnedGate.start(seen.task.shape[1] - 1, max_motion=still, seed=seed)
    weights = {name: value.clone().requires_grad_(name != "still") for name, value in first.weights.items()}
    seen = Outcomes(*(part[seen.motion <= still] for part in seen))
    told = seen.features()
    optimiser = torch.optim.Adam([value for value in weights.values() if value.requires_grad], lr=LEARNING_RATE)
    for iteration in range(ADAM_STEPS):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (1 - iteration / ADAM_STEPS)
        gate = LearnedGate.of(weights)
        logits = torch.cat([gate.open_logit(told)[:, None], gate.depth_logits(told)], -1)
        loss = expected_cost(gate, seen, price) + LOGIT_PENALTY * logits.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return LearnedGate.of({name: value.detach() for name, value in weights.items()})
