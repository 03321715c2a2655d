"""Latent preconditioning (GeoSSM, Appendix E).

G = lambda I + Sigma_z, with the frozen covariance of the policy's latents on training peptides; no decoder Jacobian.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from geofold.bench.peptide.agents import euclidean_tr, geossm
from geofold.bench.peptide.agents.agent import Agent, Options, make_grid
from geofold.core.controller import Controller
from geofold.core.covariance import LatentCovariance
from geofold.core.trust_region import TrustRegion
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller
from geofold.molecule.datasets.peptide_streams import draw_stream
from geofold.molecule.peptide.domain import PeptideDomain

PEPTIDES, STEPS_PER_PEPTIDE, SEED = 40, 16, 17
MAX_LATENT = 96
"""Latent dimensions of the covariance: the number of torsions of the longest peptide."""


@cache
def collect_latents() -> Tensor:
    """Collect latents (t, 96) of the shipped controller on training peptides, padded with zeros."""
    rows = []
    for number in range(PEPTIDES):
        structure, domain, goal, _ = draw_stream(number, SEED)
        make_controller = controller(RunOptions(), domain)
        state = make_controller.init(domain, domain.start(structure.xyz))
        for _ in range(STEPS_PER_PEPTIDE):
            state, info = make_controller.step(domain, state, goal)
            rows.append(torch.nn.functional.pad(info.z[0], (0, MAX_LATENT - len(info.z[0]))))
    return torch.stack(rows)


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make the controller; the covariance is scaled to a mean eigenvalue of one before lambda is added."""
    latents = collect_latents()[:, : domain.latent_dim]
    latents = latents / latents.square().mean().sqrt()
    metric = LatentCovariance.of(latents, rank=options["rank"], decay=1.0, damping=options["damping"])
    region = TrustRegion(radius=options["radius"], largest=4 * options["radius"])
    return replace(
        geossm.make_policy_controller(domain, seed), metric=metric, trust_region=region, stiff_directions=False
    )


LATENT_PRECONDITION = Agent(
    "latent_precondition",
    "policy, frozen covariance of latents as the metric, K = 1",
    make_controller,
    make_grid(radius=(1.0, 3.0, 0.3), damping=(1.0,), rank=(None, 8)),
    euclidean_tr.enlarge_region,
)
