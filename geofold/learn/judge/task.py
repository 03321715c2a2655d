"""Input of the network for crops: graphs of the environment and of the segments.

Glossary: ``R`` residues of all crops; ``E`` of them in the environment, which come first, ``M`` in segments.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.learn.judge.crops import Crops
from geofold.learn.judge.graph import Graph, Sites, build_graph, nearest_neighbours, torsion_features


class Task(NamedTuple):
    """Input of the network.

    Attributes
    ----------
    environment, loops : Graph
        Edges into residues of the environment, and into those of the segments.
    known, sent : Tensor, shapes=(E,), (M,)
        Letters of the environment and of the segments that other residues receive.
    letters : Tensor, shape=(M,)
        Amino acids of the segments, which are to be predicted.
    order : Tensor, shape=(R,)
        Positions of the residues of the environment, then of the segments, in the crops.
    """

    environment: Graph
    loops: Graph
    known: Tensor
    sent: Tensor
    letters: Tensor
    order: Tensor


@torch.no_grad()
def make_task(crops: Crops, neighbours: int) -> Task:
    """Make the input of the network from crops.

    Residues of the environment receive from the environment only; those of segments receive from all.
    """
    device, masked = crops.xyz.device, crops.masked
    order = torch.cat([(~masked).nonzero()[:, 0], masked.nonzero()[:, 0]])
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=device)
    number = torch.cat([torch.arange(size, device=device) for size in crops.sizes])
    sites = Sites.of(crops.xyz, number)
    edges = list[tuple[Tensor, Tensor]]()
    first = 0
    for size in crops.sizes:
        residues = slice(first, first + size)
        distance = torch.cdist(sites.beta[residues], sites.beta[residues]).fill_diagonal_(torch.inf)
        distance.masked_fill_(~masked[residues, None] & masked[None, residues], torch.inf)
        nearest, exists = nearest_neighbours(distance, neighbours)
        edges.append((place[first + nearest].masked_fill(~exists, 0), exists))
        first += size
    index, present = (torch.cat(part) for part in zip(*edges, strict=True))
    bonded = number[1:] == number[:-1] + 1
    none = bonded.new_zeros(1)
    before = torch.cat([none, bonded & (masked[1:] | ~masked[:-1])])
    after = torch.cat([bonded & (masked[:-1] | ~masked[1:]), none])
    nodes = torsion_features(crops.xyz, before, after)
    sorted_sites = Sites(*(part[order] for part in sites))
    split = int((~masked).sum())
    parts = [slice(0, split), slice(split, None)]
    graphs = [
        build_graph(
            Sites(*(part[residues] for part in sorted_sites)),
            sorted_sites,
            index[order][residues],
            present[order][residues],
            nodes[order][residues],
        )
        for residues in parts
    ]
    visible = crops.visible[order]
    return Task(graphs[0], graphs[1], visible[:split], visible[split:], crops.letters[order][split:], order)
