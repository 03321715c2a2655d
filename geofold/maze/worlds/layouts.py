"""Layouts of barriers: scattered walls and blobs, or corridors with junctions, doors and narrow gaps.

Glossary: ``n`` cells along a side; masks and labels (n, n) are indexed [row, column], that is [y, x]. One cell is
1/n of the side, which is the unit of length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CELLS = 96
"""Cells along a side."""
RIM_WIDTH = 2
"""Width (cells) of the outer wall."""
CELL_KINDS = ("straight", "bend", "junction", "door", "gap")
"""Kinds of free cells; without corridors every cell is 'straight'."""
STRAIGHT, BEND, JUNCTION, DOOR, GAP = range(5)
PLACES_PER_SIDE, PLACE_SPACING, CORRIDOR_WIDTH = 6, 16, 10
"""Corridors: number of places along a side, distance between places (cells), and width of a corridor (cells)."""
OPENING_WIDTH = 4
"""Width (cells) of a door or a narrow gap."""
EXTRA_OPENINGS = 5
"""Number of passages in addition to those of the spanning tree."""
NARROW_FRACTION = 0.28
"""Fraction of the passages with a door or a gap."""
STRAIGHT_PROBABILITY = 0.75
"""Probability that the spanning tree grows straight ahead."""


class Layout(NamedTuple):
    """Barriers and kinds of cells.

    Attributes
    ----------
    fixed : (n, n) bool
        Fixed barriers.
    mover : (n, n) bool
        Obstacle that can be dragged.
    kind : (n, n) int8
        Index into `CELL_KINDS`.
    """

    fixed: np.ndarray
    mover: np.ndarray
    kind: np.ndarray


def draw_scattered(rng: np.random.Generator) -> Layout:
    """Draw walls, some with a corner, and blobs; one blob is the mover."""
    fixed = _rim_mask()
    for _ in range(int(rng.integers(3, 6))):
        _draw_wall(fixed, rng)
    for _ in range(int(rng.integers(1, 4))):
        fixed |= _blob(rng, rng.uniform(0.15, 0.85, 2), rng.uniform(0.04, 0.09))
    mover = _blob(rng, rng.uniform(0.25, 0.75, 2), rng.uniform(0.08, 0.11))
    return Layout(fixed, mover & ~_rim_mask(), np.full((CELLS, CELLS), STRAIGHT, np.int8))


def draw_corridors(rng: np.random.Generator) -> Layout:
    """Draw a spanning tree of places, additional passages, doors and gaps; the mover blocks one passage."""
    passages = _spanning_tree(rng)
    shut = [p for p in _adjacent_places() if p not in passages]
    passages |= {shut[k] for k in rng.permutation(len(shut))[:EXTRA_OPENINGS]}
    free = np.zeros((CELLS, CELLS), bool)
    kind = np.full((CELLS, CELLS), STRAIGHT, np.int8)
    for room in np.ndindex(PLACES_PER_SIDE, PLACES_PER_SIDE):
        corner = [PLACE_SPACING * k for k in room]
        inner = tuple(
            slice(k + (PLACE_SPACING - CORRIDOR_WIDTH) // 2, k + (PLACE_SPACING + CORRIDOR_WIDTH) // 2) for k in corner
        )
        free[inner] = True
        kind[tuple(slice(k, k + PLACE_SPACING) for k in corner)] = _cell_kind(room, passages)
    # Sorted, because the order of a set differs between processes.
    for passage in sorted(passages):
        _carve_passage(free, kind, passage, rng)
    mover = np.zeros_like(free)
    mid = _passage_centre(sorted(passages)[int(rng.integers(len(passages)))])
    half = CORRIDOR_WIDTH // 2 + 1
    mover[mid[0] - half : mid[0] + half, mid[1] - half : mid[1] + half] = True
    return Layout(~free, mover & ~_rim_mask(), kind)


LAYOUTS = {"world": draw_scattered, "corridors": draw_corridors}


Passage = tuple[tuple[int, int], tuple[int, int]]


def centres() -> np.ndarray:
    """Coordinates (n,) of the cell centres along a side, in sides."""
    return (np.arange(CELLS) + 0.5) / CELLS


def _rim_mask() -> np.ndarray:
    rim = np.ones((CELLS, CELLS), bool)
    rim[RIM_WIDTH:-RIM_WIDTH, RIM_WIDTH:-RIM_WIDTH] = False
    return rim


def _draw_wall(mask: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a wall of one or two segments, thicker than a step."""
    point, angle = rng.uniform(0.15, 0.85, 2), rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(centres(), centres())
    for _ in range(int(rng.integers(1, 3))):
        along = np.array([np.cos(angle), np.sin(angle)])
        length = rng.uniform(0.15, 0.35)
        t = np.clip((x - point[0]) * along[0] + (y - point[1]) * along[1], 0, length)
        gap = np.hypot(x - point[0] - t * along[0], y - point[1] - t * along[1])
        mask |= gap < 0.024
        point, angle = point + length * along, angle + rng.choice([-1, 1]) * rng.uniform(1.2, 1.9)


