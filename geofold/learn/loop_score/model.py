"""A learned statistical potential: how native-like the backbone of a loop is in its environment.

Each residue of the loop attends to the nearest residues, of the loop and of the rest. A network reads every pair
(distances, orientations, amino acids, burial of the neighbour, torsions of its chain). The sum over pairs, torsions,
hydrogen bonds and burial of the residue itself, and a convolution along the loop give its share of the score. The
inputs are those of pair potentials with orientations (KORP: Lopez-Blanco and Chacon, Bioinformatics 35, 3013, 2019);
the function is learned from native loops and decoys. Side chains are not read, since they are the first thing to be
wrong in a modelled loop.

The score is the mean of several networks trained from different seeds.

Glossary: ``K`` candidates of one loop, ``L`` residues. Lengths in A.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.core.draws import DrawsFrom
from geofold.learn.loop_score.compiled import compiled_scores, is_compiled
from geofold.learn.loop_score.features import (
    PAIR_FEATURES,
    RESIDUE_FEATURES,
    TYPICAL_NEIGHBOURS,
    LoopEnvironment,
    ScoreFeatures,
    featurise,
)
from geofold.learn.torsion_prior.model import ALPHABET_SIZE
from geofold.learn.weights import load_frozen

WEIGHTS = "score.safetensors"
SCORE_BATCH = 16
"""Candidates that are scored at a time: as fast as more of them, with less memory."""
CONVOLUTIONS = 2
"""Convolutions along the loop."""


class ScoreNetwork(nn.Module):
    """One network of the potential; see `LoopScore` for its options."""

    def __init__(self, *, width: int, letters: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.silencing: torch.Generator | None = None
        self.mine, self.yours = (nn.Embedding(ALPHABET_SIZE, width) for _ in range(2))
        self.around = nn.ModuleList(nn.Embedding(ALPHABET_SIZE, letters) for _ in range(3))
        self.pair, self.hidden = nn.Linear(PAIR_FEATURES, width), nn.Linear(width, width)
        self.enter = nn.Linear(width + 3 * letters + RESIDUE_FEATURES, width)
        self.along = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(CONVOLUTIONS))
        self.leave = nn.Linear(width, 1)

    def forward(self, features: ScoreFeatures, letters: Tensor) -> Tensor:
        """Contribution (K, L) of each residue to the score; letters (L + 2,) are those of the loop and its anchors."""
        windows = [letters[k : len(letters) - 2 + k] for k in range(3)]
        h = self.pair(features.pairs) + self.mine(windows[1])[:, None] + self.yours(features.letters)
        h = self._drop(nn.functional.silu(self.hidden(self._drop(nn.functional.silu(h)))))
        pooled = (h * features.near[..., None]).sum(-2) / TYPICAL_NEIGHBOURS
        sequence = torch.cat([table(part) for table, part in zip(self.around, windows, strict=True)], -1)
        inputs = torch.cat([pooled, sequence.expand(len(pooled), -1, -1), features.residues], -1)
        h = self._drop(nn.functional.silu(self.enter(inputs)))
        for layer in self.along:
            h = h + self._drop(nn.functional.silu(layer(h.mT).mT))
        return self.leave(h)[..., 0]

    def _drop(self, h: Tensor) -> Tensor:
        """Drop channels of (..., C) in training, the same ones for all candidates of a loop.

        The other channels must distinguish the candidates. A mask for each pair would take a quarter of the time.
        """
        if not self.training:
            return h
        keep = h.new_empty(h.shape[-1]).bernoulli_(1 - self.dropout, generator=self.silencing)
        return h * keep.div_(1 - self.dropout)


class LoopScore(nn.Module):
    """The potential; lower is more native-like, and only differences between candidates of one loop have a meaning.

    Parameters
    ----------
    width : int
        Channels.
    letters : int
        Size of the embedding of an amino acid.
    dropout : float
        Fraction of the channels that are dropped in training.
    members : int
        Networks whose mean is the score.
    seed : int
        Seed of the initial weights.
    """

    def __init__(
        self, *, width: int = 96, letters: int = 12, dropout: float = 0.15, members: int = 1, seed: int = 0
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "letters": letters, "dropout": dropout, "members": members}
        with DrawsFrom(seed):
            networks = [ScoreNetwork(width=width, letters=letters, dropout=dropout) for _ in range(members)]
            self.readers = nn.ModuleList(networks)

    def silence_by(self, generator: torch.Generator) -> None:
        """Draw the channels that are silent in training from this generator."""
        for reader in self.modules():
            if isinstance(reader, ScoreNetwork):
                reader.silencing = generator

    @classmethod
    def join(cls, scores: Sequence[LoopScore]) -> LoopScore:
        """Join the networks of several potentials to one."""
        networks = [network for score in scores for network in score.readers]
        joint = cls(**scores[0].options | {"members": len(networks)})
        joint.readers = nn.ModuleList(networks)
        return joint.eval().requires_grad_(False)

    def residue_scores(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Contributions (K, L) of residues to the scores of candidates (K, L, 4, 3)."""
        features, length = featurise(candidates, around), candidates.shape[1]
        letters = around.letters[around.first - 1 : around.first + length + 1]
        return torch.stack([network(features, letters) for network in self.readers]).mean(0)

    def forward(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Scores (K,) of candidates (K, L, 4, 3)."""
        return self.residue_scores(candidates, around).sum(-1)

    @torch.no_grad()
    def scores(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Scores (K,) of many candidates (K, L, 4, 3), computed in batches without gradients."""
        like = next(self.parameters())
        if is_compiled(self):
            return compiled_scores(self, candidates.to(like), around)
        return torch.cat([self(part.to(like), around) for part in candidates.split(SCORE_BATCH)])


@cache
def shipped_score() -> tuple[LoopScore, dict[str, Any]]:
    """Potential that ships with the package, and its card."""
    return load_score(resources.find(WEIGHTS))


def load_score(path: str | Path) -> tuple[LoopScore, dict[str, Any]]:
    """Read a potential and its card; see `geofold.learn.weights.load_frozen`."""
    return load_frozen(path, lambda card: LoopScore(**card.get("options", {})))
