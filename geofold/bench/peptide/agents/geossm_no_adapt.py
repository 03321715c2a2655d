"""GeoSSM without adaptation: the metric of the first step of a stream is kept."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents import geossm
from geofold.bench.peptide.agents.agent import Agent, Options
from geofold.core.controller import Controller
from geofold.core.pullback import Pullback
from geofold.modelling.peptide.streaming import fallback_controller
from geofold.molecule.peptide.domain import PeptideDomain


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make the GeoSSM controller with a metric that is frozen after the first step."""
    shipped = geossm.make_controller(domain, seed, options)
    return replace(shipped, metric=Pullback(damping=options["damping"], decay=0.9, adapt=False))


GEOSSM_NO_ADAPT = Agent(
    "geossm_no_adapt",
    "the same, its metric frozen after the first step",
    make_controller,
    geossm.GEOSSM.trials,
    fallback_controller,
)
