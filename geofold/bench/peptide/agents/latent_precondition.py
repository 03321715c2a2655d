"""Latent preconditioning (GeoSSM, Appendix E): G = lambda I + Sigma_z, the covariance of the policy's latents on
training peptides, frozen; no decoder Jacobian."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from geofold.bench.peptide.agents import euclidean_tr, geossm
from geofold.bench.peptide.agents.agent import Agent, Choice, grid
from geofold.core.controller import Controller
from geofold.core.covariance import LatentCovariance
from geofold.core.trust_region import TrustRegion
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller
from geofold.molecule.datasets.peptide_streams import draw_stream
from geofold.molecule.peptide.domain import PeptideDomain

GATHERED, STEPS, SEED = 40, 16, 17
WIDEST = 96
"""Latent dimensions that are gathered: as many as the longest peptide has torsions."""


@cache
def latents() -> Tensor:
    """Latents (t, 96) of the policy with its corrector on streams of training peptides, zero beyond their length."""
    found = []
    for number in range(GATHERED):
        structure, domain, goal, _ = draw_stream(number, SEED)
        parts = controller(RunOptions(), domain)
        state = parts.init(domain, domain.start(structure.xyz))
        for _ in range(STEPS):
            state, info = parts.step(domain, state, goal)
            found.append(torch.nn.functional.pad(info.z[0], (0, WIDEST - len(info.z[0]))))
    return torch.stack(found)


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """G of the gathered latents, scaled so that its mean eigenvalue is one before lambda is added."""
    gathered = latents()[:, : domain.latent_dim]
    gathered = gathered / gathered.square().mean().sqrt()
    metric = LatentCovariance.of(gathered, rank=options["rank"], decay=1.0, damping=options["damping"])
    region = TrustRegion(radius=options["radius"], largest=4 * options["radius"])
    return replace(geossm.predicted(domain, seed), metric=metric, trust_region=region, curved=False)


LATENT_PRECONDITION = Agent(
    "latent_precondition", "policy, frozen covariance of latents as the metric, K = 1", parts,
    grid(radius=(1.0, 3.0, 0.3), damping=(1.0,), rank=(None, 8)), euclidean_tr.thorough,
)  # fmt: skip
