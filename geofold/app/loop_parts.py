"""The parts of the controller that move loops, put together in one place."""

from __future__ import annotations

from geofold.core.backbone import Backbone, HoldStill
from geofold.core.controller import Controller
from geofold.core.gate import Gate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_training import shipped_loop_model
from geofold.molecule.loop import LoopDomain
from geofold.molecule.loop_sense import LoopPredictor

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
