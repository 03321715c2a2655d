"""GeoSSM: the frozen policy predicts, one natural step in the pullback metric corrects at every step (Algorithm 1)."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents.agent import Agent, Choice, grid
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import TOLERANCE, controller, thorough
from geofold.molecule.peptide.domain import PeptideDomain


def predicted(domain: PeptideDomain, seed: int) -> Controller:
    """The parts that ship, their gate one correction wherever the structure is not content."""
    return controller(RunOptions(seed=seed), domain, ThresholdGate(TOLERANCE, largest=1))


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """With the options' damping, first radius and number of tries."""
    region = TrustRegion(radius=options["radius"], largest=4 * options["radius"])
    metric = Pullback(damping=options["damping"], decay=0.9)
    return replace(predicted(domain, seed), metric=metric, trust_region=region)


GEOSSM = Agent(
    "geossm", "policy, pullback metric, K = 1", parts, grid(damping=(30.0, 10.0, 100.0), radius=(1.0, 2.0)), thorough,
)  # fmt: skip
