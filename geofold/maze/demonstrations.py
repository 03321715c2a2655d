"""Lessons for the maze's predictors: what agents see on their ways, and where the oracle would go from there.

Agents start anywhere, make the oracle's moves with noise that lasts a few steps, and so learn how to come back. The
oracle is that of a world whose barriers are a little thicker, or its ways would graze every corner.

Glossary: ``B`` agents side by side, ``T`` steps, ``n`` moves of a plan, ``h`` cells of a way ahead.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from geofold.core.domain import Prediction
from geofold.learn.maze_predictor import Demonstrations
from geofold.maze.domain import MOVES, MazeDomain
from geofold.maze.episode import REACHED
from geofold.maze.fields import STEP, capped
from geofold.maze.geodesic import Oracle
from geofold.maze.layouts import CELLS
from geofold.maze.world import World, make_world

AGENTS, LENGTH = 16, 64
"""Ways that are shown in a world, and their steps."""
THICKER = 1.9
"""Cells that the ways shown keep from barriers: as many as every world keeps open."""
NOISE, LASTS = 0.35, 0.8
"""Standard deviation of the noise on a move, in steps, and how much of it goes on in the next."""
AHEAD = 28
"""Cells of the oracle's way that a plan is cut from: enough for eight steps from one cell to the next."""


def lessons(number: int, *, seed: int = 0) -> Demonstrations:
    """Ways through one world by number; every second one has corridors."""
    rng = np.random.default_rng([seed, number])
    world = make_world(int(rng.integers(2**31)), ("world", "corridors")[number % 2])
    domain = MazeDomain.of([world], world.targets, senses=True)
    guide = Guide(world)
    scene = torch.zeros(AGENTS, dtype=torch.long)
    state = domain.start(torch.as_tensor(guide.places(rng, AGENTS)), scene)
    noise = torch.zeros(AGENTS, 2, dtype=torch.float64)
    going = torch.ones(AGENTS, dtype=torch.bool)
    seen, plans, known = [], [], []
    for _ in range(LENGTH):
        plan = guide.plan(state.here.position)
        seen.append(domain.observe(state, None))
        plans.append(plan.flatten(1))
        known.append(going)
        fresh = NOISE * torch.as_tensor(rng.standard_normal((AGENTS, 2)))
        noise = LASTS * noise + (1 - LASTS**2) ** 0.5 * fresh
        move = capped(STEP * (plan[:, 0] + noise), state.here.slope)
        state = domain.commit(Prediction(move, torch.ones_like(move), torch.ones_like(going)), state)
        going = going & ((state.here.position - domain.targets[0]).norm(dim=-1) > REACHED)
    return Demonstrations(*(torch.stack(part, 1) for part in (seen, plans, known)))


class Guide:
    """Plans along the shortest ways to a world's target."""

    def __init__(self, world: World) -> None:
        free = ndimage.distance_transform_edt(~world.solid) >= THICKER
        column, row = (world.targets[0] * CELLS).astype(int)
        found, before = dijkstra(
            Oracle.of(free, world.heights).graph, indices=row * CELLS + column, return_predecessors=True
        )
        linked = np.isfinite(found).reshape(CELLS, CELLS)
        _, nearest = ndimage.distance_transform_edt(~linked, return_indices=True)
        self._enter = nearest[0] * CELLS + nearest[1]
        self._onward = np.where(before < 0, np.arange(CELLS**2), before)
        self._cells, self._relief = np.flatnonzero(linked), world.relief

    def places(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Points (count, 2) anywhere on ground from which there is a way."""
        cells = self._cells[rng.integers(len(self._cells), size=count)]
        return np.stack([cells % CELLS + 0.5, cells // CELLS + 0.5], -1) / CELLS

    def plan(self, position: Tensor) -> Tensor:
        """Moves (B, n, 2) in steps that lead points (B, 2) along their ways at full pace, and stop at the target."""
        column, row = np.clip((position.numpy() * CELLS).astype(int), 0, CELLS - 1).T
        cell, way = self._enter[row, column], []
        for _ in range(AHEAD):
            # from where it is linked an agent heads for the next cell, not for the middle of its own
            cell = self._onward[cell]
            way.append(np.stack([cell % CELLS + 0.5, cell // CELLS + 0.5], -1) / CELLS)
        points = torch.cat([position[:, None], torch.as_tensor(np.stack(way, 1))], 1)
        height = self._relief.height(points, torch.zeros(len(points), dtype=torch.long))
        apart = (points.diff(dim=1).square().sum(-1) + height.diff(dim=1).square()).sqrt()
        along = torch.cat([apart.new_zeros(len(apart), 1), apart.cumsum(1)], 1).contiguous()
        wanted = (STEP * torch.arange(1, MOVES + 1, dtype=along.dtype)).expand(len(along), -1)
        wanted = wanted.minimum(along[:, -1:]).contiguous()
        end = torch.searchsorted(along, wanted).clamp(1, AHEAD)
        rows = torch.arange(len(along))[:, None]
        before, after = along[rows, end - 1], along[rows, end]
        share = ((wanted - before) / (after - before).clamp_min(1e-12)).clamp(0, 1)[..., None]
        places = points[rows, end - 1] + share * (points[rows, end] - points[rows, end - 1])
        return torch.cat([position[:, None], places], 1).diff(dim=1) / STEP
