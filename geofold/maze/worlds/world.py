"""World of a maze: curved ground, barriers, a start, consecutive targets, and an obstacle that can be dragged.

Glossary: ``n`` cells along a side; masks (n, n) are indexed [row, column]; points (x, y) in sides of the world, in [0,
1]. A world is determined by its seed, layout, relief and slope; the same seed has the same barriers on every slope as
long as its paths exist. Worlds that the oracle cannot solve, or in which every drag of the obstacle
blocks the targets, are rejected and drawn again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage

from geofold.errors import OptionError
from geofold.maze.worlds.geodesic import Oracle
from geofold.maze.worlds.layouts import CELLS, LAYOUTS, RIM_WIDTH, Layout, centres
from geofold.maze.worlds.relief import MAX_SLOPE, RELIEFS, RMS_SLOPE, Relief

DRAG_LENGTHS = {"small": 0.08, "medium": 0.16, "large": 0.32}
"""Distance (sides) by which the obstacle is dragged, by name."""
DRAG_STEPS = (64, 128, 192)
"""Steps at which the benchmark drags the obstacle (t* in the paper)."""
MIN_TARGET_DISTANCE = 0.5
"""Minimum distance (sides) of a target from the previous target or the start."""
CLEARANCE_CELLS = 3
"""Clearance (cells) of the start and of every target from barriers."""
CORRIDOR_SLOPE = 0.15
"""Root mean square of the slope in corridors, by default."""
ORACLE_CHORDS = 2
"""Number of chords by which the oracle measures an edge."""
MAX_TARGETS = 64
"""Maximum number of targets, since each must remain clear of every drag."""
N_DRAG_DIRECTIONS = 24
"""Number of directions of a drag, tried in random order."""
AGENT_CLEARANCE_CELLS = 1.5
"""Minimum distance (cells) from an agent to the dragged obstacle."""


@dataclass(frozen=True, eq=False)
class World:
    """World of one maze.

    Attributes
    ----------
    name : str
        Name of the layout.
    seed : int
    relief_kind : str
        One of `RELIEFS`.
    slope : float
        Root mean square of the slope of the ground.
    relief : Relief
        Height of the ground.
    layout : Layout
        Barriers and kinds of cells, with the obstacle at its current position.
    start : (2,)
    targets : (t, 2)
        Targets, in the order in which they are to be reached.
    shifts : dict of str to (s, 2) int
        Possible moves of the obstacle in cells (row, column) by the name of the drag, best first.
    """

    name: str
    seed: int
    relief_kind: str
    slope: float
    relief: Relief
    layout: Layout
    start: np.ndarray
    targets: np.ndarray
    shifts: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def barriers(self) -> np.ndarray:
        """All barriers (n, n) bool, the obstacle included."""
        return self.layout.fixed | self.layout.mover

    @property
    def heights(self) -> np.ndarray:
        """Height (n, n) at the centres of the cells."""
        return self.heights_between(1)

    def heights_between(self, chords: int) -> np.ndarray:
        """Height (c (n - 1) + 1,) * 2 at the centres of the cells and at c - 1 points between neighbours."""
        line = np.linspace(centres()[0], centres()[-1], chords * (CELLS - 1) + 1)
        x, y = np.meshgrid(line, line)
        at = torch.as_tensor(np.stack([x, y], -1).reshape(1, -1, 2))
        return self.relief.height(at, torch.zeros(1, dtype=torch.long)).reshape(x.shape).numpy()

    def oracle(self, free: np.ndarray | None = None) -> Oracle:
        """Shortest paths in the current state of the world, through cells (n, n) bool (None: those without barrier)."""
        return Oracle.of(~self.barriers if free is None else free, self.heights_between(ORACLE_CHORDS))

    def drag_obstacle(self, size: str, agent: np.ndarray, target: np.ndarray) -> World:
        """World after a drag of the obstacle that leaves the agent a path to its target.

        The first move in `shifts` that leaves the agent clearance and a path is applied. If every move would enclose
        the agent, the world itself is returned.

        Parameters
        ----------
        size : 'small', 'medium' or 'large'
        agent, target : (2,)

        Returns
        -------
        World
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
    """Check the name of a drag.

    Raises
    ------
    OptionError
        If there is no drag of that name.
    """
    if size not in DRAG_LENGTHS:
        raise OptionError(f"drag {size}", ", ".join(DRAG_LENGTHS), "choose one of them")


