"""Candidates of a loop, read by the judge: the environment once, then only the loop's residues for each.

Glossary: ``K`` candidates, ``L`` residues of the loop, ``E`` residues of the environment. Lengths in A.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.learn.judge.encoder import InverseFolding, Reading
from geofold.learn.judge.graph import Graph, Sites, connect, nearest, torsion_features
from geofold.learn.loop_score.features import LoopEnvironment

ROWS = 256
"""Residues of candidates that are read at a time; more no longer fit a processor's cache."""


@dataclass(frozen=True, eq=False)
class Environment:
    """A loop's environment, embedded.

    Attributes
    ----------
    network : InverseFolding
        The network that embedded it.
    sites : Sites
        Residues of the environment (E).
    letters, states : Tensor, shapes=(E,), (E, H)
        Their amino acids, and what the network made of them.
    anchors : Tensor, shape=(2, 4, 3)
        N, CA, C and O (A) of the residues before and after the loop.
    loop, number : Tensor, shape=(L,)
        Letters of the loop, and where its residues stand along the chain.
    """

    network: InverseFolding
    sites: Sites
    letters: Tensor
    states: Tensor
    anchors: Tensor
    loop: Tensor
    number: Tensor

    def read(self, candidates: Tensor) -> Reading:
        """Read candidates (K, L, 4, 3) in one batch; the fields get a leading shape (K, L)."""
        count, length = candidates.shape[:2]
        graph = self.graph(candidates)
        reading = self.network.read(self.states, self.letters, self.loop.repeat(count), graph)
        return Reading(*(part.unflatten(0, (count, length)) for part in reading))

    def graph(self, candidates: Tensor) -> Graph:
        """Edges into the residues of candidates (K, L, 4, 3), from the environment and from the same candidate."""
        count, length = candidates.shape[:2]
        own = Sites.of(candidates.flatten(0, 1), self.number.repeat(count))
        beta, size = own.beta.unflatten(0, (count, length)), len(self.letters)
        itself = torch.eye(length, dtype=torch.bool, device=beta.device)
        inside = torch.cdist(beta, beta).masked_fill(itself, torch.inf)
        outside = torch.cdist(beta, self.sites.beta.expand(count, -1, -1))
        index, present = nearest(torch.cat([outside, inside], -1), self.network.neighbours)
        shift = length * torch.arange(count, device=beta.device)[:, None, None]
        index = torch.where(present & (index >= size), index + shift, index).flatten(0, 1)
        before, after = self.anchors[:1].expand(count, 1, 4, 3), self.anchors[1:].expand(count, 1, 4, 3)
        bonded = torch.ones(length + 2, dtype=torch.bool, device=beta.device)
        nodes = torsion_features(torch.cat([before, candidates, after], 1), bonded, bonded)[:, 1:-1].flatten(0, 1)
        return connect(own, self.sites.joined(own), index, present.flatten(0, 1), nodes)

    @torch.no_grad()
    def score(self, candidates: Tensor) -> Tensor:
        """Log-likelihood of each residue's amino acid, given a candidate's backbone and all other amino acids.

        Parameters
        ----------
        candidates : Tensor, shape=(K, L, 4, 3)
            N, CA, C and O (A).

        Returns
        -------
        Tensor, shape=(K, L)
            In nat; their sum over the loop is its pseudo-log-likelihood.
        """
        scores = torch.cat([self.read(part).conditional.log_softmax(-1) for part in self._parts(candidates)])
        return scores.gather(-1, self.loop[:, None].expand(len(candidates), -1, 1))[..., 0]

    @torch.no_grad()
    def energy(self, candidates: Tensor) -> Tensor:
        """Energy (K,) of candidates (K, L, 4, 3), lower for those nearer to the native; see `ranking`."""
        return torch.cat([self.read(part).rank.sum(-1) for part in self._parts(candidates)])

    def _parts(self, candidates: Tensor) -> tuple[Tensor, ...]:
        return candidates.to(self.states).split(max(1, ROWS // candidates.shape[1]))


def embed(network: InverseFolding, around: LoopEnvironment) -> Environment:
    """Embed the environment of a loop; its residues in `around` are not looked at, their letters are.

    Parameters
    ----------
    network : InverseFolding
        See `geofold.learn.judge.pretrained.load_network`.
    around : Surroundings
        All residues, and which of them are the loop. Its length may not be zero, and it has a residue on each side.
    """
    like = next(network.parameters())
    last = around.first + around.length
    xyz, number, letters = around.xyz.to(like), around.number.to(like.device), around.letters.to(like.device)
    rest = torch.ones(len(letters), dtype=torch.bool, device=like.device)
    rest[around.first : last] = False
    bonded = (number.diff() == 1) & rest[1:] & rest[:-1]
    none = bonded.new_zeros(1)
    nodes = torsion_features(xyz, torch.cat([none, bonded]), torch.cat([bonded, none]))[rest]
    sites = Sites.of(xyz[rest], number[rest])
    apart = torch.cdist(sites.beta, sites.beta).fill_diagonal_(torch.inf)
    index, present = nearest(apart, network.neighbours)
    states = network.embed_environment(letters[rest], connect(sites, sites, index, present, nodes))
    return Environment(
        network, sites, letters[rest], states, xyz[[around.first - 1, last]], letters[around.first : last],
        number[around.first : last],
    )  # fmt: skip
