"""Controllers of loops: predictor, metric, trust region and gate of each stage, in one place."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from geofold.core.backbone import Backbone, NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate, ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.state import StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.force_field_stage import run_force_field
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.predictor import LoopPredictor
from geofold.molecule.loop.state import LoopGoal, LoopState

TOLERANCE = 0.05
"""Loss around the cursor below which the gate of the refinement makes no correction."""
POTENTIAL_WEIGHT = 4.0
"""Weight of the learned potential against clashes and outliers in a minimisation, about as in `scoring`."""
MINIMISATION_STEPS = 24
GUIDED_SWEEPS, PREDICTED_SWEEPS = 8, 5
"""Sweeps of a guided stream, and after how many of them the loop model stops predicting and only corrections act."""


def controller_of(backbone: Backbone, gate: Gate, *, seed: int = 0) -> Controller:
    """Return the controller of loops with a predictor and a gate; metric and trust region are those of all loops."""
    return Controller(
        backbone=backbone, metric=Pullback(), trust_region=TrustRegion(largest=2.0), gate=gate, horizon=1, seed=seed
    )


def refinement_controller(seed: int) -> Controller:
    """Return the controller that refines a loop: no predictor, up to two corrections a step."""
    return controller_of(NoMotion(), ThresholdGate(TOLERANCE, largest=2), seed=seed)


def loop_controller(domain: LoopDomain, gate: Gate, *, seed: int = 0) -> Controller:
    """Return the controller of a loop: the loop model predicts if the domain has its features, else nothing does."""
    backbone: Backbone = NoMotion()
    if domain.features is not None:
        backbone = LoopPredictor(shipped_loop_model()[0], domain.features.torsion_index, max_sweeps=PREDICTED_SWEEPS)
    return controller_of(backbone, gate, seed=seed)


def run_guided(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> Iterator[tuple[LoopState, StepInfo, int]]:
    """Run a stream in which the loop model predicts and its gate corrects: state, diagnostics, residue."""
    parts = loop_controller(domain, shipped_gate(), seed=seed)
    run = parts.init(domain, state)
    for _ in range(GUIDED_SWEEPS * domain.length):
        cursor = run.domain.cursor
        run, info = parts.step(domain, run, domain.goal)
        yield run.domain, info, cursor


def minimise(domain: LoopDomain, state: LoopState, *, seed: int = 0) -> LoopState:
    """State after natural steps of the whole loop down its learned potential, clashes and outliers.

    Parameters
    ----------
    domain : LoopDomain
        With a `potential`.
    state : LoopState
    seed : int
    """
    goal = LoopGoal(floor=1.0, potential=POTENTIAL_WEIGHT, density=POTENTIAL_WEIGHT * domain.goal.density)
    domain = replace(domain, features=None, goal=goal)
    steps = run_force_field(
        loop_controller(domain, FixedGate(1), seed=seed),
        domain,
        domain.resume(state),
        goal,
        steps=MINIMISATION_STEPS,
        radius=TrustRegion().radius,
    )
    return deque(steps, maxlen=1).pop()[0].domain
