"""SE(3)-Transformer + MPC: planning over three steps with the policy of `se3`."""

from __future__ import annotations

from geofold.bench.peptide.agents.agent import Agent, Options, make_grid
from geofold.bench.peptide.agents.mpc_planner import Planner
from geofold.bench.peptide.agents.se3_transformer import predictor
from geofold.molecule.peptide.domain import PeptideDomain


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Planner:
    """Make a planner on the SE(3)-Transformer."""
    return Planner(predictor(domain, leading=options["leading"]), options["candidates"], options["spread"], seed=seed)


SE3_MPC = Agent(
    "se3_mpc",
    "SE(3)-Transformer, planned with over H = 3",
    make_controller,
    make_grid(spread=(0.05, 0.1, 0.02), leading=(8, 128), candidates=(8,)),
    learned=True,
)
