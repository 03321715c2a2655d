"""A rival of the peptide policy: a greedy torsion MLP for each residue and step separately.

Its input are the features of the peptide policy at a residue (the residue and its neighbours, requested contacts, last
moves); it has no attention to other residues and no memory. Decoder, demonstrations and loss are those of the policy,
and it has about as many parameters.

Glossary: ``L`` residues, ``F`` features, ``h`` channels, ``d`` of the latent.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor, nn

from geofold import resources
from geofold.bench.peptide.agents.agent import Agent, Options, make_grid
from geofold.bench.peptide.agents.memoryless import Memoryless
from geofold.core.controller import Controller
from geofold.core.draws import DrawsFrom
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
LEADING_TRIALS = make_grid(leading=(8, 16, 128), keep=(0.5, 0.0))
"""Trials: number of steps with predictions, and momentum after them."""


class GreedyMlp(nn.Module):
    """Maps features of a residue to its latent; replaces `geofold.learn.peptide_policy.model.PeptidePolicy`.

    Parameters
    ----------
    width, depth
        Number of channels h and of hidden layers.
    temperature : float
        Divisor of the concentrations, fitted on held-out peptides.
    """

    def __init__(self, *, width: int = 256, depth: int = 3, seed: int = 0, temperature: float = 1.0) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "depth": depth}
        self.temperature = temperature
        self.stream = Memoryless()
        with DrawsFrom(seed + 1):
            self.enter = nn.Linear(FEATURE_COUNT, width)
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth - 1))
            self.leave = nn.Linear(width, LATENT)
            self.decoder = Decoder()

    def embed(self, features: Tensor, pose: Tensor) -> Tensor:
        """Latents (..., L, d) of features (..., L, F); poses are ignored."""
        h = nn.functional.silu(self.enter(features))
        for layer in self.layers:
            h = nn.functional.silu(layer(h))
        return self.leave(h)

    def decode(self, z: Tensor) -> Increments:
        """Decode a latent (..., d) to mixtures of the increments (..., 4) of phi, psi, chi1 and chi2."""
        return self.decoder.increments(z, self.temperature)


def make_uncorrected(predictor: PeptidePredictor, seed: int) -> Controller:
    """Make a controller that carries out predictions, within the cap, without corrections."""
    return Controller(predictor, EuclideanMetric(), TrustRegion(), FixedGate(0), horizon=1, seed=seed)


@cache
def load_policy() -> GreedyMlp:
    """Load the weights of `geofold bench rivals`."""
    return load_frozen(
        resources.find("rivals", WEIGHTS), lambda card: GreedyMlp(**card["options"], temperature=card["temperature"])
    )[0]


def make_controller(domain: PeptideDomain, seed: int, options: Options) -> Controller:
    """Make a controller with its uncorrected moves."""
    assert domain.features is not None
    return make_uncorrected(
        PeptidePredictor(load_policy(), domain.features.torsion_index, name="greedy-mlp", **options), seed
    )


GREEDY_MLP = Agent("greedy_mlp", "MLP of each residue, no correction", make_controller, LEADING_TRIALS, learned=True)
