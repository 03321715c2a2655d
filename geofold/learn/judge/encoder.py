"""Inverse folding of loops: the amino acids of a loop from its backbone and its environment.

Messages go from environment to environment, without the loop, and from environment and loop to the loop. The states
of the environment therefore do not depend on the loop's backbone, and are shared by all candidates.

The states of the environment include its amino acids. Those of the loop are predicted in two steps:
`ResiduePredictions.structure` depends on the structure alone. One more round of messages then carries the amino acids
of the neighbours, including those in the loop. No state before it depends on any amino acid of the loop, so
`ResiduePredictions.conditional` of a residue depends on all amino acids except its own, and the log-likelihoods of
all residues (the pseudo-log-likelihood) take a single pass.

Glossary: ``E`` residues of the environment, ``M`` residues of loops, ``N = E + M``, ``k`` neighbours, ``H``
channels of residues, ``D`` of edges.
The design follows ProteinMPNN (Dauparas et al., Science 378:49, 2022).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from geofold.core.draws import DrawsFrom
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.judge.graph import FEATURES, NODE_FEATURES, OFFSETS, Graph
from geofold.learn.torsion_prior.model import ALPHABET_SIZE

UNKNOWN = ALPHABET_SIZE - 1
"""Letter of a residue that is hidden or none of the twenty amino acids."""


class ResiduePredictions(NamedTuple):
    """Predictions for the residues of loops.

    Attributes
    ----------
    structure : Tensor, shape=(M, 20)
        Logits given the backbone of the loop and its environment.
    conditional : Tensor, shape=(M, 20)
        Logits given the amino acids of the loop's other residues too.
    rank : Tensor, shape=(M,)
        Contribution of each residue to the ranking score, given its own amino acid; arbitrary before its training.
    """

    structure: Tensor
    conditional: Tensor
    rank: Tensor


class MessageRound(nn.Module):
    """One round of messages along the edges of a graph, and a feed-forward update.

    Parameters
    ----------
    width, message : int
        Channels ``H`` of residues, and ``D`` of edges and messages.
    """

    def __init__(self, width: int, message: int) -> None:
        super().__init__()
        self.receiver, self.edge = nn.Linear(width, message), nn.Linear(message, message, bias=False)
        self.sender = nn.Linear(width, message, bias=False)
        self.hidden, self.message = nn.Linear(message, message), nn.Linear(message, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.update = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, states: Tensor, senders: Tensor, edges: Tensor, graph: Graph) -> Tensor:
        """Return new states (M, H) of the receivers.

        Parameters
        ----------
        states : Tensor, shape=(M, H)
            States of the receivers.
        senders : Tensor, shape=(N, H)
            States that `graph.neighbours` points into.
        edges : Tensor, shape=(M, k, D)
            Embedded edges.
        graph : Graph
            Edges from senders to receivers.
        """
        sent = nn.functional.embedding(graph.neighbours, self.sender(senders))
        message = nn.functional.silu(self.edge(edges) + sent + self.receiver(states)[:, None])
        message = nn.functional.silu(self.hidden(message))
        total = (message * graph.present[..., None]).sum(-2) / graph.present.shape[-1]
        states = self.first(states + self.message(total))
        updated: Tensor = self.second(states + self.update(states))
        return updated


class InverseFolding(nn.Module):
    """The inverse-folding network.

    Parameters
    ----------
    width, message : int
        Channels ``H`` of residues, and ``D`` of edges and messages, which cost most.
    rounds : int
        Rounds of messages in the environment, and as many in the loop before the one with amino acids.
    neighbours : int
        Number ``k`` of neighbours.
    seed : int
        Seed of the initial weights.
    """

    def __init__(
        self, *, width: int = 128, message: int = 64, rounds: int = 3, neighbours: int = 32, seed: int = 0
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "message": message, "rounds": rounds, "neighbours": neighbours}
        self.neighbours = neighbours
        with DrawsFrom(seed):
            self.letter, self.sent_letter = nn.Embedding(ALPHABET_SIZE, width), nn.Embedding(ALPHABET_SIZE, width)
            self.node, self.node_norm = nn.Linear(NODE_FEATURES, width), nn.LayerNorm(width)
            self.edge, self.edge_norm = nn.Linear(FEATURES, message), nn.LayerNorm(message)
            self.offset = nn.Embedding(OFFSETS, message)
            self.environment = nn.ModuleList(MessageRound(width, message) for _ in range(rounds))
            self.loop = nn.ModuleList(MessageRound(width, message) for _ in range(rounds))
            self.sequence = MessageRound(width, message)
            self.structure_head = nn.Linear(width, len(AMINO_ACIDS))
            self.conditional_head = nn.Linear(width, len(AMINO_ACIDS))
            self.rank_head = nn.Sequential(nn.Linear(3 * width, width), nn.SiLU(), nn.Linear(width, 1))

    def embed_edges(self, graph: Graph) -> Tensor:
        """Edges (M, k, D) of a graph."""
        embedded: Tensor = self.edge_norm(self.edge(graph.edges) + self.offset(graph.offsets))
        return embedded

    def embed_environment(self, letters: Tensor, graph: Graph) -> Tensor:
        """States (E, H) of the environment, whose letters (E,) are known."""
        states, edges = self.node_norm(self.node(graph.nodes) + self.letter(letters)), self.embed_edges(graph)
        for layer in self.environment:
            states = layer(states, states, edges, graph)
        return states

    def predict(self, environment: Tensor, known: Tensor, letters: Tensor, graph: Graph) -> ResiduePredictions:
        """Predict the residues of loops.

        Parameters
        ----------
        environment : Tensor, shape=(E, H)
            States of the environment, see `embed_environment`.
        known : Tensor, shape=(E,)
            Letters of the environment.
        letters : Tensor, shape=(M,)
            Letters of the loops, as the other residues receive them.
        graph : Graph
            Edges into the residues of the loops from the environment followed by the residues of the loops.
        """
        unknown = self.letter.weight[UNKNOWN]
        states, edges = self.node_norm(self.node(graph.nodes) + unknown), self.embed_edges(graph)
        for layer in self.loop:
            states = layer(states, torch.cat([environment, states]), edges, graph)
        senders = torch.cat([environment, states]) + self.sent_letter(torch.cat([known, letters]))
        final = self.sequence(states, senders, edges, graph)
        own = torch.cat([states, final, self.letter(letters)], -1)
        return ResiduePredictions(
            self.structure_head(states), self.conditional_head(final), self.rank_head(own)[..., 0]
        )
