"""A maze's world: curved ground, barriers, a start, targets one after the other, and an obstacle that can be dragged.

Glossary: ``n`` cells along a side; masks (n, n) are [row, column]; points (x, y) in sides of the world, so x = 0..1.
Everything follows from a seed. A world that the oracle cannot solve, or whose obstacle cannot be dragged without
closing it, is drawn again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from geofold.errors import OptionError
from geofold.maze.geodesic import Oracle
from geofold.maze.layouts import CELLS, LAYOUTS, RIM_WIDTH, Layout, centres
from geofold.maze.relief import Relief

DRAG_LENGTHS = {"small": 0.08, "medium": 0.16, "large": 0.32}
"""How far the obstacle is dragged, in sides."""
DRAG_STEPS = (64, 128, 192)
"""Steps at which it may be (the paper's t*)."""
MIN_TARGET_DISTANCE = 0.5
"""Least distance of a target from the place before."""
CLEARANCE_CELLS = 3
"""Cells that the start and every target keep from all barriers."""
MAX_TARGETS = 64
"""Targets of a world at most: each has to stay clear of every drag."""
N_DRAG_DIRECTIONS = 24
"""Ways that a drag may go, tried in an order that the seed draws."""
AGENT_CLEARANCE_CELLS = 1.5
"""Cells from an agent to the obstacle after a drag."""


@dataclass(frozen=True, eq=False)
class World:
    """One maze.

    Attributes
    ----------
    layout
        Barriers and kinds of cells; its mover is where it is now.
    start : (2,)
    targets : (t, 2)
        To be reached one after the other.
    shifts : dict of str to (s, 2) int
        Moves of the obstacle in cells (row, column) by the size of the drag, best first.
    """

    name: str
    seed: int
    relief: Relief
    layout: Layout
    start: np.ndarray
    targets: np.ndarray
    shifts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def barriers(self) -> np.ndarray:
        """All barriers (n, n) as they stand."""
        return self.layout.fixed | self.layout.mover

    @property
    def heights(self) -> np.ndarray:
        """Height (n, n) at the middles of the cells."""
        x, y = np.meshgrid(centres(), centres())
        at = torch.as_tensor(np.stack([x, y], -1).reshape(1, -1, 2))
        return self.relief.height(at, torch.zeros(1, dtype=torch.long)).reshape(CELLS, CELLS).numpy()

    def oracle(self) -> Oracle:
        """Shortest ways over the ground as it stands."""
        return Oracle.of(~self.barriers, self.heights)

    def drag_obstacle(self, size: str, agent: np.ndarray, target: np.ndarray) -> World:
        """The world with its obstacle dragged, so that an agent (2,) keeps a way to its target.

        The first of the seed's moves is taken that leaves the agent room and a way; there always is one that leaves
        it room. Where it stands in a pocket that every one would close, the world stays as it is.
        """
        places = np.stack([agent, target])
        for shift in self.shifts[size]:
            after = _shift_obstacle_cached(self, *shift.tolist())
            if _barrier_distance(after.layout.mover, places[:1])[0] >= AGENT_CLEARANCE_CELLS and _are_connected(
                after.barriers, places
            ):
                return after
        return self


def require_drag(size: str) -> None:
    """Complain about a drag that is none.

    Raises
    ------
    OptionError
    """
    if size not in DRAG_LENGTHS:
        raise OptionError(f"drag {size}", ", ".join(DRAG_LENGTHS), "choose one of them")


def require_world(layout: str, targets: int, seed: int = 0) -> None:
    """Complain about a world that cannot be drawn.

    Raises
    ------
    OptionError
    """
    if layout not in LAYOUTS:
        raise OptionError(f"layout {layout}", " or ".join(LAYOUTS), "choose one of them")
    for name, value, low, high in (("seed", seed, 0, 2**31 - 1), ("targets", targets, 1, MAX_TARGETS)):
        if not low <= value <= high:
            raise OptionError(f"{name} {value}", f"a number from {low} to {high}", "give another")


def make_world(seed: int, layout: str = "world", *, targets: int = 1) -> World:
    """Draw a world.

    Parameters
    ----------
    layout : 'world' or 'corridors'
        Scattered walls and blobs on curved ground, or corridors.
    targets : int
        Places to be reached one after the other.

    Raises
    ------
    OptionError
        If the seed or the layout is none.
    """
    require_world(layout, targets, seed)
    for attempt in itertools.count():
        rng = np.random.default_rng((seed, attempt, list(LAYOUTS).index(layout)))
        world = _try_world(rng, seed, layout, targets)
        if world is not None:
            return world
    raise AssertionError("the attempts have no end")


def _try_world(rng: np.random.Generator, seed: int, name: str, count: int) -> World | None:
    """One attempt; None where it cannot be solved."""
    relief = Relief.draw(rng, steep=0.15 if name == "corridors" else 0.45)
    world = World(name, seed, relief, LAYOUTS[name](rng), np.zeros(2), np.zeros((count, 2)))
    room = ndimage.distance_transform_edt(~world.barriers) >= CLEARANCE_CELLS
    places = [_draw_place(rng, room, [])]
    for _ in range(count):
        places.append(_draw_place(rng, room, places[-1:]))
    if any(place is None for place in places):
        return None
    spots = np.stack([place for place in places if place is not None])
    world = replace(world, start=spots[0], targets=spots[1:])
    if not _are_connected(world.barriers, spots):
        return None
    oracle, route = world.oracle(), np.zeros((CELLS, CELLS), bool)
    for one, other in itertools.pairwise(spots):
        length, way = oracle.shortest_path(one, other)
        if not np.isfinite(length):
            return None
        cells = (way * CELLS).astype(int)
        route[cells[:, 1], cells[:, 0]] = True
    shifts = {size: _draw_shifts(rng, world, route, spots, far) for size, far in DRAG_LENGTHS.items()}
    return replace(world, shifts=shifts) if all(_leaves_room(world, moves) for moves in shifts.values()) else None


def _draw_place(rng: np.random.Generator, room: np.ndarray, away: list[np.ndarray | None]) -> np.ndarray | None:
    """The middle of a cell with room around it, far from the place before."""
    rows, columns = np.nonzero(room)
    spots = np.stack([columns, rows], -1) / CELLS + 0.5 / CELLS
    for before in away:
        spots = spots if before is None else spots[np.linalg.norm(spots - before, axis=1) >= MIN_TARGET_DISTANCE]
    return spots[int(rng.integers(len(spots)))] if len(spots) else None


def _draw_shifts(
    rng: np.random.Generator, world: World, route: np.ndarray, spots: np.ndarray, far: float
) -> np.ndarray:
    """Moves (s, 2) that keep the world solvable: those first that put the obstacle on the shortest ways."""
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.permutation(N_DRAG_DIRECTIONS) / N_DRAG_DIRECTIONS
    wide, found = ndimage.binary_dilation(route, iterations=2), list[tuple[int, int, np.ndarray]]()
    for angle in turn:
        shift = np.rint(far * CELLS * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        after = _shift_obstacle(world, shift)
        fresh = after.layout.mover & ~world.barriers
        # an obstacle that ends inside others changes nothing
        if fresh.sum() < 0.25 * world.layout.mover.sum():
            continue
        if _barrier_distance(after.barriers, spots).min() >= CLEARANCE_CELLS - 1 and _are_connected(
            after.barriers, spots
        ):
            found.append((-int((fresh & wide).sum()), len(found), shift))
    return np.array([shift for _, _, shift in sorted(found, key=lambda one: one[:2])], int).reshape(-1, 2)


def _leaves_room(world: World, shifts: np.ndarray) -> bool:
    """Whether some move of the obstacle leaves room, wherever on the free ground an agent stands."""
    hit = ~world.barriers
    for shift in shifts:
        hit &= ndimage.distance_transform_edt(~_shift_obstacle(world, shift).layout.mover) < AGENT_CLEARANCE_CELLS
    return not hit.any()


@lru_cache(maxsize=256)
def _shift_obstacle_cached(world: World, rows: int, columns: int) -> World:
    """What a drag makes of a world, the same object for all agents that walk it."""
    return _shift_obstacle(world, np.array([rows, columns]))


def _shift_obstacle(world: World, shift: np.ndarray) -> World:
    """The obstacle elsewhere, cut off at the rim."""
    rows, columns = np.nonzero(world.layout.mover)
    rows, columns = rows + shift[0], columns + shift[1]
    inside = (rows >= RIM_WIDTH) & (rows < CELLS - RIM_WIDTH) & (columns >= RIM_WIDTH) & (columns < CELLS - RIM_WIDTH)
    mover = np.zeros_like(world.layout.mover)
    mover[rows[inside], columns[inside]] = True
    return replace(world, layout=world.layout._replace(mover=mover))


def _barrier_distance(barriers: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Cells from places (p, 2) to the nearest barrier, (p,)."""
    cells = np.clip((places * CELLS).astype(int), 0, CELLS - 1)
    return ndimage.distance_transform_edt(~barriers)[cells[:, 1], cells[:, 0]]


def _are_connected(barriers: np.ndarray, places: np.ndarray) -> bool:
    """Whether places (p, 2) lie in one part of the ground whose every way is at least three cells wide."""
    labels, _ = ndimage.label(ndimage.distance_transform_edt(~barriers) >= 1.9)
    if not labels.any():
        return False
    # a place in a nook belongs to the nearest part
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    cells = np.clip((places * CELLS).astype(int), 0, CELLS - 1)
    here = labels[tuple(nearest[:, cells[:, 1], cells[:, 0]])]
    return bool((here == here[0]).all())
