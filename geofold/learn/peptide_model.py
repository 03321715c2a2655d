"""The peptide policy: a streaming backbone at each residue that tells where its phi and psi have to go.

Residues stream side by side, each with a memory of its own, so one policy serves peptides of any length.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from geofold.backbone.zoo import build
from geofold.learn.loop_model import LATENT, SHARPEST, Increments
from geofold.learn.peptide_sight import FEATURES

COMPONENTS = 3


class PeptidePolicy(nn.Module):
    """Backbone and decoder.

    Parameters
    ----------
    kind, width, depth
        Of the backbone (`geofold.backbone.zoo.NAMES`).
    temperature : float
        What concentrations are divided by, found on held-out peptides.
    """

    USUAL = "selective"

    def __init__(
        self, kind: str = USUAL, *, width: int = 96, depth: int = 2, seed: int = 0, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.options = {"kind": kind, "width": width, "depth": depth}
        self.temperature = temperature
        self.stream = build(kind, FEATURES, LATENT, width=width, depth=depth, seed=seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            self.decoder = nn.Sequential(
                nn.Linear(LATENT, 2 * LATENT), nn.SiLU(), nn.Linear(2 * LATENT, 2 * COMPONENTS * 4)
            )

    def decode(self, z: Tensor) -> Increments:
        """Increments (..., 2) of phi and psi that a latent (..., d) tells, as mixtures."""
        weight, x, y, kappa = self.decoder(z).unflatten(-1, (2, COMPONENTS, 4)).unbind(-1)
        concentration = SHARPEST * torch.sigmoid(kappa - math.log(SHARPEST / 2)) / self.temperature + 1e-3
        return Increments(weight.log_softmax(-1), torch.atan2(y, x + 1.0), concentration)
