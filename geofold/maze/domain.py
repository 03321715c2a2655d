"""The maze as a domain of the controller: a plan of moves over curved ground, towards what is in sight of the target.

Glossary: ``S`` scenes (a world as it stands, and one target), ``B`` rows, ``n`` moves of a plan. A latent is a plan
(`plan`): eight moves look ahead as far as a streaming step needs, the first of them is made, and the metric that
comes of their decoding is the surface metric. Lengths are in sides of the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, LossWithGradient, Prediction
from geofold.core.tangent import Euclid
from geofold.maze.coarse_map import CoarseMap
from geofold.maze.cost import PlanCost, StraightRollout
from geofold.maze.features import featurise
from geofold.maze.fields import Fields
from geofold.maze.plan import PlanDecoder, PlanOrigin
from geofold.maze.world import World

PLAN_MOVES = 8


@dataclass(frozen=True)
class MazeGoal:
    """To reach the target of the scene.

    `target` and `ground` count what has changed on the way, other targets and other barriers: a goal that differs
    lets the controller forget the radius that it had learned.
    """

    target: int = 0
    ground: int = 0


class MazeState(NamedTuple):
    """Where the agents are.

    here : position, height and slope of the ground, scene
    march : what the next plan is judged by
    bumps : (B,) int, moves that ended at a barrier so far
    """

    origin: PlanOrigin
    rollout: StraightRollout
    bumps: Tensor


@dataclass(frozen=True)
class MazeDomain:
    """Scenes for a controller. Build with `MazeDomain.of`.

    Attributes
    ----------
    targets : (S, 2)
    senses : bool
        Whether `observe` tells all that a trained predictor reads, or only what costs nothing.
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
        """Domain of scenes: worlds as they stand and the targets (S, 2) in them."""
        fields = Fields.of(worlds)
        coarse_map = CoarseMap.of(worlds, targets)
        plan = PlanDecoder(fields.relief, moves)
        return cls(
            fields, plan, cost or PlanCost(), torch.as_tensor(targets, dtype=torch.float64), coarse_map, with_features
        )

    @property
    def latent_dim(self) -> int:
        """Two for each move."""
        return 2 * self.plan.moves

    @property
    def space(self) -> Euclid:
        """Moves are plain vectors."""
        return Euclid()

    def start(self, position: Tensor, scene: Tensor) -> MazeState:
        """Agents at rest at points (B, 2) of the scenes (B,)."""
        return self._at(position, scene, torch.zeros_like(position), torch.zeros_like(scene))

    def resume(self, state: MazeState, scene: Tensor) -> MazeState:
        """Agents of another domain's state where they are, in scenes of this one: a target or a barrier is new."""
        return self._at(state.origin.position, scene, state.rollout.last, state.bumps)

    def _at(self, position: Tensor, scene: Tensor, last: Tensor, bumps: Tensor) -> MazeState:
        height, slope = self.fields.relief.height_and_slope(position[:, None], scene)
        origin = PlanOrigin(position, height, slope[:, 0], scene)
        aims = self.coarse_map.waypoints(position, scene, self.fields)
        return MazeState(origin, self.cost.straight_rollout(position, origin.slope, aims, last, self.plan.moves), bumps)

    def observe(self, state: MazeState, goal: MazeGoal | None) -> Tensor:
        """What is around (`sense`), or the position and the last move."""
        origin, rollout = state.origin, state.rollout
        if not self.with_features:
            return torch.cat([origin.position, rollout.last], -1)
        target = self.targets[origin.scene]
        return featurise(self.fields, origin.position, origin.scene, rollout.next, target, rollout.last, origin.slope)

    def decode(self, z: Tensor, state: MazeState) -> Prediction:
        """Moves over the surface, see `PlanDecoder`."""
        return self.plan.decode(z, state.origin)

    def expand(self, z: Tensor, state: MazeState) -> Expansion:
        """The same with its derivatives."""
        return self.plan.expand(z, state.origin)

    def loss(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> Loss:
        """See `PlanCost`."""
        return self.loss_and_gradient(prediction, state, goal).loss

    def loss_and_gradient(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> LossWithGradient:
        """The same with its gradient."""
        return self.cost.loss_and_gradient(prediction.mean, state.rollout, state.origin.scene, self.fields)

    def commit(self, prediction: Prediction, state: MazeState) -> MazeState:
        """Make the first move of the plan; a barrier in the way ends it."""
        origin, valid = state.origin, prediction.valid
        move = torch.where(valid[:, None], prediction.mean[:, :2], 0.0)
        share, stopped = self.fields.free_fraction(origin.position, move, origin.scene)
        move = share[:, None] * move
        last = torch.where(valid[:, None], move, state.rollout.last)
        return self._at(origin.position + move, origin.scene, last, state.bumps + stopped.to(state.bumps))

    def select(self, state: MazeState, rows: Tensor) -> MazeState:
        """The state with its rows rearranged."""
        return MazeState(
            PlanOrigin(*(part[rows] for part in state.origin)),
            StraightRollout(*(part[rows] for part in state.rollout)),
            state.bumps[rows],
        )
