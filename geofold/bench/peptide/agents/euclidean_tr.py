"""Euclidean trust region: the same policy and corrector, the decoder's geometry left out."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents import geossm
from geofold.bench.peptide.agents.agent import Agent, Choice, grid
from geofold.core.controller import Controller
from geofold.core.metric import EuclideanMetric
from geofold.core.trust_region import TrustRegion
from geofold.molecule.peptide.domain import PeptideDomain


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """Gradient steps within a radius of latent length."""
    region = TrustRegion(radius=options["radius"], largest=options["grown"] * options["radius"])
    parts = geossm.predicted(domain, seed)
    return replace(parts, metric=EuclideanMetric(), trust_region=region, stiff_directions=False)


def thorough(parts: Controller) -> Controller:
    """Twice the radius for a stream that has been stuck."""
    region = parts.trust_region
    return replace(parts, trust_region=replace(region, radius=2 * region.radius, largest=2 * region.largest))


EUCLIDEAN_TR = Agent(
    "euclidean_tr", "policy, Euclidean metric, K = 1", parts, grid(radius=(1.0, 0.3, 2.0), grown=(4.0, 16.0)), thorough,
)  # fmt: skip
