"""Coarse map of a world, by which an agent finds the next visible waypoint of a route to its target.

Glossary: ``S`` scenes; ``n`` cells along a side; ``p`` parts of squares; ``r`` positions of a route; ``B`` rows.

The map divides the world into squares of 6 x 6 cells. For each connected part of the free ground in a square it holds
one position and the adjacent parts. It holds no heights, shapes or true lengths, so its routes are not the shortest
paths of the oracle. An agent heads for the furthest position on the route from its own part that no barrier hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from geofold.maze.worlds.fields import Fields
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.world import World

SQUARES = 16
"""Squares along a side of the world."""
ROUTE_LENGTH = 6
"""Number of positions on a route among which the waypoint is chosen."""
SIGHT_SAMPLES = 24
"""Number of points on a line of sight that are tested for barriers."""
SIGHT_CLEARANCE = 0.5 / CELLS
"""Clearance (sides) of a line of sight from barriers: half a cell."""


@dataclass(frozen=True, eq=False)
class CoarseMap:
    """Coarse maps of S scenes.

    Attributes
    ----------
    part : (S, n, n) int
        Number of the part that a cell belongs to; for a barrier cell, the nearest part.
    route : (S, p, r, 2)
        Position of each part and the next positions of its route, which ends at the target.
    """

    part: Tensor
    route: Tensor

    @classmethod
    def of(
        cls, worlds: list[World], targets: np.ndarray, squares: int = SQUARES, ahead: int = ROUTE_LENGTH
    ) -> CoarseMap:
        """Coarse maps of scenes.

        Parameters
        ----------
        worlds : list of World
            World of each scene, in its current state.
        targets : (S, 2)
        squares : int
            Squares along a side.
        ahead : int
            Number of positions on a route among which the waypoint is chosen.
        """
        maps = [_draw_map(world, *at, squares, ahead) for world, at in zip(worlds, targets.tolist(), strict=True)]
        longest = max(len(route) for _, route in maps)
        routes = [np.pad(route, ((0, longest - len(route)), (0, 0), (0, 0))) for _, route in maps]
        return cls(torch.as_tensor(np.stack([part for part, _ in maps])), torch.as_tensor(np.stack(routes)))

    def waypoints(self, position: Tensor, scene: Tensor, fields: Fields) -> Tensor:
        """Waypoint from positions (B, 2), and the one after it, (B, 2, 2).

        The waypoint is the furthest visible position of the route, or that of the own part if none is visible.
        """
        cell = (position * CELLS).long().clamp(0, CELLS - 1)
        route = self.route[scene, self.part[scene, cell[:, 1], cell[:, 0]]]
        offset = route[:, :-1] - position[:, None]
        share = torch.linspace(0, 1, SIGHT_SAMPLES + 1, dtype=offset.dtype, device=offset.device)[1:, None]
        samples = position[:, None, None] + share * offset[:, :, None]
        gap = fields.distance(samples.flatten(1, 2), scene).unflatten(1, samples.shape[1:3])
        visible = (gap > SIGHT_CLEARANCE).all(-1)
        number = torch.arange(visible.shape[1], device=visible.device)
        furthest = torch.where(visible, number, 0).amax(-1)
        row = torch.arange(len(route), device=visible.device)[:, None]
        return route[row, torch.stack([furthest, furthest + 1], -1)]


@lru_cache(maxsize=512)
def _draw_map(world: World, x: float, y: float, squares: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts (n, n) and routes (p, r, 2) of one scene, cached for all agents in that scene."""
    part, target = _label_parts(world.barriers, squares), np.array([x, y])
    count = int(part.max()) + 1
    flat = part.ravel()
    cells = np.stack([np.arange(CELLS**2) % CELLS, np.arange(CELLS**2) // CELLS], -1)
    inside = flat >= 0
    total = np.stack([np.bincount(flat[inside], cells[inside, k], count) for k in (0, 1)], -1)
    middle = total / np.bincount(flat[inside], minlength=count)[:, None]
    # The centroid of a concave part may lie outside of it, so its nearest cell is used.
    far = np.where(inside, ((cells - middle[np.clip(flat, 0, None)]) ** 2).sum(-1), np.inf)
    order = np.lexsort((far, flat))
    first = order[np.searchsorted(flat[order], np.arange(count))]
    places = (cells[first] + 0.5) / CELLS
    nearest = ndimage.distance_transform_edt(part < 0, return_distances=False, return_indices=True)
    filled = part[tuple(nearest)]
    column, row = np.clip((target * CELLS).astype(int), 0, CELLS - 1)
    goal = filled[row, column]
    places[goal] = target
    pairs = np.concatenate(
        [np.stack([part[:, :-1].ravel(), part[:, 1:].ravel()]), np.stack([part[:-1].ravel(), part[1:].ravel()])], axis=1
    )
    start, end = np.unique(pairs[:, (pairs >= 0).all(0) & (pairs[0] != pairs[1])], axis=1)
    length = np.linalg.norm(places[start] - places[end], axis=1)
    half = coo_matrix((length, (start, end)), shape=(count, count))
    _, after = dijkstra((half + half.T).tocsr(), indices=goal, return_predecessors=True)
    after = np.where(after < 0, np.arange(count), after)
    current, route = np.arange(count), []
    for _ in range(ahead + 2):
        route.append(places[current])
        current = after[current]
    return filled, np.stack(route, 1)


def _label_parts(barriers: np.ndarray, squares: int) -> np.ndarray:
    """Return the number (n, n) of the part of each cell, -1 within two cells of a barrier."""
    side = CELLS // squares
    free = ndimage.distance_transform_edt(~barriers) >= 1.9
    # An empty line between squares separates their parts.
    spread = np.arange(CELLS) + np.arange(CELLS) // side
    separated = np.zeros((spread[-1] + 1,) * 2, bool)
    separated[np.ix_(spread, spread)] = free
    return ndimage.label(separated)[0][np.ix_(spread, spread)] - 1
