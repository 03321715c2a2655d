"""A learned statistical potential: how native the backbone of a loop looks amid what stands around it.

Each residue of the loop looks at the backbones nearest to it, its own loop's and others'. A network reads every pair
(how far apart, how turned towards one another, which amino acids, how buried the other is, how its chain runs); their
sum, the residue's own torsions, hydrogen bonds and burial, and what its neighbours along the loop make of theirs give
its share of the score. What it sees is what pair potentials with orientations see (KORP: Lopez-Blanco and Chacon,
Bioinformatics 35, 3013, 2019); what it makes of it is learned from loops and the wrong turns that might stand in their
place. Side chains are not looked at: where loops are modelled, they are the first thing to be wrong.

Several networks that were trained from different seeds say more than one: their mean is the score.

Glossary: ``K`` candidates of one loop, ``L`` residues, ``N`` residues of everything, ``m`` neighbours, ``F`` features
of a pair, ``O`` of a residue. Lengths in A.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.learn.data.chains import PROLINE
from geofold.learn.loop_denoiser.batched_backbone import phi_psi, pseudo_beta
from geofold.learn.loop_denoiser.features import backbone_frames
from geofold.learn.torsion_prior.model import ALPHABET_SIZE
from geofold.learn.weights import load_frozen

WEIGHTS, RERANKER_WEIGHTS = "score.safetensors", "judge.safetensors"
MAX_NEIGHBOURS = 32
CUTOFF = 14.0
"""A between CB atoms beyond which a residue is not seen."""
CENTRES = torch.arange(2.0, 15.0)
"""A: of the bumps that tell a distance, 1 A wide."""
OFFSETS = (-3, -2, -1, 1, 2, 3)
BURIED = (8.0, 10.0, 14.0)
"""A: within which CB atoms are counted, softly."""
PAIR_FEATURES = 4 * 3 + 9 + 4 * len(CENTRES) + len(OFFSETS) + 2 + 5
RESIDUE_FEATURES = 4 + len(BURIED) + 2
SCORE_BATCH = 64
"""Candidates that are scored at a time."""
ALONG = 2
"""Layers by which residues hear of their neighbours along the loop."""
TYPICAL = 8.0
"""Neighbours that a residue has, about: what sums are divided by."""
AMIDE = 1.01
"""A: from N to H."""
COULOMB, WEAKEST, STRONGEST = 27.9, -0.5, -3.5
"""kcal/mol: of the hydrogen bond's energy (Kabsch and Sander, Biopolymers 22, 2577, 1983), and where it is cut."""


@dataclass(frozen=True)
class LoopEnvironment:
    """A loop's place.

    Attributes
    ----------
    xyz : (N, 4, 3)
        N, CA, C and O of all residues, A; those of the loop are not looked at.
    letters : (N,) int
        See `geofold.learn.torsion_prior.model.ALPHABET_SIZE`.
    number : (N,) int
        Where residues stand along their chains: neighbours by one are bonded; far from any other's in another chain.
    first, length : int
        The loop, which has a residue on each side.
    """

    xyz: Tensor
    letters: Tensor
    number: Tensor
    first: int
    length: int

    @cached_property
    def known(self) -> Tensor:
        """What is known of residues without the loop, (N, 5): how buried they are, sines and cosines of phi and psi
        (zero beside the loop and where a chain ends)."""
        beta, inside = pseudo_beta(self.xyz), slice(self.first, self.first + self.length)
        close = torch.sigmoid(2 * (BURIED[1] - torch.cdist(beta[None], beta[None])[0]))
        close[:, inside] = 0.0
        joined = self.number.diff() == 1
        joined[max(self.first - 1, 0) : self.first + self.length] = False
        known = torch.zeros(len(beta), 4, dtype=beta.dtype, device=beta.device)
        known[1:-1] = _circles(self.xyz[None])[0] * (joined[:-1] & joined[1:])[:, None]
        return torch.cat([(close.sum(-1, keepdim=True) - 1.0) / BURIED[1], known], -1)


class ScoreFeatures(NamedTuple):
    """Pairs (K, L, m, F), letters of the neighbours (K, L, m), who is in reach (K, L, m), residues (K, L, O)."""

    pairs: Tensor
    letters: Tensor
    near: Tensor
    own: Tensor


