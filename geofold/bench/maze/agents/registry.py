"""All agents of the maze benchmark, in the order of its tables. All see the same (`geofold.maze.features`), walk by the
same `commit`, and all but the reactive one are led by predictors that were trained on the same ways of the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from geofold import resources
from geofold.backbone.protocol import StreamingBackbone
from geofold.bench.maze.agents.ilqr import IlqrLite
from geofold.bench.maze.agents.rmp import Reactive
from geofold.core.backbone import Backbone
from geofold.core.controller import Controller
from geofold.core.covariance import LatentCovariance
from geofold.core.gate import FixedGate, Gate
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.errors import OptionError
from geofold.learn.maze_predictor import PREDICTORS, load_predictor, weights_name
from geofold.maze.demonstrations import lessons
from geofold.maze.episode import Stepping, maze_controller

BUDGET = 8.0
"""Wall clock of a step of iLQR-lite in milliseconds: what a step of GeoSSM takes alone on a core."""
GATHERED, RANK = 8, 8
"""Worlds whose plans make the covariance of latents, and its rank."""
GRID = ((1e-4, 4, 0.95), (1e-3, 8, 0.98), (1e-2, 12, 0.995))
"""lambda, r and beta of the budget grid (GeoSSM, Table 3)."""


@dataclass(frozen=True)
class MazeAgent:
    """An agent by name: what it is, and its parts, made once for each batch of episodes.

    Attributes
    ----------
    capped
        The parts where steps are timed, if others: with what keeps them within their time.
    """

    name: str
    note: str
    parts: Callable[[], Stepping]
    capped: Callable[[], Stepping] | None = None

    def timed(self) -> Stepping:
        """Parts of a stream that is timed."""
        return (self.capped or self.parts)()


@cache
def shipped(kind: str) -> StreamingBackbone:
    """A trained predictor, one of `KINDS`."""
    return load_predictor(resources.find("maze", weights_name(kind)))[0]


def require_predictors() -> None:
    """Weights of all predictors in the package's `maze` folder.

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
                f"the maze benchmark without the weights of {kind}", f"geofold/data/maze/{weights_name(kind)} with its "
                "card", f"train it with geofold train maze --backbone {kind}, and put it there",
            ) from None  # fmt: skip


@cache
def covariance() -> LatentCovariance:
    """Of the plans that the predictors were shown, its mean eigenvalue one before lambda is added."""
    shown = [lessons(number) for number in range(GATHERED)]
    plans = torch.cat([one.plan[one.known] for one in shown])
    return LatentCovariance.of(plans / plans.std(), rank=RANK, decay=1.0, damping=1.0)


def _led(backbone: Callable[[], Backbone]) -> Callable[[], Controller]:
    """What is predicted is done."""
    return lambda: maze_controller(backbone(), metric=EuclideanMetric(), gate=FixedGate(0))


def _corrected(metric: Callable[[], Metric], gate: Gate | None = None) -> Callable[[], Controller]:
    return lambda: maze_controller(shipped("selective"), metric=metric(), gate=gate or FixedGate(1))


def _ilqr(budget: float | None) -> IlqrLite:
    return IlqrLite(shipped("selective"), effort=16.0, damping=0.1, budget=budget)


def _on_grid(damping: float, rank: int, decay: float) -> MazeAgent:
    name = f"grid_{damping:g}_{rank}_{decay:g}"
    sketch = _corrected(lambda: Pullback("fisher", rank=rank, damping=damping, decay=decay))
    return MazeAgent(name, f"lambda {damping:g}, r {rank}, beta {decay:g}", sketch)


# Of six trials each on tuning worlds 256-319, the fewest steps: margin 0.5, 0.7, 1 x weight 4, 10 (rmp); radius 0.3,
# 0.5, 1, 2, 4, 8 (Euclidean); damping 0.3, 1, 3 x radius 1, 3 (latent); effort 1, 4, 16 x damping 0.001, 0.1 (iLQR);
# damping 0.001, 0.1, 1 x radius 1, 3 (GeoSSM, with and without adaptation). What only predicts has nothing to be tuned
# but its training, which had the same number of batches for all.
AGENTS: tuple[MazeAgent, ...] = (
    MazeAgent("transformer", "window 128, streaming cache", _led(lambda: shipped("transformer"))),
    MazeAgent("vanilla_ssm", "selective, no correction", _led(lambda: shipped("selective"))),
    MazeAgent("rmp", "reactive: attraction and repulsions", _led(lambda: Reactive(margin=0.5))),
    MazeAgent("euclidean_tr", "selective, Euclidean metric, K = 1", _corrected(EuclideanMetric)),
    MazeAgent("latent_precondition", "selective, frozen covariance of plans, K = 1", _corrected(covariance)),
    MazeAgent("ilqr_lite", "selective, one Riccati sweep, H = 3", lambda: _ilqr(None), capped=lambda: _ilqr(BUDGET)),
    MazeAgent(
        "geossm_no_adapt",
        "its metric frozen after the first step",
        _corrected(lambda: Pullback(damping=1.0, adapt=False)),
    ),
    MazeAgent("geossm", "selective, pullback metric, K = 1", _corrected(lambda: Pullback(damping=0.1))),
    MazeAgent("ssm_attention", "selective and windowed attention", _led(lambda: shipped("selective_window"))),
    MazeAgent("esm", "GeoSSM, K by the gate", lambda: maze_controller(shipped("selective"))),
)
CONFIGURATIONS = tuple(_on_grid(*one) for one in GRID)
