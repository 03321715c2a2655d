"""Maze as a domain of the controller: a plan of moves over curved ground, towards visible waypoints of a route.

Glossary: ``S`` scenes (a world in its current state, and one target), ``B`` rows, ``n`` moves of a plan. A latent is a
plan (`geofold.maze.plan`) of which the first move is made; its pullback metric is the surface metric. Lengths are in
sides of the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, LossWithGradient, Prediction
from geofold.core.tangent import Euclid
from geofold.maze.cost import PlanCost, StraightRollout
from geofold.maze.features import featurise
from geofold.maze.plan import PlanDecoder, PlanOrigin
from geofold.maze.worlds.arcs import walk
from geofold.maze.worlds.coarse_map import CoarseMap
from geofold.maze.worlds.fields import Fields
from geofold.maze.worlds.world import World

PLAN_MOVES = 8
"""Number of moves of a plan, enough to turn away from a barrier at full pace."""


@dataclass(frozen=True)
class MazeGoal:
    """Goal of reaching the target of the scene.

    Attributes
    ----------
    target, ground : int
        Counters of target and barrier changes. A goal that differs from the last one resets the trust radius.
    """

    target: int = 0
    ground: int = 0


class MazeState(NamedTuple):
    """State of the agents.

    Attributes
    ----------
    origin : PlanOrigin
        Position, height and slope of the ground, and scene.
    rollout : StraightRollout
        Reference for the cost of the next plan.
    bumps : (B,) int
        Number of moves that a barrier has stopped.
    """

    origin: PlanOrigin
    rollout: StraightRollout
    bumps: Tensor


@dataclass(frozen=True)
class MazeDomain:
    """Domain of several scenes. Create with `MazeDomain.of`.

    Attributes
    ----------
    targets : (S, 2)
    with_features : bool
        Whether `observe` returns all features of a trained predictor, or position and last move only.
    """

    fields: Fields
    plan: PlanDecoder
    cost: PlanCost
    targets: Tensor
    coarse_map: CoarseMap
    with_features: bool = False

    @classmethod
    def of(
        cls,
        worlds: list[World],
        targets: np.ndarray,
        *,
        moves: int = PLAN_MOVES,
        cost: PlanCost | None = None,
        with_features: bool = False,
    ) -> MazeDomain:
        """Domain of scenes.

        Parameters
        ----------
        worlds : list of World
            World of each scene, in its current state.
        targets : (S, 2)
        moves : int
            Number of moves of a plan.
        cost : PlanCost or None
            None: the default weights.
        with_features : bool
            See the class.
        """
        fields = Fields.of(worlds)
        coarse_map = CoarseMap.of(worlds, targets)
        plan = PlanDecoder(fields.relief, moves)
        return cls(
            fields, plan, cost or PlanCost(), torch.as_tensor(targets, dtype=torch.float64), coarse_map, with_features
        )

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent: two coordinates for each move."""
        return 2 * self.plan.moves

    @property
    def space(self) -> Euclid:
        """Euclidean space, since moves are vectors."""
        return Euclid()

    def start(self, position: Tensor, scene: Tensor) -> MazeState:
        """State of agents at rest at positions (B, 2) in scenes (B,)."""
        return self._state_at(position, scene, torch.zeros_like(position), torch.zeros_like(scene))

    def resume(self, state: MazeState, scene: Tensor) -> MazeState:
        """State of the agents of another domain in scenes (B,) of this one, after a change of target or barriers."""
        return self._state_at(state.origin.position, scene, state.rollout.last, state.bumps)

    def _state_at(self, position: Tensor, scene: Tensor, last: Tensor, bumps: Tensor) -> MazeState:
        height, slope = self.fields.relief.height_and_slope(position[:, None], scene)
        origin = PlanOrigin(position, height, slope[:, 0], scene)
        aims = self.coarse_map.waypoints(position, scene, self.fields)
        return MazeState(origin, self.cost.straight_rollout(position, origin.slope, aims, last, self.plan.moves), bumps)

    def observe(self, state: MazeState, goal: MazeGoal | None) -> Tensor:
        """Features of the surroundings (`geofold.maze.features`), or position and last move, (B, F)."""
        origin, rollout = state.origin, state.rollout
        if not self.with_features:
            return torch.cat([origin.position, rollout.last], -1)
        target = self.targets[origin.scene]
        return featurise(
            self.fields, origin.position, origin.scene, rollout.waypoint, target, rollout.last, origin.slope
        )

    def decode(self, z: Tensor, state: MazeState) -> Prediction:
        """Prediction of plans z, see `PlanDecoder`."""
        return self.plan.decode(z, state.origin)

    def expand(self, z: Tensor, state: MazeState) -> Expansion:
        """Prediction as in `decode`, with its derivatives."""
        return self.plan.expand(z, state.origin)

    def loss(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> Loss:
        """Cost of a plan, see `PlanCost`."""
        return self.loss_and_gradient(prediction, state, goal).loss

    def loss_and_gradient(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> LossWithGradient:
        """Cost of a plan and its gradient."""
        return self.cost.loss_and_gradient(prediction.mean, state.rollout, state.origin.scene, self.fields)

    def commit(self, prediction: Prediction, state: MazeState) -> MazeState:
        """Make the first move of the plan, over an arc of its length, up to the first barrier on its path."""
        origin, valid = state.origin, prediction.valid
        tangent = torch.where(valid[:, None], prediction.mean[:, :2], 0.0)
        move = walk(self.fields.relief, origin.position, tangent, origin.slope, origin.scene)
        fraction, stopped = self.fields.free_fraction(origin.position, move, origin.scene)
        move = fraction[:, None] * move
        last = torch.where(valid[:, None], move, state.rollout.last)
        return self._state_at(origin.position + move, origin.scene, last, state.bumps + stopped.to(state.bumps))

    def select(self, state: MazeState, rows: Tensor) -> MazeState:
        """State whose row k is row rows[k] of `state`."""
        return MazeState(
            PlanOrigin(*(part[rows] for part in state.origin)),
            StraightRollout(*(part[rows] for part in state.rollout)),
            state.bumps[rows],
        )
