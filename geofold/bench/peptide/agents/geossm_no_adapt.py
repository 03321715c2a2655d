"""GeoSSM without adaptation: the metric of the first step of a stream is kept."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents import geossm
from geofold.bench.peptide.agents.agent import Agent, Choice
from geofold.core.controller import Controller
from geofold.core.pullback import Pullback
from geofold.modelling.peptide.streaming import thorough
from geofold.molecule.peptide.domain import PeptideDomain


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """Those of GeoSSM, the metric frozen after its first look."""
    usual = geossm.parts(domain, seed, options)
    return replace(usual, metric=Pullback(damping=options["damping"], decay=0.9, adapt=False))


GEOSSM_NO_ADAPT = Agent(
    "geossm_no_adapt", "the same, its metric frozen after the first step", parts, geossm.GEOSSM.trials, thorough,
)  # fmt: skip
