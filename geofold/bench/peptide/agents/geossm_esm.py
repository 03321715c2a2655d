"""GeoSSM with the elastic gate: as `geofold constrain` runs it, K = 0 where the policy does well by itself."""

from __future__ import annotations

from dataclasses import replace

from geofold.bench.peptide.agents.agent import Agent, Choice
from geofold.core.controller import Controller
from geofold.core.gate import Gate, ThresholdGate
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import TOLERANCE, controller, plain_gate, thorough
from geofold.molecule.peptide.domain import PeptideDomain

FULL = 1e-12


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """What ships, its gate the learned one or a threshold of some depth."""
    gates: dict[str, Gate | None] = {
        "learned": None, "plain": plain_gate(), "deep": ThresholdGate(TOLERANCE, first=FULL, largest=4),
    }  # fmt: skip
    usual = controller(RunOptions(seed=seed), domain)
    gate = gates[options["gate"]]
    return replace(usual if gate is None else replace(usual, gate=gate), once=options["once"])


GEOSSM_ESM = Agent(
    "geossm_esm", "policy, pullback metric, K by the gate (ships)", parts,
    tuple({"gate": gate, "once": once} for gate in ("learned", "plain", "deep") for once in (True, False)), thorough,
)  # fmt: skip
