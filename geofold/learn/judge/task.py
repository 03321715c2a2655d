"""Crops as the network is given them: graphs of the environment and of the segments.

Glossary: ``R`` residues of all crops; ``E`` of them in the environment, which come first, ``M`` in segments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.learn.judge.crops import Crops
from geofold.learn.judge.graph import Graph, Sites, connect, nearest, torsion_features


class Task(NamedTuple):
    """What the network is given.

    Attributes
    ----------
    environment, loops : Graph
        Edges into residues of the environment, and into those of the segments.
    known, sent : Tensor, shapes=(E,), (M,)
        Letters of the environment and of the segments that others see.
    letters : Tensor, shape=(M,)
        Amino acids of the segments, which are to be predicted.
    order : Tensor, shape=(R,)
        Where the residues of the environment, then of the segments, stood in the crops.
    """

    environment: Graph
    loops: Graph
    known: Tensor
    sent: Tensor
    letters: Tensor
    order: Tensor


@torch.no_grad()
def task_of(crops: Crops, neighbours: int) -> Task:
    """Graphs of crops.

    Residues of the environment receive from the environment only; those of segments receive from all.
    """
    device, masked = crops.xyz.device, crops.masked
    order = torch.cat([(~masked).nonzero()[:, 0], masked.nonzero()[:, 0]])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=device)
    number = torch.cat([torch.arange(size, device=device) for size in crops.sizes])
    sites = Sites.of(crops.xyz, number)
    found = list[tuple[Tensor, Tensor]]()
    first = 0
    for size in crops.sizes:
        own = slice(first, first + size)
        apart = torch.cdist(sites.beta[own], sites.beta[own]).fill_diagonal_(torch.inf)
        apart.masked_fill_(~masked[own, None] & masked[None, own], torch.inf)
        near, there = nearest(apart, neighbours)
        found.append((place[first + near].masked_fill(~there, 0), there))
        first += size
    index, present = (torch.cat(part) for part in zip(*found, strict=True))
    bonded = number[1:] == number[:-1] + 1
    none = bonded.new_zeros(1)
    before = torch.cat([none, bonded & (masked[1:] | ~masked[:-1])])
    after = torch.cat([bonded & (masked[:-1] | ~masked[1:]), none])
    nodes = torsion_features(crops.xyz, before, after)
    sorted_sites = Sites(*(part[order] for part in sites))
    split = int((~masked).sum())
    parts = [slice(0, split), slice(split, None)]
    graphs = [
        connect(Sites(*(part[own] for part in sorted_sites)), sorted_sites, index[order][own], present[order][own],
                nodes[order][own]) for own in parts
    ]  # fmt: skip
    shown = crops.shown[order]
    return Task(graphs[0], graphs[1], shown[:split], shown[split:], crops.letters[order][split:], order)
