"""The loop model: a streaming backbone that reads a loop residue by residue and predicts how its torsions must turn.

The backbone writes a latent z at each residue. The decoder reads from it a mixture of von Mises densities for the
increment of each phi and psi around the cursor, and normal densities for the CA distances from the cursor to the
residues around it. The precision of an increment is that of the mixture's circular variance.

Glossary: ``B`` rows, ``T`` steps, ``W = 5`` residues around the cursor, ``K`` components, ``d = 64`` latent.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.backbone.registry import build_backbone
from geofold.core.draws import DrawsFrom
from geofold.learn.loop_denoiser.features import FEATURE_COUNT, HALF_WINDOW
from geofold.learn.weights import load_frozen

WEIGHTS, LATENT_WEIGHTS = "loop.safetensors", "loop_latent.safetensors"
"""Weights of the model that predicts increments, and of the one that knows of corrections of its own latent."""
TRAINED_LENGTHS = (5, 16)
"""Shortest and longest loop in training."""
LATENT = 64
WINDOW = 2 * HALF_WINDOW + 1
DISTANCE_OFFSETS = (-6, -5, -4, -3, -2, 2, 3, 4, 5, 6)
"""Residues, counted from the cursor, whose CA distances are predicted."""
COMPONENTS = 3
MAX_KAPPA = 200.0
LEVEL_GRID = 720


class Increments(NamedTuple):
    """Mixtures of von Mises densities of increments: logarithms of weights, means, concentrations, (..., K) each."""

    weight: Tensor
    mean: Tensor
    kappa: Tensor

    def log_density(self, angle: Tensor) -> Tensor:
        """Log density (...) of increments (...)."""
        exponent = self.kappa * ((angle[..., None] - self.mean).cos() - 1)
        exponent = exponent - torch.special.i0e(self.kappa).log() - math.log(2 * math.pi)
        return torch.logsumexp(self.weight + exponent, -1)

    def circular_mean(self) -> tuple[Tensor, Tensor]:
        """Mean increment (...) and length (...) of the mean resultant, 1 for a certain one."""
        share = self.weight.exp() * torch.special.i1e(self.kappa) / torch.special.i0e(self.kappa)
        x, y = (share * self.mean.cos()).sum(-1), (share * self.mean.sin()).sum(-1)
        return torch.atan2(y, x), torch.hypot(x, y).clamp(1e-6, 1 - 1e-6)

    def precision(self) -> Tensor:
        """Inverse circular variance (...), 1 / rad^2."""
        return -0.5 / self.circular_mean()[1].log()

    def level(self, angle: Tensor) -> Tensor:
        """Probability mass (...) of higher density than an increment (...); uniform for a calibrated model.

        An increment is in the smallest region of probability p if its level is at most p.
        """
        grid = torch.arange(LEVEL_GRID, dtype=angle.dtype, device=angle.device) * (2 * math.pi / LEVEL_GRID) - math.pi
        density = Increments(*(part[..., None, :] for part in self)).log_density(grid)
        higher = density > self.log_density(angle)[..., None]
        return (density.softmax(-1) * higher).sum(-1)


class LoopPrediction(NamedTuple):
    """Decoded latent: increments (..., W, 2, K), and distances (..., 10) as mean (A) and log of the deviation."""

    increments: Increments
    distance: Tensor
    spread: Tensor


class LoopModel(nn.Module):
    """Backbone and decoder.

    Parameters
    ----------
    kind : str
        Name of the backbone (`geofold.backbone.registry.BACKBONE_NAMES`).
    width, depth : int
        Channels and blocks of the backbone.
    seed : int
        Seed of the initial weights.
    temperature : float
        Divisor of concentrations, fitted on the validation split.
    """

    USUAL = "selective"

    def __init__(
        self, kind: str = USUAL, *, width: int = 96, depth: int = 3, seed: int = 0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.options = {"kind": kind, "width": width, "depth": depth}
        self.temperature = temperature
        self.stream = build_backbone(kind, FEATURE_COUNT, LATENT, width=width, depth=depth, seed=seed)
        outputs = WINDOW * 2 * COMPONENTS * 4 + 2 * len(DISTANCE_OFFSETS)
        with DrawsFrom(seed + 1):
            self.decoder = nn.Sequential(nn.Linear(LATENT, 2 * LATENT), nn.SiLU(), nn.Linear(2 * LATENT, outputs))

    def decode(self, z: Tensor) -> LoopPrediction:
        """Decode latents (..., d)."""
        distances = len(DISTANCE_OFFSETS)
        angles, distance, spread = self.decoder(z).split([WINDOW * 2 * COMPONENTS * 4, distances, distances], -1)
        weight, x, y, kappa = angles.unflatten(-1, (WINDOW, 2, COMPONENTS, 4)).unbind(-1)
        concentration = MAX_KAPPA * torch.sigmoid(kappa - math.log(MAX_KAPPA / 2)) / self.temperature + 1e-3
        # an untrained model predicts increments near zero
        mean = torch.atan2(y, x + 1.0)
        increments = Increments(weight.log_softmax(-1), mean, concentration)
        return LoopPrediction(increments, distance, spread.clamp(-4.0, 4.0))


@cache
def shipped_loop_model() -> tuple[LoopModel, dict[str, Any]]:
    """Loop model that ships with the package, and its card."""
    return load_loop(resources.find(WEIGHTS))


@cache
def shipped_latent_model() -> tuple[LoopModel, dict[str, Any]]:
    """Loop model that was trained further on corrections of its own latent, and its card."""
    return load_loop(resources.find(LATENT_WEIGHTS))


def load_loop(path: str | Path) -> tuple[LoopModel, dict[str, Any]]:
    """Read a loop model and its card; see `geofold.learn.weights.load_frozen`."""

    def build_model(card: dict[str, Any]) -> LoopModel:
        return LoopModel(**card.get("options", {}), temperature=card.get("temperature", 1.0))

    return load_frozen(path, build_model)
