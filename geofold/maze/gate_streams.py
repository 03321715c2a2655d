"""Streams through random mazes, on which the gate is trained.

A stream begins anywhere, far enough from its target that it cannot arrive; its task loss is the distance that is left
on the surface, so that every step lost counts as one, and each collision as one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from geofold.core.controller import Controller
from geofold.core.gate import Gate
from geofold.learn.gate import GateCase
from geofold.maze.demonstrations import OraclePlanner, draw_world
from geofold.maze.domain import MazeDomain, MazeGoal, MazeState
from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.geodesic import Oracle

STREAM_STEPS, SPAN = 40, 4
"""Steps of a stream, and of a span with one K."""
MARGIN_STEPS = 6
"""Steps by which the target is further away than a stream is long."""
STARTS_TRIED = 64
"""Starts that are tried in a world."""
SEED_STREAM = 31
"""Part of the seed that makes these worlds others than those of the demonstrations."""


def maze_cases(count: int, controller: Callable[[Gate], Controller], gate: Gate, *, seed: int) -> Iterator[GateCase]:
    """Streams of one row each; worlds without a start that is far enough are skipped.

    Parameters
    ----------
    count : int
        Number of worlds.
    controller : callable
        Makes a controller for a gate.
    gate : Gate
    seed : int
        Seed of worlds and starts.
    """
    for number in range(count):
        stream = _draw_stream(number, seed)
        if stream is None:
            continue
        domain, start, distances = stream
        parts = controller(gate)
        state = parts.init(domain, start)
        yield GateCase(parts, domain, state, MazeGoal(), STREAM_STEPS, SPAN, _task_loss(distances))


@lru_cache(maxsize=128)
def _draw_stream(number: int, seed: int) -> tuple[MazeDomain, MazeState, np.ndarray] | None:
    """Domain, start and distances (n, n) to the target of a stream, cached for all gates."""
    rng = np.random.default_rng([seed, SEED_STREAM, number])
    world = draw_world(rng, number)
    distances = world.oracle().distance_field(world.targets[0])
    places = OraclePlanner(world).places(rng, STARTS_TRIED)
    far = (STREAM_STEPS + MARGIN_STEPS) * STEP_LENGTH
    starts = [place for place in places if far <= Oracle.distance_at(distances, place) < np.inf]
    if not starts:
        return None
    domain = MazeDomain.of([world], world.targets[:1], with_features=True)
    return domain, domain.start(torch.as_tensor(starts[0])[None], torch.zeros(1, dtype=torch.long)), distances


def _task_loss(distances: np.ndarray) -> Callable[[MazeState], Tensor]:
    def loss(state: MazeState) -> Tensor:
        left = [Oracle.distance_at(distances, place) for place in state.origin.position.numpy()]
        return torch.as_tensor(left) / STEP_LENGTH + state.bumps

    return loss
