"""All agents of the maze benchmark, in the order of its tables.

All have the same features (`geofold.maze.features`) and move by the same `commit`; all except the reactive one use
predictors that were trained on the same paths of the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from geofold import resources
from geofold.bench.maze.agents.ilqr import IlqrLite
from geofold.bench.maze.agents.rmp import Reactive
from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.covariance import LatentCovariance
from geofold.core.gate import FixedGate, Gate
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.errors import OptionError
from geofold.learn.maze_predictor import PREDICTORS, shipped_predictor, weights_name
from geofold.learn.pretrained import MAZE_GATE_WEIGHTS, load_gate
from geofold.maze.demonstrations import demonstrate
from geofold.maze.episode import StepController, maze_controller

COVARIANCE_WORLDS, COVARIANCE_RANK = 8, 8
"""Number of worlds whose plans define the covariance of latents, and its rank."""
GRID = ((1e-4, 4, 0.95), (1e-3, 8, 0.98), (1e-2, 12, 0.995))
"""Damping lambda, rank r and decay beta of the budget grid (GeoSSM, Table 3)."""


@dataclass(frozen=True)
class MazeAgent:
    """A maze agent.

    Attributes
    ----------
    name, note : str
        Name in tables, and description.
    parts : callable
        Makes the controller, once for each batch of episodes.
    capped : callable or None
        Makes the controller for timed episodes from a time limit (ms), if it has one.
    """

    name: str
    note: str
    parts: Callable[[], StepController]
    capped: Callable[[float], StepController] | None = None

    def timed(self, budget: float) -> StepController:
        """Make the controller of a timed stream, with a time limit (ms) of its steps if it takes one."""
        return self.parts() if self.capped is None else self.capped(budget)


def require_predictors() -> None:
    """Check that the weights of all predictors are in the package's `maze` folder.

    Raises
    ------
    OptionError
        If one is missing.
    """
    for kind in PREDICTORS:
        try:
            resources.find("maze", weights_name(kind))
        except FileNotFoundError:
            raise OptionError(
                f"the maze benchmark without the weights of {kind}",
                f"geofold/data/maze/{weights_name(kind)} with its card",
                f"train it with geofold train maze --backbone {kind}, and put it there",
            ) from None


@cache
def plan_covariance() -> LatentCovariance:
    """Covariance of the demonstrated plans, scaled to a mean eigenvalue of one before lambda is added."""
    demonstrations = [demonstrate(number) for number in range(COVARIANCE_WORLDS)]
    plans = torch.cat([parameters.plan[parameters.known] for parameters in demonstrations])
    return LatentCovariance.of(plans / plans.std(), rank=COVARIANCE_RANK, decay=1.0, damping=1.0)


def _uncorrected(backbone: Callable[[], Backbone]) -> Callable[[], Controller]:
    """Make a controller that carries out predictions without corrections."""
    return lambda: maze_controller(backbone(), metric=EuclideanMetric(), gate=FixedGate(0))


def _corrected(metric: Callable[[], Metric], gate: Gate | None = None) -> Callable[[], Controller]:
    return lambda: maze_controller(shipped_predictor("selective"), metric=metric(), gate=gate or FixedGate(1))


def _ilqr(budget: float | None) -> IlqrLite:
    return IlqrLite(shipped_predictor("selective"), effort=16.0, damping=0.1, budget=budget)


def _trained_gate() -> Controller:
    gate = load_gate(resources.find("rivals", MAZE_GATE_WEIGHTS))
    return maze_controller(shipped_predictor("selective"), gate=gate)


def _grid_agent(damping: float, rank: int, decay: float) -> MazeAgent:
    name = f"grid_{damping:g}_{rank}_{decay:g}"
    sketch = _corrected(lambda: Pullback("fisher", rank=rank, damping=damping, decay=decay))
    return MazeAgent(name, f"lambda {damping:g}, r {rank}, beta {decay:g}", sketch)


# Options are the best of six trials each on tuning worlds 256-319: margin 0.5, 0.7, 1 x weight 4, 10 (rmp); radius 0.3,
# 0.5, 1, 2, 4, 8 (Euclidean); damping 0.3, 1, 3 x radius 1, 3 (latent); effort 1, 4, 16 x damping 0.001, 0.1 (iLQR);
# damping 0.001, 0.1, 1 x radius 1, 3 (GeoSSM, with and without adaptation). Predictors alone have no options; all were
# trained on the same number of batches.
AGENTS: tuple[MazeAgent, ...] = (
    MazeAgent("transformer", "window 128, streaming cache", _uncorrected(lambda: shipped_predictor("transformer"))),
    MazeAgent("vanilla_ssm", "selective, no correction", _uncorrected(lambda: shipped_predictor("selective"))),
    MazeAgent("rmp", "reactive: attraction and repulsions", _uncorrected(lambda: Reactive(margin=0.5))),
    MazeAgent("euclidean_tr", "selective, Euclidean metric, K = 1", _corrected(EuclideanMetric)),
    MazeAgent("latent_precondition", "selective, frozen covariance of plans, K = 1", _corrected(plan_covariance)),
    MazeAgent("ilqr_lite", "selective, one Riccati sweep, H = 3", lambda: _ilqr(None), capped=_ilqr),
    MazeAgent(
        "geossm_no_adapt",
        "its metric frozen after the first step",
        _corrected(lambda: Pullback(damping=1.0, adapt=False)),
    ),
    MazeAgent("geossm", "selective, pullback metric, K = 1", _corrected(lambda: Pullback(damping=0.1))),
    MazeAgent(
        "ssm_attention", "selective and windowed attention", _uncorrected(lambda: shipped_predictor("selective_window"))
    ),
    MazeAgent("esm", "GeoSSM, K by the gate that ships", lambda: maze_controller(shipped_predictor("selective"))),
    MazeAgent("esm_trained", "GeoSSM, K by a gate trained with a penalty on corrections", _trained_gate),
)
CONFIGURATIONS = tuple(_grid_agent(*parameters) for parameters in GRID)


def agent_named(name: str) -> MazeAgent:
    """Agent of `AGENTS` with a name."""
    return next(agent for agent in AGENTS if agent.name == name)
