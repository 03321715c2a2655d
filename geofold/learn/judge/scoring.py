"""Scores of the candidates of a loop by the judge, which embeds the environment once for all of them.

Glossary: ``K`` candidates, ``L`` residues of the loop, ``E`` residues of the environment. Lengths in A.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.learn.judge.compiled import compiled_energies, is_compiled
from geofold.learn.judge.encoder import InverseFolding, ResiduePredictions
from geofold.learn.judge.graph import Graph, Sites, build_graph, nearest_neighbours, torsion_features
from geofold.learn.loop_score.features import LoopEnvironment

MAX_BATCH_RESIDUES = 256
"""Residues of candidates per batch; more do not fit into the processor's cache."""


@dataclass(frozen=True, eq=False)
class EmbeddedEnvironment:
    """The embedded environment of a loop.

    Attributes
    ----------
    network : InverseFolding
        The network that embedded it.
    sites : Sites
        Residues of the environment (E).
    letters, states : Tensor, shapes=(E,), (E, H)
        Amino acids and states of these residues.
    anchors : Tensor, shape=(2, 4, 3)
        N, CA, C and O (A) of the residues before and after the loop.
    loop, number : Tensor, shape=(L,)
        Letters of the loop, and positions of its residues along the chain.
    """

    network: InverseFolding
    sites: Sites
    letters: Tensor
    states: Tensor
    anchors: Tensor
    loop: Tensor
    number: Tensor

    def predict(self, candidates: Tensor) -> ResiduePredictions:
        """Predict candidates (K, L, 4, 3) in one batch; the fields have the leading shape (K, L)."""
        count, length = candidates.shape[:2]
        graph = self.graph(candidates)
        predictions = self.network.predict(self.states, self.letters, self.loop.repeat(count), graph)
        return ResiduePredictions(*(part.unflatten(0, (count, length)) for part in predictions))

    def graph(self, candidates: Tensor) -> Graph:
        """Edges into the residues of candidates (K, L, 4, 3), from the environment and from the same candidate."""
        count, length = candidates.shape[:2]
        candidate_sites = Sites.of(candidates.flatten(0, 1), self.number.repeat(count))
        beta, size = candidate_sites.beta.unflatten(0, (count, length)), len(self.letters)
        diagonal = torch.eye(length, dtype=torch.bool, device=beta.device)
        inside = torch.cdist(beta, beta).masked_fill(diagonal, torch.inf)
        outside = torch.cdist(beta, self.sites.beta.expand(count, -1, -1))
        index, present = nearest_neighbours(torch.cat([outside, inside], -1), self.network.neighbours)
        shift = length * torch.arange(count, device=beta.device)[:, None, None]
        index = torch.where(present & (index >= size), index + shift, index).flatten(0, 1)
        before, after = self.anchors[:1].expand(count, 1, 4, 3), self.anchors[1:].expand(count, 1, 4, 3)
        bonded = torch.ones(length + 2, dtype=torch.bool, device=beta.device)
        nodes = torsion_features(torch.cat([before, candidates, after], 1), bonded, bonded)[:, 1:-1].flatten(0, 1)
        return build_graph(
            candidate_sites, self.sites.followed_by(candidate_sites), index, present.flatten(0, 1), nodes
        )

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
        scores = torch.cat([self.predict(part).conditional.log_softmax(-1) for part in self._parts(candidates)])
        return scores.gather(-1, self.loop[:, None].expand(len(candidates), -1, 1))[..., 0]

    @torch.no_grad()
    def energy(self, candidates: Tensor) -> Tensor:
        """Energy (K,) of candidates (K, L, 4, 3), lower for those nearer to the native; see `ranking`."""
        if is_compiled(self.network):
            return compiled_energies(self, candidates.to(self.states))
        return torch.cat([self.predict(part).rank.sum(-1) for part in self._parts(candidates)])

    def _parts(self, candidates: Tensor) -> tuple[Tensor, ...]:
        return candidates.to(self.states).split(max(1, MAX_BATCH_RESIDUES // candidates.shape[1]))


def embed_surroundings(network: InverseFolding, surroundings: LoopEnvironment) -> EmbeddedEnvironment:
    """Embed the environment of a loop; coordinates of the loop in `surroundings` are ignored, its letters are used.

    Parameters
    ----------
    network : InverseFolding
        Trained network, see `geofold.learn.judge.pretrained.load_network`.
    surroundings : LoopEnvironment
        All residues, and which of them are the loop. It is not empty and has a residue on each side.
    """
    like = next(network.parameters())
    last = surroundings.first + surroundings.length
    xyz, number, letters = (
        surroundings.xyz.to(like),
        surroundings.number.to(like.device),
        surroundings.letters.to(like.device),
    )
    outside_loop = torch.ones(len(letters), dtype=torch.bool, device=like.device)
    outside_loop[surroundings.first : last] = False
    bonded = (number.diff() == 1) & outside_loop[1:] & outside_loop[:-1]
    none = bonded.new_zeros(1)
    nodes = torsion_features(xyz, torch.cat([none, bonded]), torch.cat([bonded, none]))[outside_loop]
    sites = Sites.of(xyz[outside_loop], number[outside_loop])
    distance = torch.cdist(sites.beta, sites.beta).fill_diagonal_(torch.inf)
    index, present = nearest_neighbours(distance, network.neighbours)
    states = network.embed_environment(letters[outside_loop], build_graph(sites, sites, index, present, nodes))
    return EmbeddedEnvironment(
        network,
        sites,
        letters[outside_loop],
        states,
        xyz[[surroundings.first - 1, last]],
        letters[surroundings.first : last],
        number[surroundings.first : last],
    )
