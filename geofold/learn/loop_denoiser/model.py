"""The loop model: a streaming backbone that reads a loop residue by residue and tells how its torsions have to turn.

Glossary: ``B`` rows, ``T`` steps, ``W = 5`` residues around the cursor, ``K`` components, ``d = 64`` latent.

The backbone writes a latent z at each residue; the decoder reads from it a mixture of von Mises densities for the
increment of each phi and psi around the cursor, and normal densities for the CA distances from the cursor to the
residues around it. Increments come with a precision: that of the mixture's circular variance.
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

WEIGHTS = "loop.safetensors"
LATENT = 64
WINDOW = 2 * HALF_WINDOW + 1
DISTANCE_OFFSETS = (-6, -5, -4, -3, -2, 2, 3, 4, 5, 6)
"""Residues, counted from the cursor, whose CA distances are told."""
COMPONENTS = 3
MAX_KAPPA = 200.0
LEVEL_GRID = 720


class Increments(NamedTuple):
    """Mixtures (..., K) of von Mises densities of increments: logarithms of weights, means, concentrations."""

    weight: Tensor
    mean: Tensor
    kappa: Tensor

    def log_density(self, angle: Tensor) -> Tensor:
        """Log density (...) of increments."""
        each = self.kappa * ((angle[..., None] - self.mean).cos() - 1)
        each = each - torch.special.i0e(self.kappa).log() - math.log(2 * math.pi)
        return torch.logsumexp(self.weight + each, -1)

    def circular_mean(self) -> tuple[Tensor, Tensor]:
        """Mean increment (...) and the length (...) of the mean resultant, 1 where it is certain."""
        share = self.weight.exp() * torch.special.i1e(self.kappa) / torch.special.i0e(self.kappa)
        x, y = (share * self.mean.cos()).sum(-1), (share * self.mean.sin()).sum(-1)
        return torch.atan2(y, x), torch.hypot(x, y).clamp(1e-6, 1 - 1e-6)

    def precision(self) -> Tensor:
        """Inverse circular variance (...), 1 / rad^2."""
        return -0.5 / self.circular_mean()[1].log()

    def level(self, angle: Tensor) -> Tensor:
        """Share (...) of the mixture's mass whose density is higher than an angle's; uniform if all is well.

        An angle lies in the smallest region of probability p where this is at most p.
        """
        grid = torch.arange(LEVEL_GRID, dtype=angle.dtype, device=angle.device) * (2 * math.pi / LEVEL_GRID) - math.pi
        wide = Increments(*(part[..., None, :] for part in self))
        density = wide.log_density(grid)
        higher = density > self.log_density(angle)[..., None]
        share = density.softmax(-1)
        return (share * higher).sum(-1)


class LoopPrediction(NamedTuple):
    """What the decoder reads from a latent: increments (..., W, 2, K), distances (..., 10) as mean and log of sigma."""

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
        Of the backbone.
    temperature : float
        What concentrations are divided by, found on the validation split.
    """

    USUAL = "selective"

    def __init__(
        self, kind: str = USUAL, *, width: int = 96, depth: int = 3, seed: int = 0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.options = {"kind": kind, "width": width, "depth": depth}
        self.temperature = temperature
        self.stream = build_backbone(kind, FEATURE_COUNT, LATENT, width=width, depth=depth, seed=seed)
        with DrawsFrom(seed + 1):
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 2 * LATENT), nn.SiLU(),
                nn.Linear(2 * LATENT, WINDOW * 2 * COMPONENTS * 4 + 2 * len(DISTANCE_OFFSETS)),
            )  # fmt: skip

    def decode(self, z: Tensor) -> LoopPrediction:
        """What a latent (..., d) says."""
        angles, distance, spread = self.decoder(z).split(
            [WINDOW * 2 * COMPONENTS * 4, len(DISTANCE_OFFSETS), len(DISTANCE_OFFSETS)], -1
        )
        weight, x, y, kappa = angles.unflatten(-1, (WINDOW, 2, COMPONENTS, 4)).unbind(-1)
        concentration = MAX_KAPPA * torch.sigmoid(kappa - math.log(MAX_KAPPA / 2)) / self.temperature + 1e-3
        # untrained, everything stays about where it is
        mean = torch.atan2(y, x + 1.0)
        return LoopPrediction(
            Increments(weight.log_softmax(-1), mean, concentration), distance, spread.clamp(-4.0, 4.0)
        )


@cache
def shipped_loop_model() -> tuple[LoopModel, dict[str, Any]]:
    """The loop model that ships, and its card."""
    return load_loop(resources.find(WEIGHTS))


def load_loop(path: str | Path) -> tuple[LoopModel, dict[str, Any]]:
    """Model of a weights file, and its card; see `geofold.learn.training_loop.frozen`."""
    return load_frozen(
        path, lambda card: LoopModel(**card.get("options", {}), temperature=card.get("temperature", 1.0))
    )
