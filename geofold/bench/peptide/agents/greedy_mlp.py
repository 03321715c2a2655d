"""A rival of the peptide policy: a greedy torsion MLP, every residue by itself and every step anew.

It sees what the peptide policy sees at a residue (itself and its neighbours, the wanted contacts, its last moves), but
hears no other residue and remembers nothing. Decoder, lessons and loss are the policy's, and it has about as many
parameters.

Glossary: ``L`` residues, ``F`` features, ``h`` channels, ``d`` of the latent.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.bench.peptide.agents.agent import Agent, Choice, grid
from geofold.bench.peptide.agents.memoryless import Memoryless
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric
from geofold.core.trust_region import TrustRegion
from geofold.learn.loop_denoiser.model import LATENT, Increments
from geofold.learn.peptide_policy.features import FEATURE_COUNT
from geofold.learn.peptide_policy.model import Decoder
from geofold.learn.weights import load_frozen
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.predictor import PeptidePredictor

WEIGHTS = "greedy_mlp.safetensors"
TRIALS = grid(leading=(8, 16, 128), keep=(0.5, 0.0))
"""For how many steps it leads, and how much of its last move goes on afterwards."""


class GreedyMlp(nn.Module):
    """Features of a residue to its latent; stands where `geofold.learn.peptide_policy.model.PeptidePolicy` does.

    Parameters
    ----------
    width, depth
        Channels h, and layers that have them.
    temperature : float
        What concentrations are divided by, found on held-out peptides.
    """

    def __init__(self, *, width: int = 256, depth: int = 3, seed: int = 0, temperature: float = 1.0) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "depth": depth}
        self.temperature = temperature
        self.stream = Memoryless()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.enter = nn.Linear(FEATURE_COUNT, width)
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
            self.leave = nn.Linear(width, LATENT)
            self.decoder = Decoder()

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Latents (..., L, d) of features (..., L, F); poses are not looked at."""
        h = nn.functional.silu(self.enter(features))
        for layer in self.layers:
            h = nn.functional.silu(layer(h))
        return self.leave(h)

    def decode(self, z: Tensor) -> Increments:
        """Increments (..., 4) of phi, psi, chi1 and chi2 that a latent (..., d) tells, as mixtures."""
        return self.decoder.increments(z, self.temperature)


def led(predictor: PeptidePredictor, seed: int) -> Controller:
    """A controller that never corrects: what is predicted is done, within the cap."""
    return Controller(predictor, EuclideanMetric(), TrustRegion(), FixedGate(0), horizon=1, seed=seed)


@cache
def trained() -> GreedyMlp:
    """With the weights of `geofold bench rivals`."""
    return load_frozen(
        resources.find("rivals", WEIGHTS), lambda card: GreedyMlp(**card["options"], temperature=card["temperature"])
    )[0]


def parts(domain: PeptideDomain, seed: int, options: Choice) -> Controller:
    """Its moves as they are."""
    assert domain.sense is not None
    return led(PeptidePredictor(trained(), domain.sense.turns, name="greedy-mlp", **options), seed)


GREEDY_MLP = Agent("greedy_mlp", "MLP of each residue, no correction", parts, TRIALS, learned=True)