def require_world(
    layout: str, targets: int, seed: int = 0, *, relief: str = "waves", slope: float | None = None
) -> None:
    """Check the arguments of `make_world`.

    Parameters
    ----------
    layout, targets, seed, relief, slope
        See `make_world`.

    Raises
    ------
    OptionError
        If layout or relief is unknown, or seed, number of targets or slope is out of range.
    """
    for option, chosen, known in (("layout", layout, LAYOUTS), ("relief", relief, RELIEFS)):
        if chosen not in known:
            raise OptionError(f"{option} {chosen}", " or ".join(known), "choose one of them")
    if slope is not None and not 0 <= slope <= MAX_SLOPE:
        raise OptionError(f"slope {slope}", f"a number from 0 to {MAX_SLOPE:g}", "give another --slope")
    for name, value, low, high in (("seed", seed, 0, 2**31 - 1), ("targets", targets, 1, MAX_TARGETS)):
        if not low <= value <= high:
            raise OptionError(f"{name} {value}", f"a number from {low} to {high}", "give another")


def make_world(
    seed: int, layout: str = "world", *, targets: int = 1, relief: str = "waves", slope: float | None = None
) -> World:
    """Draw a world.

    Parameters
    ----------
    seed : int
    layout : 'world' or 'corridors'
        Scattered walls and blobs on curved ground, or corridors.
    targets : int
        Number of consecutive targets.
    relief : 'waves', 'ridges' or 'bowls'
        Rolling ground, long crests, or round hollows.
    slope : float or None
        Root mean square of the slope, 0 to 4. None: `RMS_SLOPE`, in corridors `CORRIDOR_SLOPE`.

    Raises
    ------
    OptionError
        If layout or relief is unknown, or seed, number of targets or slope is out of range.
    """
    require_world(layout, targets, seed, relief=relief, slope=slope)
    if slope is None:
        slope = CORRIDOR_SLOPE if layout == "corridors" else RMS_SLOPE
    for attempt in itertools.count():
        rng = np.random.default_rng((seed, attempt, list(LAYOUTS).index(layout)))
        ground = Relief.draw(rng, slope=slope, kind=relief)
        blank = World(layout, seed, relief, slope, ground, LAYOUTS[layout](rng), np.zeros(2), np.zeros((targets, 2)))
        world = _populate(rng, blank)
        if world is not None:
            return world
    raise AssertionError("unreachable: the number of attempts is not limited")


def _populate(rng: np.random.Generator, world: World) -> World | None:
    """Draw start, targets and drags of a world; None if it cannot be solved."""
    room = ndimage.distance_transform_edt(~world.barriers) >= CLEARANCE_CELLS
    places = [_draw_place(rng, room, [])]
    for _ in world.targets:
        places.append(_draw_place(rng, room, places[-1:]))
    if any(place is None for place in places):
        return None
    spots = np.stack([place for place in places if place is not None])
    world = replace(world, start=spots[0], targets=spots[1:])
    if not _are_connected(world.barriers, spots):
        return None
    oracle, route = world.oracle(), np.zeros((CELLS, CELLS), bool)
    for start, end in itertools.pairwise(spots):
        length, path = oracle.shortest_path(start, end)
        if not np.isfinite(length):
            return None
        cells = (path * CELLS).astype(int)
        route[cells[:, 1], cells[:, 0]] = True
    shifts = {size: _draw_shifts(rng, world, route, spots, far) for size, far in DRAG_LENGTHS.items()}
    return replace(world, shifts=shifts) if all(_leaves_room(world, moves) for moves in shifts.values()) else None


