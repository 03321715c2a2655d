"""GeoSSM with the elastic gate, as `geofold constrain` runs it: no correction while the policy makes progress alone."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents.agent import Agent, Options
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import TOLERANCE, controller, fallback_controller, plain_gate
from geofold.molecule.peptide.domain import PeptideDomain

NEVER_ENOUGH = 1e-12
"""Gain that is always exceeded, so that all corrections are spent."""


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make the shipped controller, with the learned gate or a threshold gate."""
    gates: dict[str, Gate | None] = {
        "learned": None,
        "plain": plain_gate(),
        "deep": ThresholdGate(TOLERANCE, first=NEVER_ENOUGH, largest=4),
    }
    shipped = controller(RunOptions(seed=seed), domain)
    gate = gates[options["gate"]]
    return replace(shipped if gate is None else replace(shipped, gate=gate), once=options["once"])


GEOSSM_ESM = Agent(
    "geossm_esm",
    "policy, pullback metric, K by the gate (ships)",
    make_controller,
    tuple({"gate": gate, "once": once} for gate in ("learned", "plain", "deep") for once in (True, False)),
    fallback_controller,
)
