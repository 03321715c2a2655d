"""Scores of the learned potential by a kernel in C: features and networks in one pass, without gradients.

The features are those of `geofold.learn.loop_score.features`, the networks those of `geofold.learn.loop_score.model`.
What does not depend on a candidate (letters, environment, sequence) is multiplied by the weights beforehand, and
neighbours beyond the cutoff are left out.

Glossary: ``K`` candidates of one loop, ``L`` residues, ``N`` residues of the protein, ``C`` channels. Lengths in A.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from geofold.kernels.library import call, usable
from geofold.kernels.structures import Score
from geofold.learn.loop_denoiser.batched_backbone import CB
from geofold.learn.loop_score.features import CENTRES, OFFSETS, RESIDUE_FEATURES, TYPICAL_NEIGHBOURS, LoopEnvironment

KERNELS = {torch.float32: "score_single", torch.float64: "score_double"}
GEOMETRY = 4 * 3 + 9 + 4 * len(CENTRES)
"""Features of a pair that depend on its conformation; those of its separation and of the neighbour follow."""
CHANNELS_MULTIPLE = 16
"""The number of channels has to be a multiple of this."""


def is_compiled(score: Any) -> bool:
    """Whether `compiled_scores` serves a `LoopScore`: it is not being trained, and its weights suit the kernel."""
    weight = score.readers[0].hidden.weight
    fits = weight.dtype in KERNELS and len(weight) % CHANNELS_MULTIPLE == 0
    return bool(not score.training and fits and usable(weight, dtype=weight.dtype))


def compiled_scores(score: Any, candidates: Tensor, around: LoopEnvironment) -> Tensor:
    """Scores (K,) of candidates (K, L, 4, 3) of a loop by a `LoopScore`, see there."""
    networks = list(score.readers)
    weights = torch.stack([_weights(network, candidates, around) for network in networks])
    number, donates = around.number.long().contiguous(), around.donates.long()
    beta = torch.tensor(CB, dtype=torch.float64)
    width, convolutions = score.options["width"], len(networks[0].along)
    kernel = Score.of(
        *(len(number), around.first, candidates.shape[1], width, convolutions, len(networks), weights.shape[1]),
        *(number, donates, beta, around.xyz.to(candidates).contiguous(), weights),
    )
    shares = candidates.new_empty(candidates.shape[:2])
    call(KERNELS[candidates.dtype], kernel, len(candidates), candidates.contiguous(), shares)
    return shares.sum(-1)


def _weights(network: Any, like: Tensor, around: LoopEnvironment) -> Tensor:
    """All that one `ScoreNetwork` needs, in the order in which ``score.h`` reads it."""
    length, width = like.shape[1], network.hidden.out_features
    letters = around.letters[around.first - 1 : around.first + length + 1]
    windows = [letters[k : k + length] for k in range(3)]
    geometry, flags, of_neighbour = network.pair.weight.T.split([GEOMETRY, len(OFFSETS) + 2, 5])
    outside = torch.ones_like(around.letters, dtype=like.dtype)
    outside[around.first : around.first + length] = 0.0
    table = network.yours(around.letters) + outside[:, None] * (around.residue_features.to(like) @ of_neighbour)
    kinds = torch.cat([flags[:-1], torch.zeros_like(flags[:1])])
    read = torch.cat([part(window) for part, window in zip(network.around, windows, strict=True)], -1)
    pooled, sequence, residue = network.enter.weight.T.split([width, read.shape[1], RESIDUE_FEATURES])
    parts = [
        network.pair.bias + network.mine(windows[1]),
        table,
        torch.stack([kinds, kinds + flags[-1]], 1),
        of_neighbour,
        geometry,
        network.hidden.weight.T,
        network.hidden.bias,
        network.enter.bias + read @ sequence,
        pooled / TYPICAL_NEIGHBOURS,
        residue,
    ]
    for layer in network.along:
        parts += [layer.bias, layer.weight.permute(2, 1, 0)]
    return torch.cat([part.reshape(-1) for part in [*parts, network.leave.weight, network.leave.bias]])
