"""GeoSSM: the frozen policy predicts, one natural step in the pullback metric corrects at every step (Algorithm 1)."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents.agent import Agent, Options, make_grid
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import TOLERANCE, controller, fallback_controller
from geofold.molecule.peptide.domain import PeptideDomain


def make_policy_controller(domain: PeptideDomain, seed: int) -> Controller:
    """Return the shipped controller with a gate that allows one correction at each unconverged step."""
    return controller(RunOptions(seed=seed), domain, ThresholdGate(TOLERANCE, largest=1))


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make the controller with the damping and the initial radius of the options."""
    region = TrustRegion(radius=options["radius"], largest=4 * options["radius"])
    metric = Pullback(damping=options["damping"], decay=0.9)
    return replace(make_policy_controller(domain, seed), metric=metric, trust_region=region)


GEOSSM = Agent(
    "geossm",
    "policy, pullback metric, K = 1",
    make_controller,
    make_grid(damping=(30.0, 10.0, 100.0), radius=(1.0, 2.0)),
    fallback_controller,
)
