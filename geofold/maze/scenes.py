"""Batches of scenes: goals for each row, and replacement of some scenes of a domain.

Glossary: ``S`` scenes, ``B`` rows, ``n`` cells along a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geofold.maze.domain import MazeDomain
from geofold.maze.worlds.coarse_map import CoarseMap
from geofold.maze.worlds.fields import Fields
from geofold.maze.worlds.layouts import CELLS


@dataclass(frozen=True, eq=False)
class BatchGoal:
    """Goals of a batch: the counters of `MazeGoal` for each row, (B,) each."""

    target: Tensor
    ground: Tensor

    def differs(self, before: BatchGoal) -> Tensor:
        """Rows (B,) bool whose target or barriers have changed."""
        return (self.target != before.target) | (self.ground != before.ground)

    def of(self, rows: Tensor) -> BatchGoal:
        """Goals whose row k is row rows[k] of these goals."""
        return BatchGoal(self.target[rows], self.ground[rows])


def replace_scenes(domain: MazeDomain, places: Sequence[int], replacement: MazeDomain) -> MazeDomain:
    """Domain in which some scenes are replaced by those of anreplacement domain.

    Parameters
    ----------
    domain : MazeDomain
    places : sequence of int
        Numbers of the scenes that are replaced.
    replacement : MazeDomain
        Domain with the new scenes, in the order of `places`. They may differ in barriers and targets, not in the
        ground.

    Returns
    -------
    MazeDomain
    """
    if len(places) == len(domain.targets):
        return replacement
    where = torch.as_tensor(places)
    atlas = _replace_rows(
        domain.fields.atlas.unflatten(2, (-1, CELLS)), where, replacement.fields.atlas.unflatten(2, (-1, CELLS)), 2
    )
    count = max(domain.coarse_map.route.shape[1], replacement.coarse_map.route.shape[1])
    old, new = (_pad_routes(part.coarse_map.route, count) for part in (domain, replacement))
    coarse_map = CoarseMap(
        _replace_rows(domain.coarse_map.part, where, replacement.coarse_map.part), _replace_rows(old, where, new)
    )
    return replace(
        domain,
        fields=Fields(domain.fields.relief, atlas.flatten(2, 3)),
        coarse_map=coarse_map,
        targets=_replace_rows(domain.targets, where, replacement.targets),
    )


def _replace_rows(values: Tensor, where: Tensor, replacement: Tensor, dim: int = 0) -> Tensor:
    return values.index_copy(dim, where, replacement)


def _pad_routes(route: Tensor, count: int) -> Tensor:
    """Pad routes (S, p, r, 2) to `count` parts; the padding is never used."""
    return torch.nn.functional.pad(route, (0, 0, 0, 0, 0, count - route.shape[1]))
