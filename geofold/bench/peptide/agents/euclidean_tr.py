"""Euclidean trust region: the same policy and corrector without the geometry of the decoder."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents import geossm
from geofold.bench.peptide.agents.agent import Agent, Options, make_grid
from geofold.core.controller import Controller
from geofold.core.metric import EuclideanMetric
from geofold.core.trust_region import TrustRegion
from geofold.molecule.peptide.domain import PeptideDomain


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make the controller, whose corrections are gradient steps within a radius in latent space."""
    region = TrustRegion(radius=options["radius"], largest=options["grown"] * options["radius"])
    return replace(
        geossm.make_policy_controller(domain, seed),
        metric=EuclideanMetric(),
        trust_region=region,
        stiff_directions=False,
    )


def enlarge_region(make_controller: Controller) -> Controller:
    """Double the radius for a stream that has been stuck."""
    region = make_controller.trust_region
    return replace(make_controller, trust_region=replace(region, radius=2 * region.radius, largest=2 * region.largest))


EUCLIDEAN_TR = Agent(
    "euclidean_tr",
    "policy, Euclidean metric, K = 1",
    make_controller,
    make_grid(radius=(1.0, 0.3, 2.0), grown=(4.0, 16.0)),
    enlarge_region,
)
