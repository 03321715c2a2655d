"""Model-predictive control on a frozen policy: a few perturbed first moves, each rolled out by the policy itself.

No weight is updated and no gradient taken (GeoSSM, Appendix E): of the candidates, the unperturbed one among them, the
one whose discounted loss over the horizon is lowest is carried out, and planning starts anew at the next step.

Glossary: ``C`` candidates, ``d`` latent.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from geofold.core.backbone import Backbone, take_rows
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate
from geofold.core.linearise import loss_value
from geofold.core.metric import EuclideanMetric
from geofold.core.population import select_rows
from geofold.core.state import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.molecule.peptide.domain import PeptideDomain

HORIZON, DISCOUNT = 3, 0.97


@dataclass(frozen=True)
class Planner:
    """A policy within a horizon.

    Parameters
    ----------
    backbone : Backbone
        The frozen policy.
    candidates : int
        First moves that are compared.
    spread : float
        Standard deviation of what is added to a move, radian.
    gate : Gate
        Shut: nothing is corrected.
    """

    backbone: Backbone
    candidates: int
    spread: float
    gate: Gate = field(default_factory=lambda: FixedGate(0))
    horizon: int = HORIZON
    discount: float = DISCOUNT
    seed: int = 0

    @property
    def trust_region(self) -> TrustRegion:
        """None is needed; a kicked stream asks for its radius."""
        return TrustRegion()

    def init(self, domain: PeptideDomain, state: Any) -> ControllerState:
        """As a controller without corrections starts."""
        alone = Controller(self.backbone, EuclideanMetric(), self.trust_region, FixedGate(0), horizon=1)
        return alone.init(domain, state)

    @torch.no_grad()
    def step(self, domain: PeptideDomain, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """One step of a stream of one row."""
        began = time.perf_counter()
        noise = torch.Generator().manual_seed(hash((self.seed, state.steps)) & 0x7FFFFFFF)
        wide = select_rows(domain, state, torch.zeros(self.candidates, dtype=torch.long))
        z, memory = self.backbone.step(domain.observe(wide.domain, goal), wide.memory)
        reach = torch.nn.functional.pad(domain.reach(), (0, z.shape[1] - len(domain.tree)))
        shaken = self.spread * torch.randn(z.shape, generator=noise, dtype=torch.float64) * reach
        shaken[0] = 0.0
        z = z + shaken.to(z)
        first = domain.decode(z, wide.domain)
        loss = loss_value(domain, first, wide.domain, goal)
        total, ahead, after = loss.total, domain.commit(first, wide.domain), self.backbone.write(memory, z)
        for number in range(1, self.horizon):
            move, after = self.backbone.step(domain.observe(ahead, goal), after)
            prediction = domain.decode(move, ahead)
            total = total + self.discount**number * loss_value(domain, prediction, ahead, goal).total
            ahead = domain.commit(prediction, ahead)
        best = torch.where(first.valid, total, torch.inf).argmin()[None]
        committed = domain.select(domain.commit(first, wide.domain), best)
        later = state._replace(
            domain=committed, memory=take_rows(self.backbone.write(memory, z), best), loss=loss.total[best], goal=goal,
            steps=state.steps + 1,
        )  # fmt: skip
        nothing = torch.zeros(1, dtype=torch.long)
        info = StepInfo(
            z=z[best], loss_before=loss.total[:1], loss_after=loss.total[best],
            terms={name: term[best] for name, term in loss.terms.items()}, difficulty=loss.total[:1],
            accepted=nothing.bool(), inner_steps=nothing, radius=state.radius, kappa=None, condition=None, actual=None,
            predicted=None, milliseconds=1e3 * (time.perf_counter() - began),
        )  # fmt: skip
        return later, info