def _draw_place(rng: np.random.Generator, room: np.ndarray, away: list[np.ndarray | None]) -> np.ndarray | None:
    """Draw the centre of a cell with clearance, far from the previous position; None if there is none."""
    rows, columns = np.nonzero(room)
    spots = np.stack([columns, rows], -1) / CELLS + 0.5 / CELLS
    for before in away:
        spots = spots if before is None else spots[np.linalg.norm(spots - before, axis=1) >= MIN_TARGET_DISTANCE]
    return spots[int(rng.integers(len(spots)))] if len(spots) else None


def _draw_shifts(
    rng: np.random.Generator, world: World, route: np.ndarray, spots: np.ndarray, far: float
) -> np.ndarray:
    """Draw moves (s, 2) that keep the world solvable, sorted by how much of the shortest paths they block."""
    turn = rng.uniform(0, 2 * np.pi) + 2 * np.pi * rng.permutation(N_DRAG_DIRECTIONS) / N_DRAG_DIRECTIONS
    wide, candidates = ndimage.binary_dilation(route, iterations=2), list[tuple[int, int, np.ndarray]]()
    for angle in turn:
        shift = np.rint(far * CELLS * np.array([np.sin(angle), np.cos(angle)])).astype(int)
        after = _shift_obstacle(world, shift)
        fresh = after.layout.mover & ~world.barriers
        # A drag into other barriers changes nothing.
        if fresh.sum() < 0.25 * world.layout.mover.sum():
            continue
        if _barrier_distance(after.barriers, spots).min() >= CLEARANCE_CELLS - 1 and _are_connected(
            after.barriers, spots
        ):
            candidates.append((-int((fresh & wide).sum()), len(candidates), shift))
    return np.array([shift for _, _, shift in sorted(candidates, key=lambda entry: entry[:2])], int).reshape(-1, 2)


def _leaves_room(world: World, shifts: np.ndarray) -> bool:
    """Whether for every free position of an agent some move of the obstacle leaves it clearance."""
    blocked = ~world.barriers
    for shift in shifts:
        blocked &= ndimage.distance_transform_edt(~_shift_obstacle(world, shift).layout.mover) < AGENT_CLEARANCE_CELLS
    return not blocked.any()


@lru_cache(maxsize=256)
def _shift_obstacle_cached(world: World, rows: int, columns: int) -> World:
    """World after a drag, cached so that all agents share one object."""
    return _shift_obstacle(world, np.array([rows, columns]))


def _shift_obstacle(world: World, shift: np.ndarray) -> World:
    """Move the obstacle by (rows, columns) and cut it off at the rim."""
    rows, columns = np.nonzero(world.layout.mover)
    rows, columns = rows + shift[0], columns + shift[1]
    inside = (rows >= RIM_WIDTH) & (rows < CELLS - RIM_WIDTH) & (columns >= RIM_WIDTH) & (columns < CELLS - RIM_WIDTH)
    mover = np.zeros_like(world.layout.mover)
    mover[rows[inside], columns[inside]] = True
    return replace(world, layout=world.layout._replace(mover=mover))


def _barrier_distance(barriers: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Distance (cells) from positions (p, 2) to the nearest barrier, (p,)."""
    cells = np.clip((places * CELLS).astype(int), 0, CELLS - 1)
    return ndimage.distance_transform_edt(~barriers)[cells[:, 1], cells[:, 0]]


def _are_connected(barriers: np.ndarray, places: np.ndarray) -> bool:
    """Whether positions (p, 2) are connected by passages at least three cells wide."""
    labels, _ = ndimage.label(ndimage.distance_transform_edt(~barriers) >= 1.9)
    if not labels.any():
        return False
    # A position in a narrow niche belongs to the nearest part.
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    cells = np.clip((places * CELLS).astype(int), 0, CELLS - 1)
    part = labels[tuple(nearest[:, cells[:, 1], cells[:, 0]])]
    return bool((part == part[0]).all())