def featurise(candidates: Tensor, around: LoopEnvironment) -> ScoreFeatures:
    """What residues of candidates (K, L, 4, 3) see."""
    count, length = candidates.shape[:2]
    own = slice(around.first, around.first + length)
    xyz = around.xyz.to(candidates).expand(count, -1, -1, -1).clone()
    xyz[:, own] = candidates
    beta, axes = pseudo_beta(xyz), backbone_frames(xyz)
    at = torch.arange(length, device=xyz.device)
    itself = torch.zeros(length, xyz.shape[1], dtype=torch.bool, device=xyz.device)
    itself[at, around.first + at] = True
    apart = torch.cdist(beta[:, own], beta).masked_fill(itself, torch.inf)
    gap, who = apart.topk(min(MAX_NEIGHBOURS, apart.shape[-1] - 1), largest=False)
    rows = torch.arange(count, device=xyz.device)[:, None, None]

    def here(part: Tensor) -> Tensor:
        return part[:, own, None]

    def there(part: Tensor) -> Tensor:
        return part[rows, who]

    def towards(one: Tensor, other: Tensor, frame: Tensor) -> Tensor:
        """Direction (..., 3) from one to the other in a frame."""
        return (frame @ nn.functional.normalize(other - one, dim=-1)[..., None])[..., 0]

    ca, mine, yours = xyz[:, :, 1], here(axes), there(axes)
    directions = [
        towards(here(ca), there(ca), mine), towards(here(beta), there(beta), mine),
        towards(there(ca), here(ca), yours), towards(there(beta), here(beta), yours),
    ]  # fmt: skip
    nitrogen, oxygen = xyz[:, :, 0], xyz[:, :, 3]
    distances = torch.stack(
        [
            (here(one) - there(two)).norm(dim=-1)
            for one, two in ((ca, ca), (beta, beta), (nitrogen, oxygen), (oxygen, nitrogen))
        ], -1,
    )  # fmt: skip
    bumps = (-(distances[..., None] - CENTRES.to(xyz)).square()).exp().flatten(-2)
    offset = around.number[who] - around.number[around.first + at][:, None]
    inside = (who >= around.first) & (who < around.first + length)
    flags = torch.stack([*(offset == k for k in OFFSETS), offset.abs() > OFFSETS[-1], ~inside], -1).to(xyz)
    turned = _circles(xyz[:, around.first - 1 : own.stop + 1])
    others = around.known.to(xyz).expand(count, -1, -1).clone()
    counts = torch.stack([torch.sigmoid(2 * (reach - apart)).sum(-1) / reach for reach in BURIED], -1)
    others[:, own] = torch.cat([counts[..., 1:2], turned], -1)
    pairs = torch.cat([*directions, (mine @ yours.mT).flatten(-2), bumps, flags, there(others)], -1)
    seen = torch.cat([turned, counts, _hydrogen_bonds(xyz, around)], -1)
    return ScoreFeatures(pairs, around.letters[who], (gap < CUTOFF).to(xyz), seen)


def _circles(xyz: Tensor) -> Tensor:
    """Sines and cosines (K, L, 4) of phi and psi of all residues of stretches (K, L + 2, 4, 3) but the outermost."""
    phi, psi = phi_psi(xyz).unbind(-1)
    return torch.stack([phi.sin(), phi.cos(), psi.sin(), psi.cos()], -1)


def _hydrogen_bonds(xyz: Tensor, around: LoopEnvironment) -> Tensor:
    """The strongest hydrogen bond (K, L, 2) that each residue of the loop gives by its N-H, and takes by its O; 1 is
    as good as it gets."""
    n, ca, c, o = xyz.unbind(2)
    own, number = slice(around.first, around.first + around.length), around.number
    before = torch.cat([c[:, :1], c[:, :-1]], 1)
    away = nn.functional.normalize(n - before, dim=-1) + nn.functional.normalize(n - ca, dim=-1)
    h = n + AMIDE * nn.functional.normalize(away, dim=-1)
    gives = torch.cat([number.new_zeros(1), number.diff()]) == 1
    gives &= around.letters != PROLINE

    def strongest(donors: slice, acceptors: slice, over: int) -> Tensor:
        offset = number[acceptors] - number[donors][:, None]
        parts = [
            1 / torch.cdist(one[:, donors], two[:, acceptors]).clamp_min(0.8)
            for one, two in ((n, o), (h, c), (h, o), (n, c))
        ]  # fmt: skip
        energy = COULOMB * (parts[0] + parts[1] - parts[2] - parts[3])
        allowed = gives[donors][:, None] & (offset != 0) & (offset != -1)
        good = ((energy - WEAKEST) / (STRONGEST - WEAKEST)).clamp(0.0, 1.0) * allowed
        return good.amax(over)

    every = slice(None)
    return torch.stack([strongest(own, every, 2), strongest(every, own, 1)], -1)


