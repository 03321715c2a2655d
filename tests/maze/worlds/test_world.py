"""Worlds: solvable before and after every drag, the same for the same seed, and what corridors are made of."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.errors import OptionError
from geofold.maze.worlds.layouts import CELLS, DOOR, GAP, JUNCTION, OPENING_WIDTH
from geofold.maze.worlds.relief import RELIEFS
from geofold.maze.worlds.world import AGENT_CLEARANCE_CELLS, CLEARANCE_CELLS, DRAG_LENGTHS, World, make_world

ROOT = Path(__file__).resolve().parents[2]
LAYOUTS = st.sampled_from(["world", "corridors"])
SEEDS = st.integers(0, 2**31 - 1)
PRINT = "from test_world import digest, make_world; print(digest(make_world(5, 'corridors')))"


def digest(world: World) -> str:
    parts = (*world.layout, world.start, world.targets, world.heights, *world.shifts.values())
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def gap(barriers: np.ndarray, place: np.ndarray) -> float:
    """Cells from a place to the middle of the nearest barrier cell."""
    rows, columns = np.nonzero(barriers)
    return float(np.hypot(columns + 0.5 - CELLS * place[0], rows + 0.5 - CELLS * place[1]).min())


@settings(max_examples=8, deadline=None)
@given(SEEDS, LAYOUTS)
def test_every_world_is_solvable_and_stays_so(seed: int, layout: str) -> None:
    world = make_world(seed, layout, targets=2)
    places = [world.start, *world.targets]
    assert min(gap(world.barriers, place) for place in places) >= CLEARANCE_CELLS
    length, way = world.oracle().shortest_path(world.start, world.targets[0])
    assert np.isfinite(length)
    for size in DRAG_LENGTHS:
        agent = way[len(way) // 2]
        after = world.drag_obstacle(size, agent, world.targets[0])
        assert after is not world and (after.layout.mover != world.layout.mover).any()
        assert gap(after.layout.mover, agent) >= AGENT_CLEARANCE_CELLS
        field = after.oracle().distance_field(world.targets[0])
        for place in (agent, *places):
            assert np.isfinite(after.oracle().distance_at(field, place))


@settings(max_examples=4, deadline=None)
@given(SEEDS)
def test_a_drag_is_as_long_as_it_says(seed: int) -> None:
    for size, shifts in make_world(seed).shifts.items():
        assert np.abs(np.linalg.norm(shifts, axis=1) / CELLS - DRAG_LENGTHS[size]).max() < 1 / CELLS


@pytest.mark.parametrize("relief", RELIEFS)
def test_a_world_has_the_same_barriers_on_every_slope(relief: str) -> None:
    flat, steep = (make_world(7, relief=relief, slope=slope) for slope in (0.0, 4.0))
    assert np.ptp(flat.heights) == 0 and (flat.barriers == steep.barriers).all()
    assert (flat.start == steep.start).all() and (flat.targets == steep.targets).all()
    lengths = [world.oracle().shortest_path(world.start, world.targets[0])[0] for world in (flat, steep)]
    assert lengths[1] > 1.2 * lengths[0]


def test_same_seed_same_world_in_every_process() -> None:
    assert digest(make_world(5, "corridors")) != digest(make_world(6, "corridors"))
    reported = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}"}
        done = subprocess.run(
            [sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True
        )
        reported.add(done.stdout.strip())
    assert reported == {digest(make_world(5, "corridors"))}


def test_corridors_have_junctions_doors_and_gaps_of_the_width_they_should() -> None:
    worlds = [make_world(seed, "corridors") for seed in range(4)]
    kinds = np.concatenate([world.layout.kind[~world.layout.fixed] for world in worlds])
    assert {JUNCTION, DOOR, GAP} <= set(kinds.tolist())
    for world in worlds:
        narrow = np.isin(world.layout.kind, (DOOR, GAP)) & ~world.layout.fixed
        # a cell of a door has at most OPENING free cells in line with it, in one direction or the other
        assert OPENING_WIDTH in _runs(narrow & ~world.layout.fixed)


def _runs(free: np.ndarray) -> set[int]:
    """Lengths of the runs of free cells along rows and columns."""
    found = set()
    for lines in (free, free.T):
        edges = np.diff(np.pad(lines.astype(int), ((0, 0), (1, 1))), axis=1)
        found |= set((np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]).tolist())
    return found


@pytest.mark.parametrize(
    ("seed", "layout", "targets", "word"),
    [
        (-1, "world", 1, "seed -1"),
        (2**31, "world", 1, "seed"),
        (0, "circles", 1, "corridors"),
        (0, "world", 0, "targets"),
    ],
)
def test_a_world_that_cannot_be_asked_for(seed: int, layout: str, targets: int, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        make_world(seed, layout, targets=targets)


@pytest.mark.parametrize(
    ("options", "word"),
    [({"relief": "sea"}, "waves or ridges or bowls"), ({"slope": 4.5}, "0 to 4"), ({"slope": -1.0}, "slope -1")],
)
def test_a_ground_that_cannot_be_asked_for(options: dict, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        make_world(0, **options)
