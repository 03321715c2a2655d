"""Scenes side by side: goals that differ by row, and a domain some of whose scenes are new.

Glossary: ``S`` scenes, ``B`` rows, ``n`` cells along a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from geofold.maze.coarse_map import CoarseMap
from geofold.maze.domain import MazeDomain
from geofold.maze.fields import Fields
from geofold.maze.layouts import CELLS


@dataclass(frozen=True, eq=False)
class BatchGoal:
    """What `MazeGoal` counts, row by row: targets and grounds so far, (B,) each."""

    target: Tensor
    ground: Tensor

    def differs(self, before: BatchGoal) -> Tensor:
        """Rows (B,) with another target or other barriers."""
        return (self.target != before.target) | (self.ground != before.ground)

    def of(self, rows: Tensor) -> BatchGoal:
        """Those of some rows."""
        return BatchGoal(self.target[rows], self.ground[rows])


def replace_scenes(domain: MazeDomain, places: Sequence[int], other: MazeDomain) -> MazeDomain:
    """The domain with its scenes `places` as they are in another domain, in that one's order.

    Their ground is the same; barriers and targets may be others.
    """
    if len(places) == len(domain.targets):
        return other
    where = torch.as_tensor(places)
    atlas = _put(domain.fields.atlas.unflatten(2, (-1, CELLS)), where, other.fields.atlas.unflatten(2, (-1, CELLS)), 2)
    most = max(domain.coarse_map.route.shape[1], other.coarse_map.route.shape[1])
    here, there = (_wide(one.coarse_map.route, most) for one in (domain, other))
    coarse_map = CoarseMap(_put(domain.coarse_map.part, where, other.coarse_map.part), _put(here, where, there))
    return replace(
        domain,
        fields=Fields(domain.fields.relief, atlas.flatten(2, 3)),
        coarse_map=coarse_map,
        targets=_put(domain.targets, where, other.targets),
    )


def _put(whole: Tensor, where: Tensor, part: Tensor, dim: int = 0) -> Tensor:
    return whole.index_copy(dim, where, part)


def _wide(route: Tensor, most: int) -> Tensor:
    """Routes (S, p, r, 2) of so many parts; those that are added are never asked for."""
    return torch.nn.functional.pad(route, (0, 0, 0, 0, 0, most - route.shape[1]))
