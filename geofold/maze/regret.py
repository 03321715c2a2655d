"""How good a way to a target was, beside the oracle's. Points (x, y) are in sides of the world, lengths in steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from geofold.maze.fields import STEP_LENGTH
from geofold.maze.geodesic import Oracle
from geofold.maze.world import World


@dataclass(frozen=True)
class Leg:
    """The way to one target.

    Attributes
    ----------
    target : (2,)
    began, ended : int
        Steps; `ended` is the first one after the leg.
    reached : bool
    bumps : int
        Moves that a barrier ended.
    shortest : float
        Steps that the oracle needs at full pace. If the obstacle was dragged meanwhile, the way from there on is that
        around the new place, since nobody could know.
    regret : float
        Steps that were lost against it, as a share of `shortest`; those that are still to go are lost, too.
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
    """Distances (n, n) to a target; agents that walk the same world share them."""
    return world.oracle().field(np.array([x, y]))


@dataclass(frozen=True)
class OpenLeg:
    """A leg that is not over. Build with `Heading.of`."""

    target: np.ndarray
    began: int
    shortest: float
    left: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, world: World, target: np.ndarray, position: np.ndarray, step: int) -> OpenLeg:
        """A leg begins."""
        left = _distance_field(world, *target.tolist())
        return cls(target, step, Oracle.length(left, position) / STEP_LENGTH, left)

    def over(self, world: World, position: np.ndarray) -> OpenLeg:
        """The same leg over another ground from here on."""
        after = OpenLeg.of(world, self.target, position, self.began)
        return replace(after, shortest=self.shortest - self.remaining_steps(position) + after.shortest)

    def remaining_steps(self, position: np.ndarray) -> float:
        """Steps from a point to the target."""
        return Oracle.length(self.left, position) / STEP_LENGTH

    def ended(self, position: np.ndarray, step: int, reached: bool, bumps: int) -> Leg:
        """The leg is over, by arrival or not."""
        lost = step - self.began + self.remaining_steps(position) - self.shortest
        return Leg(self.target, self.began, step, reached, bumps, self.shortest, lost / max(self.shortest, 1.0))