def _blob(rng: np.random.Generator, centre: np.ndarray, radius: float) -> np.ndarray:
    """Draw a disc with a wavy edge, (n, n) bool."""
    x, y = np.meshgrid(centres(), centres())
    turn = np.arctan2(y - centre[1], x - centre[0])
    wave = sum(rng.uniform(0, 0.15) * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    return np.hypot(x - centre[0], y - centre[1]) < radius * (1 + wave)


def _adjacent_places() -> list[Passage]:
    """Pairs of adjacent places."""
    across = [((i, j), (i, j + 1)) for i in range(PLACES_PER_SIDE) for j in range(PLACES_PER_SIDE - 1)]
    return across + [((j, i), (j + 1, i)) for i in range(PLACES_PER_SIDE) for j in range(PLACES_PER_SIDE - 1)]


def _spanning_tree(rng: np.random.Generator) -> set[Passage]:
    """Draw a spanning tree by depth-first search that prefers to continue straight ahead."""
    place = (int(rng.integers(PLACES_PER_SIDE)), int(rng.integers(PLACES_PER_SIDE)))
    visited, stack, last, tree = {place}, [place], (0, 0), set()
    while stack:
        place = stack[-1]
        ways = [(0, 1), (1, 0), (0, -1), (-1, 0)]
        ways = [w for w in ways if _is_inside(place, w) and (place[0] + w[0], place[1] + w[1]) not in visited]
        if not ways:
            stack.pop()
            last = (0, 0)
            continue
        way = last if last in ways and rng.random() < STRAIGHT_PROBABILITY else ways[int(rng.integers(len(ways)))]
        neighbour = (place[0] + way[0], place[1] + way[1])
        tree.add((min(place, neighbour), max(place, neighbour)))
        visited.add(neighbour)
        stack.append(neighbour)
        last = way
    return tree


def _is_inside(place: tuple[int, int], way: tuple[int, int]) -> bool:
    return all(0 <= a + b < PLACES_PER_SIDE for a, b in zip(place, way, strict=True))


def _cell_kind(room: tuple[int, int], passages: set[Passage]) -> int:
    ways = [p for p in passages if room in p]
    if len(ways) > 2:
        return JUNCTION
    # Two passages are in line if their far ends share a row or a column.
    far = [next(end for end in way if end != room) for way in ways]
    return BEND if len(far) == 2 and far[0][0] != far[1][0] and far[0][1] != far[1][1] else STRAIGHT


def _passage_centre(passage: Passage) -> tuple[int, int]:
    (a, b), (c, d) = passage
    return PLACE_SPACING * (a + c + 1) // 2, PLACE_SPACING * (b + d + 1) // 2


def _carve_passage(free: np.ndarray, kind: np.ndarray, passage: Passage, rng: np.random.Generator) -> None:
    """Carve a passage; a door narrows it at one point, a gap over its whole length."""
    row, column = _passage_centre(passage)
    upright = passage[0][0] != passage[1][0]  # the passage leads along y
    along, across = (row, column) if upright else (column, row)
    length = (PLACE_SPACING - CORRIDOR_WIDTH) // 2
    view, label = (free, kind) if upright else (free.T, kind.T)  # a transposed view writes into the same cells
    wide = slice(across - CORRIDOR_WIDTH // 2, across + CORRIDOR_WIDTH // 2)
    view[along - length : along + length, wide] = True
    near = slice(along - length - 1, along + length + 1)
    drawn, shift = rng.random(), int(rng.integers(-3, 4))
    if drawn >= NARROW_FRACTION:
        label[along - length : along + length, wide] = STRAIGHT
        return
    door = drawn < NARROW_FRACTION / 2
    deep, shift = (slice(along - 2, along + 2), shift) if door else (slice(along - length, along + length), 0)
    view[deep, wide] = False
    view[deep, across + shift - OPENING_WIDTH // 2 : across + shift + OPENING_WIDTH // 2] = True
    label[near, wide] = DOOR if door else GAP
