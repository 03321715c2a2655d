"""Agents of the comparison on steep ground, with options that are tuned for each slope by the same number of trials.

Agents with a metric differ in nothing else: same frozen predictor and loss, no curvature of the loss, one correction at
each step, no look-ahead (H = 1). Each has a step fraction `first` and a trust radius, and all but the Euclidean one a
damping. `geofold bench tune --part relief` writes the best options to `tuned_relief.json` in this folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from geofold.bench.maze.agents.ilqr import IlqrLite
from geofold.bench.maze.agents.registry import plan_covariance
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.errors import OptionError
from geofold.learn.maze_predictor import shipped_predictor
from geofold.maze.episode import StepController, maze_controller

TUNED = Path(__file__).with_name("tuned_relief.json")
Options = dict[str, float]


@dataclass(frozen=True)
class TunedAgent:
    """An agent with positive options.

    Attributes
    ----------
    name, note : str
        Name in tables, and description.
    make : callable
        Makes the controller from options by name.
    start : dict of str to float
        Options from which the tuning starts; empty if there are none.
    """

    name: str
    note: str
    make: Callable[..., StepController]
    start: Options = field(default_factory=dict)

    def tuned(self, slope: float) -> StepController:
        """Make the controller with the options that were tuned for a slope."""
        return self.make(**tuned_options()[f"{slope:g}"][self.name]["options"] if self.start else {})


def tuned_options() -> dict[str, dict[str, Any]]:
    """Read the options by slope and agent.

    Raises
    ------
    OptionError
        If the agents have not been tuned.
    """
    if not TUNED.exists():
        raise OptionError(
            "a comparison on steep ground before its agents are tuned",
            f"geofold/bench/maze/agents/{TUNED.name}",
            "run geofold bench tune --part relief first",
        )
    return dict(json.loads(TUNED.read_text(encoding="utf-8")))


def _predictor_alone(kind: str) -> Controller:
    return maze_controller(shipped_predictor(kind), metric=EuclideanMetric(), gate=FixedGate(0))


def _corrected(metric: Metric, first: float, radius: float) -> Controller:
    region = TrustRegion(radius=radius, largest=max(radius, 8.0), first=first)
    return maze_controller(shipped_predictor("selective"), metric=metric, gate=FixedGate(1), trust_region=region)


def _euclidean(first: float, radius: float) -> Controller:
    return _corrected(EuclideanMetric(), first, radius)


def _latent(damping: float, first: float, radius: float) -> Controller:
    return _corrected(replace(plan_covariance(), damping=damping), first, radius)


def _frozen(damping: float, first: float, radius: float) -> Controller:
    return _corrected(Pullback(damping=damping, adapt=False), first, radius)


def _adapted(damping: float, first: float, radius: float) -> Controller:
    return _corrected(Pullback(damping=damping), first, radius)


def _ilqr(effort: float, damping: float) -> IlqrLite:
    return IlqrLite(shipped_predictor("selective"), effort=effort, damping=damping)


EUCLIDEAN, ADAPTED = "euclidean_tr", "geossm"
TUNED_AGENTS: tuple[TunedAgent, ...] = (
    TunedAgent("transformer", "window 128, no correction", lambda: _predictor_alone("transformer")),
    TunedAgent("vanilla_ssm", "selective, no correction", lambda: _predictor_alone("selective")),
    TunedAgent(EUCLIDEAN, "Euclidean metric", _euclidean, {"first": 1.0, "radius": 1.0}),
    TunedAgent(
        "latent_precondition",
        "frozen covariance of plans",
        _latent,
        {"damping": 1.0, "first": 1.0, "radius": 1.0},
    ),
    TunedAgent(
        "geossm_no_adapt",
        "pullback metric of the first step",
        _frozen,
        {"damping": 1.0, "first": 1.0, "radius": 1.0},
    ),
    TunedAgent(
        ADAPTED, "pullback metric, averaged along the stream", _adapted, {"damping": 1.0, "first": 1.0, "radius": 1.0}
    ),
    TunedAgent("ilqr_lite", "one Riccati sweep, H = 3", _ilqr, {"effort": 16.0, "damping": 0.1}),
)
