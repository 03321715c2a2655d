"""The oracle against shortest ways that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from geofold.maze.worlds.geodesic import Oracle

N = 96
LONGER = 1.0135
"""What 32 directions cost at worst: 1 / cos of half the widest angle between two of them."""
MIDDLES = (np.arange(N) + 0.5) / N
X, Y = np.meshgrid(MIDDLES, MIDDLES)
FREE = np.ones((N, N), bool)
PAIRS = [((0.1, 0.1), (0.9, 0.9)), ((0.2, 0.8), (0.9, 0.3)), ((0.5, 0.1), (0.55, 0.95)), ((0.3, 0.3), (0.3, 0.7))]


def middle(point: tuple[float, float]) -> np.ndarray:
    """The middle of the cell that a point lies in."""
    return (np.floor(np.array(point) * N) + 0.5) / N


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.7, -0.4)])
def test_a_plane(one, other, slope) -> None:
    start, end = middle(one), middle(other)
    length, way = Oracle.of(FREE, slope[0] * X + slope[1] * Y).shortest_path(start, end)
    move = end - start
    exact = np.sqrt(move @ move + (move @ np.array(slope)) ** 2)
    # a slope stretches some angles between directions, and what a detour costs with them
    assert exact * (1 - 1e-9) <= length <= exact * (LONGER if slope == (0.0, 0.0) else 1.03)
    assert np.allclose(way[0], start) and np.allclose(way[-1], end)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_sphere(one, other) -> None:
    radius, start, end = 0.8, middle(one), middle(other)

    def lifted(x, y):
        return np.sqrt(radius**2 - (x - 0.5) ** 2 - (y - 0.5) ** 2)

    length, _ = Oracle.of(FREE, lifted(X, Y)).shortest_path(start, end)
    a, b = (np.array([*(p - 0.5), lifted(*p)]) for p in (start, end))
    exact = radius * np.arccos(a @ b / radius**2)
    # chords are a little shorter than their arcs
    assert 0.998 * exact <= length <= 1.03 * exact


@pytest.mark.parametrize("chords", [1, 2, 4])
def test_edges_of_several_chords_near_the_arc(chords: int) -> None:
    lattice = np.linspace(MIDDLES[0], MIDDLES[-1], chords * (N - 1) + 1)
    x, _ = np.meshgrid(lattice, lattice)
    start, end = middle((0.1, 0.5)), middle((0.9, 0.5))
    # a parabola along the straight way, whose slope goes from -16 to 16
    length, _ = Oracle.of(FREE, 20 * (x - 0.5) ** 2).shortest_path(start, end)
    slope = 40 * (end[0] - 0.5)
    exact = (slope * np.hypot(1, slope) + np.arcsinh(slope)) / 40
    assert exact * (1 - 0.004 / chords**2) <= length <= exact * (1 + 1e-9)


def test_round_a_wall() -> None:
    free = FREE.copy()
    free[:60, 48] = False  # a wall from y = 0 up to y = 60 / 96
    start, end, tip = middle((0.2, 0.2)), middle((0.8, 0.2)), np.array([48.5, 60]) / N
    exact = np.linalg.norm(start - tip) + np.linalg.norm(end - tip)
    length, way = Oracle.of(free, 0 * X).shortest_path(start, end)
    assert exact <= length <= 1.04 * exact
    cells = (way * N).astype(int)
    assert free[cells[:, 1], cells[:, 0]].all()


def test_no_way_through_a_closed_wall_nor_between_corners() -> None:
    free = FREE.copy()
    free[:, 48] = False
    assert Oracle.of(free, 0 * X).shortest_path(middle((0.2, 0.2)), middle((0.8, 0.2)))[0] == np.inf
    diagonal = ~np.eye(N, dtype=bool)
    assert Oracle.of(diagonal, 0 * X).shortest_path(middle((0.2, 0.8)), middle((0.8, 0.2)))[0] == np.inf


def test_the_distance_of_a_place_between_the_middles() -> None:
    oracle, target = Oracle.of(FREE, 0 * X), middle((0.7, 0.4))
    field = oracle.distance_field(target)
    noise = np.random.default_rng(0)
    for place in noise.uniform(0.05, 0.95, (20, 2)):
        exact = np.linalg.norm(place - target)
        assert exact - 1e-9 <= oracle.distance_at(field, place) <= LONGER * exact + 1 / N
