"""Model-predictive control on a frozen policy: a few perturbed first moves, each rolled out by the policy itself.

No weight is updated and no gradient is computed (GeoSSM, Appendix E). The candidates include the unperturbed move; the
first move of the candidate with the lowest discounted loss over the horizon is made, and the next step plans again.

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
    """Plans with a policy over a horizon.

    Parameters
    ----------
    backbone : Backbone
        The frozen policy.
    candidates : int
        Number of first moves that are compared.
    spread : float
        Standard deviation of the perturbations (radian).
    gate : Gate
        Is closed: nothing is corrected.
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
        """A default region, since a kicked stream reads its radius."""
        return TrustRegion()

    def init(self, domain: PeptideDomain, state: Any) -> ControllerState:
        """Make the initial state of a controller without corrections."""
        alone = Controller(self.backbone, EuclideanMetric(), self.trust_region, FixedGate(0), horizon=1)
        return alone.init(domain, state)

    @torch.no_grad()
    def step(self, domain: PeptideDomain, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step of a stream with a single row."""
        began = time.perf_counter()
        noise = torch.Generator().manual_seed(hash((self.seed, state.steps)) & 0x7FFFFFFF)
        candidates_state = select_rows(domain, state, torch.zeros(self.candidates, dtype=torch.long))
        z, memory = self.backbone.step(domain.observe(candidates_state.domain, goal), candidates_state.memory)
        scale = torch.nn.functional.pad(domain.mobility(), (0, z.shape[1] - len(domain.tree)))
        perturbation = self.spread * torch.randn(z.shape, generator=noise, dtype=torch.float64) * scale
        perturbation[0] = 0.0
        z = z + perturbation.to(z)
        first = domain.decode(z, candidates_state.domain)
        loss = loss_value(domain, first, candidates_state.domain, goal)
        total, future = loss.total, domain.commit(first, candidates_state.domain)
        future_memory = self.backbone.write(memory, z)
        for number in range(1, self.horizon):
            move, future_memory = self.backbone.step(domain.observe(future, goal), future_memory)
            prediction = domain.decode(move, future)
            total = total + self.discount**number * loss_value(domain, prediction, future, goal).total
            future = domain.commit(prediction, future)
        best = torch.where(first.valid, total, torch.inf).argmin()[None]
        committed = domain.select(domain.commit(first, candidates_state.domain), best)
        next_state = state._replace(
            domain=committed,
            memory=take_rows(self.backbone.write(memory, z), best),
            loss=loss.total[best],
            goal=goal,
            steps=state.steps + 1,
        )
        zeros = torch.zeros(1, dtype=torch.long)
        info = StepInfo(
            z=z[best],
            loss_before=loss.total[:1],
            loss_after=loss.total[best],
            terms={name: term[best] for name, term in loss.terms.items()},
            difficulty=loss.total[:1],
            accepted=zeros.bool(),
            inner_steps=zeros,
            radius=state.radius,
            kappa=None,
            factor=None,
            actual=None,
            predicted=None,
            milliseconds=1e3 * (time.perf_counter() - began),
        )
        return next_state, info
