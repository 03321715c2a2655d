"""All stepping agents of the peptide benchmark, in the order of its table."""

from __future__ import annotations

from geofold.bench.peptide.agents.agent import Agent
from geofold.bench.peptide.agents.euclidean_tr import EUCLIDEAN_TR
from geofold.bench.peptide.agents.geossm import GEOSSM
from geofold.bench.peptide.agents.geossm_esm import GEOSSM_ESM
from geofold.bench.peptide.agents.geossm_no_adapt import GEOSSM_NO_ADAPT
from geofold.bench.peptide.agents.greedy_mlp import GREEDY_MLP
from geofold.bench.peptide.agents.latent_precondition import LATENT_PRECONDITION
from geofold.bench.peptide.agents.se3_mpc import SE3_MPC
from geofold.bench.peptide.agents.se3_transformer import SE3

AGENTS: tuple[Agent, ...] = (
    GREEDY_MLP,
    SE3,
    SE3_MPC,
    LATENT_PRECONDITION,
    EUCLIDEAN_TR,
    GEOSSM_NO_ADAPT,
    GEOSSM,
    GEOSSM_ESM,
)
