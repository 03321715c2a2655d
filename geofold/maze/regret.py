"""Regret of a path to a target compared with the shortest path. Points (x, y) are in sides, lengths in steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.geodesic import Oracle
from geofold.maze.worlds.world import World


@dataclass(frozen=True)
class Leg:
    """Completed path to one target.

    Attributes
    ----------
    target : (2,)
    began, ended : int
        First step of the leg, and first step after it.
    reached : bool
    bumps : int
        Number of moves that a barrier stopped.
    shortest : float
        Length of the shortest path (steps). After a drag of the obstacle it continues with the shortest path around
        the new position, since the drag was not predictable.
    regret : float
        Steps made in excess of `shortest`, relative to it; the remaining distance of an unreached target counts too.
    """

    target: np.ndarray
    began: int
    ended: int
    reached: bool
    bumps: int
    shortest: float
    regret: float


@lru_cache(maxsize=512)
def _distance_field(world: World, x: float, y: float) -> np.ndarray:
    """Distances (n, n) to a target, cached for all agents in the same world."""
    return world.oracle().distance_field(np.array([x, y]))


@dataclass(frozen=True)
class OpenLeg:
    """Leg that is not completed yet. Create with `OpenLeg.of`.

    Attributes
    ----------
    target : (2,)
    began : int
        First step.
    shortest : float
        Length of the shortest path (steps).
    distances : (n, n)
        Distances to the target in the current state of the world (sides).
    """

    target: np.ndarray
    began: int
    shortest: float
    distances: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, world: World, target: np.ndarray, position: np.ndarray, step: int) -> OpenLeg:
        """Start a leg to a target from a position (2,) at a step.

        Parameters
        ----------
        world : World
            World of the episode.
        target, position : (2,)
            Target and current position (sides).
        step : int
            Current step.
        """
        distances = _distance_field(world, *target.tolist())
        return cls(target, step, Oracle.distance_at(distances, position) / STEP_LENGTH, distances)

    def continue_in(self, world: World, position: np.ndarray) -> OpenLeg:
        """Leg that continues from a position (2,) in a changed world."""
        after = OpenLeg.of(world, self.target, position, self.began)
        return replace(after, shortest=self.shortest - self.remaining_steps(position) + after.shortest)

    def remaining_steps(self, position: np.ndarray) -> float:
        """Length of the shortest path from a position (2,) to the target (steps)."""
        return Oracle.distance_at(self.distances, position) / STEP_LENGTH

    def close(self, position: np.ndarray, step: int, reached: bool, bumps: int) -> Leg:
        """Complete the leg.

        Parameters
        ----------
        position : (2,)
            Last position.
        step : int
            First step after the leg.
        reached : bool
        bumps : int
            Number of moves that a barrier stopped.
        """
        lost = step - self.began + self.remaining_steps(position) - self.shortest
        return Leg(self.target, self.began, step, reached, bumps, self.shortest, lost / max(self.shortest, 1.0))
