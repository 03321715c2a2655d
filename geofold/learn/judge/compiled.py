"""Energies of candidates by the judge as a kernel in C: graph and network in one pass, without gradients.

The graph is that of `geofold.learn.judge.graph`, the network that of `geofold.learn.judge.encoder`. What does not
depend on a candidate is multiplied by the weights beforehand, and centres of a radial basis out of reach are left out.

Glossary: ``K`` candidates of one loop, ``L`` residues, ``E`` residues of the environment. Lengths in A.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.kernels.library import call, usable
from geofold.kernels.structures import Judge
from geofold.learn.judge.encoder import UNKNOWN
from geofold.learn.loop_denoiser.batched_backbone import CB

KERNELS = {torch.float32: "judge_single", torch.float64: "judge_double"}
CHANNELS_MULTIPLE = 16
"""The numbers of channels have to be multiples of this."""
PAIRS, CENTRES, MARGIN = 25, 12, 3
"""Pairs of atoms of an edge, centres of the radial basis, and rows of zeros around them that the kernel needs."""


def is_compiled(network: Any) -> bool:
    """Whether `compiled_energies` serves an `InverseFolding`: not in training, with channels that suit the kernel."""
    weight = network.edge.weight
    fits = all(network.options[name] % CHANNELS_MULTIPLE == 0 for name in ("width", "message"))
    return bool(not network.training and weight.dtype in KERNELS and fits and usable(weight, dtype=weight.dtype))


def compiled_energies(judge: Any, candidates: Tensor) -> Tensor:
    """Energies (K,) of candidates (K, L, 4, 3) by an `EmbeddedEnvironment`, see there."""
    network, sites = judge.network, judge.sites
    letters = network.sent_letter(judge.letters)
    rounds = [*network.loop, network.sequence]
    senders = [judge.states] * len(network.loop) + [judge.states + letters]
    sent = torch.stack([layer.sender(states) for layer, states in zip(rounds, senders, strict=True)])
    options, like = network.options, candidates
    kernel = Judge.of(
        *(len(judge.letters), candidates.shape[1], options["width"], options["message"]),
        *(options["rounds"], options["neighbours"], sites.number.long().contiguous(), judge.number.long().contiguous()),
        torch.tensor(CB, dtype=torch.float64),
        *(part.to(like).contiguous() for part in (sites.atoms, sites.frames, judge.anchors, sent, _weights(judge))),
    )
    shares = candidates.new_empty(candidates.shape[:2])
    call(KERNELS[candidates.dtype], kernel, len(candidates), candidates.contiguous(), shares)
    return shares.sum(-1)


def _weights(judge: Any) -> Tensor:
    """All weights that a candidate needs, in the order in which ``judge.h`` reads them."""
    network = judge.network
    distances, rest = network.edge.weight.T.split([PAIRS * CENTRES, network.edge.in_features - PAIRS * CENTRES])
    padded = torch.nn.functional.pad(distances.unflatten(0, (PAIRS, CENTRES)), (0, 0, MARGIN, MARGIN))
    torsions = network.node.weight.T.unflatten(0, (3, 3))
    start = network.node.bias + network.letter.weight[UNKNOWN] + torsions[:, 2].sum(0)
    parts = [padded, rest, network.offset.weight + network.edge.bias, *_norm(network.edge_norm)]
    parts += [start, torsions[:, :2], *_norm(network.node_norm)]
    for layer in network.loop:
        parts += _round(layer, network.neighbours)
    own = network.letter(judge.loop)
    first, second, third = network.rank_head[0].weight.T.chunk(3)
    parts += [network.sent_letter(judge.loop), *_round(network.sequence, network.neighbours)]
    parts += [network.rank_head[0].bias + own @ third, first, second, network.rank_head[2].weight]
    return torch.cat([part.reshape(-1) for part in [*parts, network.rank_head[2].bias]])


def _round(layer: Any, neighbours: int) -> list[Tensor]:
    """Weights of a `MessageRound`, whose mean over the neighbours is taken by its last matrix."""
    no_bias = torch.zeros_like(layer.receiver.bias)
    return [
        *(layer.receiver.bias, layer.receiver.weight.T, no_bias, layer.sender.weight.T, layer.edge.weight.T),
        *(layer.hidden.bias, layer.hidden.weight.T, layer.message.bias, layer.message.weight.T / neighbours),
        *_norm(layer.first),
        *(layer.update[0].bias, layer.update[0].weight.T, layer.update[2].bias, layer.update[2].weight.T),
        *_norm(layer.second),
    ]


def _norm(layer: Any) -> list[Tensor]:
    return [layer.weight, layer.bias]
