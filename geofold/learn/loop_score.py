"""A learned statistical potential: how native the backbone of a loop looks amid what stands around it.

Each residue of the loop looks at the backbones nearest to it, its own loop's and others'. A network reads every pair
(how far apart, how turned towards one another, which amino acids), their sum and the residue's own torsions give its
share of the score. What it sees is what pair potentials with orientations see (KORP: Lopez-Blanco and Chacon,
Bioinformatics 35, 3013, 2019); what it makes of it is learned from loops and the wrong turns that might stand in their
place. Side chains are not looked at: where loops are modelled, they are the first thing to be wrong.

Glossary: ``K`` candidates of one loop, ``L`` residues, ``N`` residues of everything, ``m`` neighbours, ``F`` features.
Lengths in A.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geofold import resources
from geofold.learn.loop_pieces import dihedral, pseudo_beta
from geofold.learn.loop_sight import frames
from geofold.learn.prior import LETTERS
from geofold.learn.training import frozen

WEIGHTS = "score.safetensors"
NEIGHBOURS = 32
REACH = 14.0
"""A between CB atoms beyond which a residue is not seen."""
CENTRES = torch.arange(2.0, 15.0)
"""A: of the bumps that tell a distance, 1 A wide."""
OFFSETS = (-3, -2, -1, 1, 2, 3)
FEATURES = 4 * 3 + 9 + 4 * len(CENTRES) + len(OFFSETS) + 2
ROWS = 64
"""Candidates that are scored at a time."""
TYPICAL = 8.0
"""Neighbours that a residue has, about: what sums are divided by."""


@dataclass(frozen=True)
class Surroundings:
    """A loop's place.

    Attributes
    ----------
    xyz : (N, 4, 3)
        N, CA, C and O of all residues, A; those of the loop are not looked at.
    letters : (N,) int
        See `geofold.learn.prior.LETTERS`.
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


class Sight(NamedTuple):
    """Pairs (K, L, m, F), letters of the neighbours (K, L, m), who is in reach (K, L, m), circles (K, L, 4) of phi
    and psi."""

    pairs: Tensor
    letters: Tensor
    near: Tensor
    circles: Tensor


def look(candidates: Tensor, around: Surroundings) -> Sight:
    """What residues of candidates (K, L, 4, 3) see."""
    count, length = candidates.shape[:2]
    own = slice(around.first, around.first + length)
    xyz = around.xyz.to(candidates).expand(count, -1, -1, -1).clone()
    xyz[:, own] = candidates
    beta, axes = pseudo_beta(xyz), frames(xyz)
    apart = torch.cdist(beta[:, own], beta)
    at = torch.arange(length, device=xyz.device)
    apart[:, at, around.first + at] = torch.inf
    gap, who = apart.topk(min(NEIGHBOURS, apart.shape[-1] - 1), largest=False)
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
    pairs = torch.cat([*directions, (mine @ yours.mT).flatten(-2), bumps, flags], -1)
    return Sight(pairs, around.letters[who], (gap < REACH).to(xyz), _circles(xyz, own))


def _circles(xyz: Tensor, own: slice) -> Tensor:
    """Sines and cosines (K, L, 4) of phi and psi."""
    n, ca, c = (xyz[:, own, k] for k in range(3))
    before, after = xyz[:, own.start - 1 : own.stop - 1, 2], xyz[:, own.start + 1 : own.stop + 1, 0]
    phi, psi = dihedral(before, n, ca, c), dihedral(n, ca, c, after)
    return torch.stack([phi.sin(), phi.cos(), psi.sin(), psi.cos()], -1)


class LoopScore(nn.Module):
    """The potential; lower is more native, and differences between candidates of one loop are what counts.

    Parameters
    ----------
    width, letters : int
        Channels, and numbers that stand for an amino acid.
    dropout : float
        Share of channels that are silent in training.
    """

    def __init__(self, *, width: int = 64, letters: int = 12, dropout: float = 0.2, seed: int = 0) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "letters": letters, "dropout": dropout}
        self.silent = nn.Dropout(dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mine, self.yours = (nn.Embedding(LETTERS, width) for _ in range(2))
            self.around = nn.ModuleList(nn.Embedding(LETTERS, letters) for _ in range(3))
            self.pair, self.hidden = nn.Linear(FEATURES, width), nn.Linear(width, width)
            self.residue = nn.Sequential(
                nn.Linear(width + 3 * letters + 4, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width),
                nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, 1),
            )  # fmt: skip

    def shares(self, candidates: Tensor, around: Surroundings) -> Tensor:
        """Each residue's share (K, L) of the score of candidates (K, L, 4, 3)."""
        seen, length = look(candidates, around), candidates.shape[1]
        own = [around.letters[around.first + k : around.first + k + length] for k in (-1, 0, 1)]
        h = self.pair(seen.pairs) + self.mine(own[1])[:, None] + self.yours(seen.letters)
        h = self.silent(nn.functional.silu(self.hidden(self.silent(nn.functional.silu(h)))))
        heard = (h * seen.near[..., None]).sum(-2) / TYPICAL
        known = torch.cat([table(letters) for table, letters in zip(self.around, own, strict=True)], -1)
        told = torch.cat([heard, known.expand(len(candidates), -1, -1), seen.circles], -1)
        return self.residue(told)[..., 0]

    def forward(self, candidates: Tensor, around: Surroundings) -> Tensor:
        """Scores (K,) of candidates (K, L, 4, 3)."""
        return self.shares(candidates, around).sum(-1)

    @torch.no_grad()
    def scores(self, candidates: Tensor, around: Surroundings) -> Tensor:
        """Scores (K,), many candidates a few at a time."""
        like = self.pair.weight
        return torch.cat([self(part.to(like), around) for part in candidates.split(ROWS)])


@cache
def shipped_score() -> tuple[LoopScore, dict[str, Any]]:
    """The potential that ships, and its card."""
    return load_score(resources.find(WEIGHTS))


def load_score(path: str | Path) -> tuple[LoopScore, dict[str, Any]]:
    """Potential of a weights file, and its card; see `geofold.learn.training.frozen`."""
    return frozen(path, lambda card: LoopScore(**card.get("options", {})))
