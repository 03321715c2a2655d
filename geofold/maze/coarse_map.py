"""What an agent knows of the way: a rough chart of which squares lead to which, and how far it can see along a route.

Glossary: ``S`` scenes; ``n`` cells and ``m`` squares along a side; ``p`` parts of squares; ``r`` places of a route;
``B`` rows.

The chart cuts the world into squares of 6 x 6 cells and knows, for each connected part of a square's free ground,
one place in it and which parts lie next to it. It knows no heights, no shapes and no true lengths: what the shortest
way is, only the oracle can tell. From the part that it stands in, an agent heads for the furthest place of the
chart's route that it sees with no barrier in between.
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

from geofold.maze.fields import Fields
from geofold.maze.layouts import CELLS
from geofold.maze.world import World

SQUARES = 16
"""Along a side."""
ROUTE_LENGTH = 6
"""Places ahead that an agent looks for."""
SIGHT_SAMPLES = 24
"""Places on a line of sight where a barrier is looked for."""
SIGHT_CLEARANCE = 0.5 / CELLS
"""How far a line of sight keeps from barriers."""


@dataclass(frozen=True, eq=False)
class CoarseMap:
    """Charts of S scenes.

    Attributes
    ----------
    part : (S, n, n) int
        The part that a cell belongs to; in a barrier, the nearest.
    route : (S, p, r, 2)
        The place of each part and those that come next, the target itself at the end.
    """

    part: Tensor
    route: Tensor

    @classmethod
    def of(
        cls, worlds: list[World], targets: np.ndarray, squares: int = SQUARES, ahead: int = ROUTE_LENGTH
    ) -> CoarseMap:
        """Charts of worlds as they stand, with targets (S, 2)."""
        drawn = [_draw_map(world, *at, squares, ahead) for world, at in zip(worlds, targets.tolist(), strict=True)]
        most = max(len(route) for _, route in drawn)
        routes = [np.pad(route, ((0, most - len(route)), (0, 0), (0, 0))) for _, route in drawn]
        return cls(torch.as_tensor(np.stack([part for part, _ in drawn])), torch.as_tensor(np.stack(routes)))

    def waypoints(self, position: Tensor, scene: Tensor, fields: Fields) -> Tensor:
        """Where to head for from points (B, 2), and where after that, (B, 2, 2).

        The first is the furthest place of the route that is in sight, or that of the own part if none is.
        """
        cell = (position * CELLS).long().clamp(0, CELLS - 1)
        route = self.route[scene, self.part[scene, cell[:, 1], cell[:, 0]]]
        way = route[:, :-1] - position[:, None]
        share = torch.linspace(0, 1, SIGHT_SAMPLES + 1, dtype=way.dtype, device=way.device)[1:, None]
        looks = position[:, None, None] + share * way[:, :, None]
        gap = fields.distance(looks.flatten(1, 2), scene).unflatten(1, looks.shape[1:3])
        seen = (gap > SIGHT_CLEARANCE).all(-1)
        number = torch.arange(seen.shape[1], device=seen.device)
        furthest = torch.where(seen, number, 0).amax(-1)
        row = torch.arange(len(route), device=seen.device)[:, None]
        return route[row, torch.stack([furthest, furthest + 1], -1)]


@lru_cache(maxsize=512)
def _draw_map(world: World, x: float, y: float, squares: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Parts (n, n) and routes (p, r, 2) of one scene; agents that walk the same world share them."""
    part, target = _label_parts(world.barriers, squares), np.array([x, y])
    count = int(part.max()) + 1
    flat = part.ravel()
    cells = np.stack([np.arange(CELLS**2) % CELLS, np.arange(CELLS**2) // CELLS], -1)
    inside = flat >= 0
    total = np.stack([np.bincount(flat[inside], cells[inside, k], count) for k in (0, 1)], -1)
    middle = total / np.bincount(flat[inside], minlength=count)[:, None]
    # of a part with a bay the middle may lie outside: its nearest cell stands for it
    far = np.where(inside, ((cells - middle[np.clip(flat, 0, None)]) ** 2).sum(-1), np.inf)
    order = np.lexsort((far, flat))
    first = order[np.searchsorted(flat[order], np.arange(count))]
    places = (cells[first] + 0.5) / CELLS
    nearest = ndimage.distance_transform_edt(part < 0, return_distances=False, return_indices=True)
    whole = part[tuple(nearest)]
    column, row = np.clip((target * CELLS).astype(int), 0, CELLS - 1)
    goal = whole[row, column]
    places[goal] = target
    pairs = np.concatenate(
        [np.stack([part[:, :-1].ravel(), part[:, 1:].ravel()]), np.stack([part[:-1].ravel(), part[1:].ravel()])], axis=1
    )
    one, other = np.unique(pairs[:, (pairs >= 0).all(0) & (pairs[0] != pairs[1])], axis=1)
    length = np.linalg.norm(places[one] - places[other], axis=1)
    half = coo_matrix((length, (one, other)), shape=(count, count))
    _, after = dijkstra((half + half.T).tocsr(), indices=goal, return_predecessors=True)
    after = np.where(after < 0, np.arange(count), after)
    here, route = np.arange(count), []
    for _ in range(ahead + 2):
        route.append(places[here])
        here = after[here]
    return whole, np.stack(route, 1)


def _label_parts(barriers: np.ndarray, squares: int) -> np.ndarray:
    """Number (n, n) of each cell's part, -1 where the ground is not free for two cells around."""
    side = CELLS // squares
    free = ndimage.distance_transform_edt(~barriers) >= 1.9
    # a line of nothing between squares keeps their parts apart
    spread = np.arange(CELLS) + np.arange(CELLS) // side
    apart = np.zeros((spread[-1] + 1,) * 2, bool)
    apart[np.ix_(spread, spread)] = free
    return ndimage.label(apart)[0][np.ix_(spread, spread)] - 1
