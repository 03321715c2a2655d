"""Demonstrations for the predictors of the maze: features along noisy walks, and plans of the oracle from there.

Agents start anywhere and make the moves of the oracle with noise that is correlated over a few steps, so that
recoveries are demonstrated too. The barriers of the oracle are slightly thicker, so that its paths keep clear of
corners.

Glossary: ``B`` agents, ``T`` steps, ``n`` moves of a plan.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from geofold.core.domain import Prediction
from geofold.learn.maze_predictor import Demonstrations
from geofold.maze.domain import PLAN_MOVES, MazeDomain
from geofold.maze.episode_log import TARGET_RADIUS
from geofold.maze.worlds.fields import STEP_LENGTH, cap_length
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.relief import MAX_SLOPE, RELIEFS
from geofold.maze.worlds.world import World, make_world

N_AGENTS, WALK_STEPS = 16, 64
"""Number of walks in a world, and steps of a walk."""
WALL_CLEARANCE_CELLS = 1.9
"""Clearance (cells) of the demonstrated paths from barriers, which every world permits."""
NOISE_STEPS, NOISE_CORRELATION = 0.35, 0.8
"""Standard deviation (steps) of the noise on a move, and its correlation from step to step."""
PATH_CELLS = 28
"""Cells of the shortest path from which a plan is cut: enough for eight steps."""


def demonstrate(number: int, *, seed: int = 0) -> Demonstrations:
    """Demonstrate walks through one world.

    Parameters
    ----------
    number : int
        Number of the world; every second world has corridors, and every second pair another relief than usual.
    seed : int
        Seed of the series of worlds.

    Returns
    -------
    Lessons
        Features, plans and mask, (B, T, ...) each.
    """
    rng = np.random.default_rng([seed, number])
    world = draw_world(rng, number)
    domain = MazeDomain.of([world], world.targets, with_features=True)
    planner = OraclePlanner(world)
    scene = torch.zeros(N_AGENTS, dtype=torch.long)
    state = domain.start(torch.as_tensor(planner.places(rng, N_AGENTS)), scene)
    noise = torch.zeros(N_AGENTS, 2, dtype=torch.float64)
    active = torch.ones(N_AGENTS, dtype=torch.bool)
    features, plans, mask = [], [], []
    for _ in range(WALK_STEPS):
        plan = planner.plan(state.origin.position)
        features.append(domain.observe(state, None))
        plans.append(plan.flatten(1))
        mask.append(active)
        innovation = NOISE_STEPS * torch.as_tensor(rng.standard_normal((N_AGENTS, 2)))
        noise = NOISE_CORRELATION * noise + (1 - NOISE_CORRELATION**2) ** 0.5 * innovation
        move = cap_length(STEP_LENGTH * (plan[:, 0] + noise), state.origin.slope)
        state = domain.commit(Prediction(move, torch.ones_like(move), torch.ones_like(active)), state)
        active = active & ((state.origin.position - domain.targets[0]).norm(dim=-1) > TARGET_RADIUS)
    return Demonstrations(*(torch.stack(part, 1) for part in (features, plans, mask)))


def draw_world(rng: np.random.Generator, number: int) -> World:
    """Draw a world, of the usual relief or of any relief and slope.

    Parameters
    ----------
    rng : numpy.random.Generator
    number : int
        Every second world has corridors, and every second pair another relief than usual.
    """
    seed, layout = int(rng.integers(2**31)), ("world", "corridors")[number % 2]
    if number % 4 < 2:
        return make_world(seed, layout)
    return make_world(seed, layout, relief=RELIEFS[rng.integers(len(RELIEFS))], slope=rng.uniform(0, MAX_SLOPE))


class OraclePlanner:
    """Planner along the shortest paths to the first target of a world."""

    def __init__(self, world: World) -> None:
        free = ndimage.distance_transform_edt(~world.barriers) >= WALL_CLEARANCE_CELLS
        column, row = (world.targets[0] * CELLS).astype(int)
        distance, before = dijkstra(world.oracle(free).graph, indices=row * CELLS + column, return_predecessors=True)
        linked = np.isfinite(distance).reshape(CELLS, CELLS)
        _, nearest = ndimage.distance_transform_edt(~linked, return_indices=True)
        self._entry_cell = nearest[0] * CELLS + nearest[1]
        self._next_cell = np.where(before < 0, np.arange(CELLS**2), before)
        self._cells, self._relief = np.flatnonzero(linked), world.relief

    def places(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw points (count, 2) on ground from which the target can be reached."""
        cells = self._cells[rng.integers(len(self._cells), size=count)]
        return np.stack([cells % CELLS + 0.5, cells // CELLS + 0.5], -1) / CELLS

    def plan(self, position: Tensor) -> Tensor:
        """Plan moves (B, n, 2) from positions (B, 2) along the shortest path, at full pace up to the target."""
        column, row = np.clip((position.numpy() * CELLS).astype(int), 0, CELLS - 1).T
        cell, path = self._entry_cell[row, column], []
        for _ in range(PATH_CELLS):
            # The path begins with the next cell, not with the centre of the current one.
            cell = self._next_cell[cell]
            path.append(np.stack([cell % CELLS + 0.5, cell // CELLS + 0.5], -1) / CELLS)
        points = torch.cat([position[:, None], torch.as_tensor(np.stack(path, 1))], 1)
        height = self._relief.height(points, torch.zeros(len(points), dtype=torch.long))
        lengths = (points.diff(dim=1).square().sum(-1) + height.diff(dim=1).square()).sqrt()
        along = torch.cat([lengths.new_zeros(len(lengths), 1), lengths.cumsum(1)], 1).contiguous()
        target_lengths = (STEP_LENGTH * torch.arange(1, PLAN_MOVES + 1, dtype=along.dtype)).expand(len(along), -1)
        target_lengths = target_lengths.minimum(along[:, -1:]).contiguous()
        end = torch.searchsorted(along, target_lengths).clamp(1, PATH_CELLS)
        rows = torch.arange(len(along))[:, None]
        before, after = along[rows, end - 1], along[rows, end]
        share = ((target_lengths - before) / (after - before).clamp_min(1e-12)).clamp(0, 1)[..., None]
        places = points[rows, end - 1] + share * (points[rows, end] - points[rows, end - 1])
        return torch.cat([position[:, None], places], 1).diff(dim=1) / STEP_LENGTH
