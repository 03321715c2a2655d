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

from geofold.core.domain import Expansion, Loss, Prediction, Sloped
from geofold.core.tangent import Euclid
from geofold.maze.coarse_map import Chart
from geofold.maze.cost import March, Price
from geofold.maze.features import features
from geofold.maze.fields import Fields
from geofold.maze.plan import Here, Plan
from geofold.maze.world import World

MOVES = 8


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

    here: Here
    march: March
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
    plan: Plan
    price: Price
    targets: Tensor
    chart: Chart
    senses: bool = False

    @classmethod
    def of(
        cls,
        worlds: list[World],
        targets: np.ndarray,
        *,
        moves: int = MOVES,
        price: Price | None = None,
        senses: bool = False,
    ) -> MazeDomain:
        """Domain of scenes: worlds as they stand and the targets (S, 2) in them."""
        fields = Fields.of(worlds)
        chart = Chart.of(worlds, targets)
        plan = Plan(fields.relief, moves)
        return cls(fields, plan, price or Price(), torch.as_tensor(targets, dtype=torch.float64), chart, senses)

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

    def resumed(self, state: MazeState, scene: Tensor) -> MazeState:
        """Agents of another domain's state where they are, in scenes of this one: a target or a barrier is new."""
        return self._at(state.here.position, scene, state.march.last, state.bumps)

    def _at(self, position: Tensor, scene: Tensor, last: Tensor, bumps: Tensor) -> MazeState:
        height, slope = self.fields.relief.height_and_slope(position[:, None], scene)
        here = Here(position, height, slope[:, 0], scene)
        aims = self.chart.aims(position, scene, self.fields)
        return MazeState(here, self.price.march(position, here.slope, aims, last, self.plan.moves), bumps)

    def observe(self, state: MazeState, goal: MazeGoal | None) -> Tensor:
        """What is around (`sense`), or the position and the last move."""
        here, march = state.here, state.march
        if not self.senses:
            return torch.cat([here.position, march.last], -1)
        target = self.targets[here.scene]
        return features(self.fields, here.position, here.scene, march.next, target, march.last, here.slope)

    def decode(self, z: Tensor, state: MazeState) -> Prediction:
        """Moves over the surface, see `Plan`."""
        return self.plan.decode(z, state.here)

    def expand(self, z: Tensor, state: MazeState) -> Expansion:
        """The same with its derivatives."""
        return self.plan.expand(z, state.here)

    def loss(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> Loss:
        """See `Price`."""
        return self.sloped(prediction, state, goal).loss

    def sloped(self, prediction: Prediction, state: MazeState, goal: MazeGoal) -> Sloped:
        """The same with its gradient."""
        return self.price.sloped(prediction.mean, state.march, state.here.scene, self.fields)

    def commit(self, prediction: Prediction, state: MazeState) -> MazeState:
        """Make the first move of the plan; a barrier in the way ends it."""
        here, valid = state.here, prediction.valid
        move = torch.where(valid[:, None], prediction.mean[:, :2], 0.0)
        share, stopped = self.fields.reach(here.position, move, here.scene)
        move = share[:, None] * move
        last = torch.where(valid[:, None], move, state.march.last)
        return self._at(here.position + move, here.scene, last, state.bumps + stopped.to(state.bumps))

    def select(self, state: MazeState, rows: Tensor) -> MazeState:
        """The state with its rows rearranged."""
        return MazeState(
            Here(*(part[rows] for part in state.here)), March(*(part[rows] for part in state.march)), state.bumps[rows]
        )
