"""The torsion prior: what phi, psi and omega of a residue may be, given the sequence and the torsions before it.

Glossary: ``T`` residues, ``B`` rows, ``K`` components, ``A`` numbers that tell of the sequence to come.

The sequence is read twice. One selective model reads it from its end and hands each residue what follows; the other
streams from the start, with the torsions so far, and gives a mixture of bivariate von Mises densities for (phi, psi) of
a trans and of a cis residue, and the log-odds of its omega (the one before it) being cis.
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
"""Amino acids, and one for whatever else stands in a chain."""
PREVIOUS_SIZE = 6


class TorsionPrediction(NamedTuple):
    """What the prior says of residues (...): mixtures of (phi, psi) if trans and if cis, log-odds of cis."""

    trans: Mixture
    cis: Mixture
    odds: Tensor


class TorsionPrior(nn.Module):
    """The prior.

    Parameters
    ----------
    kind : str
        Name of the backbone that streams (`geofold.backbone.registry.BACKBONE_NAMES`).
    width, depth : int
        Of the stream; the model of what follows is half as wide and one block deep.
    components : int
        K.
    ahead : int
        A.
    """

    USUAL = "hyena"

    def __init__(
        self, kind: str = USUAL, *, width: int = 64, depth: int = 2, components: int = 8, ahead: int = 32,
        seed: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.options = {"kind": kind, "width": width, "depth": depth, "components": components, "ahead": ahead}
        self.components = components
        self.ahead = build_backbone(kind, ALPHABET_SIZE, ahead, width=max(width // 2, 8), depth=1, seed=seed)
        outputs = 2 * parameter_count(components) + 1
        self.stream = build_backbone(
            kind, ALPHABET_SIZE + ahead + PREVIOUS_SIZE, outputs, width=width, depth=depth, seed=seed + 1
        )

    def context(self, letters: Tensor) -> Tensor:
        """What the stream is told of the sequence (T, B, LETTERS + A) for letters (T, B) int."""
        told = nn.functional.one_hot(letters.long(), ALPHABET_SIZE).to(self.stream.enter.weight)
        follows, _ = self.ahead.scan(told.flip(0), self.ahead.init_state(letters.shape[1]))
        return torch.cat([told, follows.flip(0)], -1)

    def outlook(self, letters: Tensor, torsions: Tensor) -> TorsionPrediction:
        """Of all residues of chains at once: letters (T, B) int, torsions (T, B, 3), NaN where there are none."""
        before = torch.cat([torch.full_like(torsions[:1], torch.nan), torsions[:-1]])
        inputs = torch.cat([self.context(letters), encode_previous(before)], -1)
        return self.read(self.stream.scan(inputs, self.stream.init_state(letters.shape[1]))[0])

    def log_likelihood(self, letters: Tensor, torsions: Tensor) -> tuple[Tensor, Tensor]:
        """Of (phi, psi), and of omega being cis or trans as it is; (T, B) each, zero where an angle is not there."""
        said = self.outlook(letters, torsions)
        angles, omega = torsions[..., :2], torsions[..., 2]
        is_cis = omega.abs() < math.pi / 2
        known = angles.isfinite().all(-1)
        filled = angles.nan_to_num(0.0)
        torsion = log_density(said.trans, filled)
        if bool(is_cis.any()):  # few are: the other density is computed where it counts
            rare = log_density(Mixture(*(part[is_cis] for part in said.cis)), filled[is_cis])
            torsion = torsion.masked_scatter(is_cis, rare)
        turn = nn.functional.logsigmoid(torch.where(is_cis, said.odds, -said.odds))
        return torch.where(known, torsion, 0.0), torch.where(omega.isfinite(), turn, 0.0)

    @torch.no_grad()
    def stream_sample(self, letters: Tensor, noise: np.random.Generator) -> Iterator[Tensor]:
        """Torsions (B, 3) of one residue after the other for letters (T, B), each drawn given those before.

        phi of the first residue, psi of the last and omega of the first mean nothing; they are drawn like the others.
        """
        told, state = self.context(letters), self.stream.init_state(letters.shape[1])
        before = torch.full((letters.shape[1], 3), torch.nan, dtype=told.dtype)
        for here in told:
            z, state = self.stream.step(torch.cat([here, encode_previous(before)], -1), state)
            said = self.read(z)
            cis = torch.as_tensor(noise.random(len(here))) < said.odds.sigmoid().cpu()
            angles = torch.where(cis[:, None], sample(said.cis, noise), sample(said.trans, noise))
            omega = torch.where(cis, 0.0, math.pi).to(angles)
            before = torch.cat([angles, omega[:, None]], -1)
            yield before

    def read(self, outputs: Tensor) -> TorsionPrediction:
        """What outputs (..., O) of the stream say."""
        trans, cis, odds = outputs.split([parameter_count(self.components)] * 2 + [1], -1)
        return TorsionPrediction(mixture_from_outputs(trans), mixture_from_outputs(cis), odds[..., 0] - 6.0)


def encode_previous(torsions: Tensor) -> Tensor:
    """Torsions (..., 3) of the residue before as inputs (..., PAST): circles of phi and psi, whether known, cis."""
    angles, omega = torsions[..., :2], torsions[..., 2:]
    told = angles.isfinite().all(-1, keepdim=True)
    circles = torch.cat([angles.sin(), angles.cos()], -1).nan_to_num(0.0) * told
    return torch.cat([circles, told.to(circles), (omega.abs() < math.pi / 2).to(circles)], -1)


@cache
def shipped_prior() -> tuple[TorsionPrior, dict[str, Any]]:
    """The prior that ships, and its card."""
    return load_prior(resources.find(WEIGHTS))


def load_prior(path: str | Path) -> tuple[TorsionPrior, dict[str, Any]]:
    """Prior of a weights file, and its card; see `geofold.learn.training_loop.frozen`."""
    return load_frozen(path, lambda card: TorsionPrior(**card.get("options", {})))
