"""The torsion prior: distribution of phi, psi and omega of a residue, given the sequence and the torsions before it.

The sequence is read twice. One model reads it from its end and hands each residue a summary of what follows; the other
streams from the start, with the torsions so far, and predicts a mixture of bivariate von Mises densities of (phi, psi)
for a trans and for a cis residue, and the log-odds of its omega (that of the bond before it) being cis.

Glossary: ``T`` residues, ``B`` rows, ``K`` components, ``A`` channels of the summary.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from geofold import resources
from geofold.backbone.registry import build_backbone
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.von_mises import Mixture, log_density, mixture_from_outputs, parameter_count, sample
from geofold.learn.weights import load_frozen

WEIGHTS = "prior.safetensors"
ALPHABET_SIZE = len(AMINO_ACIDS) + 1
"""Amino acids, and one letter for all other residues."""
PREVIOUS_SIZE = 6
CIS_BIAS = 6.0
"""Subtracted from the log-odds of cis, so that an untrained model predicts few cis bonds."""


class TorsionPrediction(NamedTuple):
    """Predictions for residues (...): mixtures of (phi, psi) if trans and if cis, and log-odds of cis."""

    trans: Mixture
    cis: Mixture
    odds: Tensor


class TorsionPrior(nn.Module):
    """The prior.

    Parameters
    ----------
    kind : str
        Name of the backbone (`geofold.backbone.registry.BACKBONE_NAMES`).
    width, depth : int
        Channels and blocks of the stream; the model of what follows is half as wide and one block deep.
    components : int
        Components K of a mixture.
    ahead : int
        Channels A of the summary of what follows.
    seed : int
        Seed of the initial weights.
    """

    USUAL = "hyena"

    def __init__(
        self,
        kind: str = USUAL,
        *,
        width: int = 64,
        depth: int = 2,
        components: int = 8,
        ahead: int = 32,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.options = {"kind": kind, "width": width, "depth": depth, "components": components, "ahead": ahead}
        self.components = components
        self.ahead = build_backbone(kind, ALPHABET_SIZE, ahead, width=max(width // 2, 8), depth=1, seed=seed)
        inputs, outputs = ALPHABET_SIZE + ahead + PREVIOUS_SIZE, 2 * parameter_count(components) + 1
        self.stream = build_backbone(kind, inputs, outputs, width=width, depth=depth, seed=seed + 1)

    def context(self, letters: Tensor) -> Tensor:
        """Return the encoded sequence and summary of what follows (T, B, ALPHABET_SIZE + A), for letters (T, B) int."""
        sequence = nn.functional.one_hot(letters.long(), ALPHABET_SIZE).to(self.stream.enter.weight)
        summary, _ = self.ahead.scan(sequence.flip(0), self.ahead.init_state(letters.shape[1]))
        return torch.cat([sequence, summary.flip(0)], -1)

    def predict(self, letters: Tensor, torsions: Tensor) -> TorsionPrediction:
        """Predict all residues of chains at once: letters (T, B) int, torsions (T, B, 3), NaN for missing ones."""
        before = torch.cat([torch.full_like(torsions[:1], torch.nan), torsions[:-1]])
        inputs = torch.cat([self.context(letters), encode_previous(before)], -1)
        return self.read(self.stream.scan(inputs, self.stream.init_state(letters.shape[1]))[0])

    def log_likelihood(self, letters: Tensor, torsions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihoods (nat) of (phi, psi) and of omega being cis or trans.

        Parameters
        ----------
        letters : (T, B) int
            Amino acids.
        torsions : (T, B, 3)
            phi, psi and omega (radian), NaN for missing ones.

        Returns
        -------
        (T, B), (T, B)
            Zero for missing angles.
        """
        prediction = self.predict(letters, torsions)
        angles, omega = torsions[..., :2], torsions[..., 2]
        is_cis = omega.abs() < math.pi / 2
        known = angles.isfinite().all(-1)
        filled = angles.nan_to_num(0.0)
        torsion = log_density(prediction.trans, filled)
        if bool(is_cis.any()):  # few residues are: the other density is computed for these only
            cis = Mixture(*(part[is_cis] for part in prediction.cis))
            torsion = torsion.masked_scatter(is_cis, log_density(cis, filled[is_cis]))
        isomer = nn.functional.logsigmoid(torch.where(is_cis, prediction.odds, -prediction.odds))
        return torch.where(known, torsion, 0.0), torch.where(omega.isfinite(), isomer, 0.0)

    @torch.no_grad()
    def stream_sample(self, letters: Tensor, noise: np.random.Generator) -> Iterator[Tensor]:
        """Sample torsions (B, 3) of one residue after the other for letters (T, B), each given those before it.

        phi and omega of the first residue and psi of the last have no meaning; they are sampled like the others.
        """
        context, state = self.context(letters), self.stream.init_state(letters.shape[1])
        torsions = torch.full((letters.shape[1], 3), torch.nan, dtype=context.dtype)
        for inputs in context:
            z, state = self.stream.step(torch.cat([inputs, encode_previous(torsions)], -1), state)
            prediction = self.read(z)
            cis = torch.as_tensor(noise.random(len(inputs))) < prediction.odds.sigmoid().cpu()
            angles = torch.where(cis[:, None], sample(prediction.cis, noise), sample(prediction.trans, noise))
            omega = torch.where(cis, 0.0, math.pi).to(angles)
            torsions = torch.cat([angles, omega[:, None]], -1)
            yield torsions

    def read(self, outputs: Tensor) -> TorsionPrediction:
        """Convert outputs (..., O) of the stream to predictions."""
        trans, cis, odds = outputs.split([parameter_count(self.components)] * 2 + [1], -1)
        return TorsionPrediction(mixture_from_outputs(trans), mixture_from_outputs(cis), odds[..., 0] - CIS_BIAS)


def encode_previous(torsions: Tensor) -> Tensor:
    """Encode torsions (..., 3) of the residue before as (..., PREVIOUS_SIZE): sines and cosines, known, cis."""
    angles, omega = torsions[..., :2], torsions[..., 2:]
    known = angles.isfinite().all(-1, keepdim=True)
    circles = torch.cat([angles.sin(), angles.cos()], -1).nan_to_num(0.0) * known
    return torch.cat([circles, known.to(circles), (omega.abs() < math.pi / 2).to(circles)], -1)


@cache
def shipped_prior() -> tuple[TorsionPrior, dict[str, Any]]:
    """Prior that ships with the package, and its card."""
    return load_prior(resources.find(WEIGHTS))


def load_prior(path: str | Path) -> tuple[TorsionPrior, dict[str, Any]]:
    """Read a prior and its card; see `geofold.learn.weights.load_frozen`."""
    return load_frozen(path, lambda card: TorsionPrior(**card.get("options", {})))