class ScoreNetwork(nn.Module):
    """One network of the potential; see `LoopScore` for what it is made with."""

    def __init__(self, *, width: int, letters: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.mine, self.yours = (nn.Embedding(ALPHABET_SIZE, width) for _ in range(2))
        self.around = nn.ModuleList(nn.Embedding(ALPHABET_SIZE, letters) for _ in range(3))
        self.pair, self.hidden = nn.Linear(PAIR_FEATURES, width), nn.Linear(width, width)
        self.enter = nn.Linear(width + 3 * letters + RESIDUE_FEATURES, width)
        self.along = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1) for _ in range(ALONG))
        self.leave = nn.Linear(width, 1)

    def forward(self, seen: ScoreFeatures, letters: Tensor) -> Tensor:
        """Each residue's share (K, L) of the score; letters are those of the loop and of its anchors, (L + 2,)."""
        own = [letters[k : len(letters) - 2 + k] for k in range(3)]
        h = self.pair(seen.pairs) + self.mine(own[1])[:, None] + self.yours(seen.letters)
        h = self._some(nn.functional.silu(self.hidden(self._some(nn.functional.silu(h)))))
        heard = (h * seen.near[..., None]).sum(-2) / TYPICAL
        known = torch.cat([table(part) for table, part in zip(self.around, own, strict=True)], -1)
        told = torch.cat([heard, known.expand(len(heard), -1, -1), seen.own], -1)
        h = self._some(nn.functional.silu(self.enter(told)))
        for layer in self.along:
            h = h + self._some(nn.functional.silu(layer(h.mT).mT))
        return self.leave(h)[..., 0]

    def _some(self, h: Tensor) -> Tensor:
        """In training, without some channels (..., C): the same ones for all candidates of a loop, which are told apart
        by what is left; to draw them for each pair took a quarter of the time."""
        if not self.training:
            return h
        return h * nn.functional.dropout(h.new_ones(h.shape[-1]), self.dropout)


class LoopScore(nn.Module):
    """The potential; lower is more native, and differences between candidates of one loop are what counts.

    Parameters
    ----------
    width, letters : int
        Channels, and numbers that stand for an amino acid.
    dropout : float
        Share of channels that are silent in training.
    members : int
        Networks whose mean is the score.
    """

    def __init__(
        self, *, width: int = 96, letters: int = 12, dropout: float = 0.15, members: int = 1, seed: int = 0
    ) -> None:  # fmt: skip
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "letters": letters, "dropout": dropout, "members": members}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.readers = nn.ModuleList(
                ScoreNetwork(width=width, letters=letters, dropout=dropout) for _ in range(members)
            )  # fmt: skip

    @classmethod
    def together(cls, scores: Sequence[LoopScore]) -> LoopScore:
        """One potential of the networks of several."""
        readers = [reader for score in scores for reader in score.readers]
        joined = cls(**scores[0].options | {"members": len(readers)})
        joined.readers = nn.ModuleList(readers)
        return joined.eval().requires_grad_(False)

    def shares(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Each residue's share (K, L) of the score of candidates (K, L, 4, 3)."""
        seen, length = featurise(candidates, around), candidates.shape[1]
        letters = around.letters[around.first - 1 : around.first + length + 1]
        return torch.stack([reader(seen, letters) for reader in self.readers]).mean(0)

    def forward(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Scores (K,) of candidates (K, L, 4, 3)."""
        return self.shares(candidates, around).sum(-1)

    @torch.no_grad()
    def scores(self, candidates: Tensor, around: LoopEnvironment) -> Tensor:
        """Scores (K,), many candidates a few at a time."""
        like = next(self.parameters())
        return torch.cat([self(part.to(like), around) for part in candidates.split(SCORE_BATCH)])


@cache
def shipped_score() -> tuple[LoopScore, dict[str, Any]]:
    """The potential that ships, and its card."""
    return load_score(resources.find(WEIGHTS))


@cache
def shipped_reranker() -> tuple[LoopScore, dict[str, Any]]:
    """The potential that ranks what searches found, and its card.

    A search finds, among much else, what its own potential wrongly likes; this one has learned from that, and leads no
    search.
    """
    return load_score(resources.find(RERANKER_WEIGHTS))


def load_score(path: str | Path) -> tuple[LoopScore, dict[str, Any]]:
    """Potential of a weights file, and its card; see `geofold.learn.training_loop.frozen`."""
    return load_frozen(path, lambda card: LoopScore(**card.get("options", {})))
