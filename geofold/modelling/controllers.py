"""The parts of the controller that move loops, put together in one place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from geofold.core.backbone import Backbone, HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate
from geofold.core.pullback import Pullback
from geofold.core.state import StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.force_field_stage import relax
from geofold.molecule.loop.domain import LoopDomain, LoopGoal, LoopState
from geofold.molecule.loop.predictor import LoopPredictor

POTENTIAL_WEIGHT = 4.0
"""Of the potential beside clashes and outliers, about as they are weighed where candidates are ranked."""
POLISHING_STEPS = 24
GUIDED_SWEEPS, PREDICTED_SWEEPS = 8, 5
"""Sweeps of a stream that the loop model leads; after the second number it holds still, and corrections settle."""


def loop_controller(domain: LoopDomain, gate: Gate, *, seed: int = 0) -> Controller:
    """Controller of a loop: the loop model predicts where the domain has a `sense`, else nothing moves by itself."""
    backbone: Backbone = HoldStill()
    if domain.sense is not None:
        backbone = LoopPredictor(shipped_loop_model()[0], domain.sense.hinge, fading=PREDICTED_SWEEPS)
    return Controller(
        backbone=backbone, metric=Pullback(), trust_region=TrustRegion(largest=2.0), gate=gate, horizon=1, seed=seed
    )


def guided(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> Iterator[tuple[LoopState, StepInfo, int]]:
    """The steps of a stream that the loop model leads and its gate corrects: state, what happened, at which residue."""
    parts = loop_controller(domain, shipped_gate(), seed=seed)
    run = parts.init(domain, state)
    for _ in range(GUIDED_SWEEPS * domain.length):
        cursor = run.domain.cursor
        run, info = parts.step(domain, run, domain.goal)
        yield run.domain, info, cursor


def polished(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> LoopState:
    """Where natural steps of the whole loop lead, down its potential and around clashes and outliers; for a domain that
    has a `potential`."""
    goal = LoopGoal(floor=1.0, potential=POTENTIAL_WEIGHT)
    domain = replace(domain, sense=None, goal=goal)
    way = relax(
        loop_controller(domain, FixedGate(1), seed=seed), domain, domain.resume(state), goal, steps=POLISHING_STEPS,
        radius=TrustRegion().radius,
    )  # fmt: skip
    return deque(way, maxlen=1).pop()[0].domain
