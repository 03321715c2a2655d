"""Where geometry pays: agents that differ in their metric only, on ground of every slope (GeoSSM's claim for mazes).

An episode has a world without drags and two targets one after the other; a third of the worlds have waves, ridges and
bowls each, and the same barriers on every slope. A target that is not reached within 96 steps times the mean stretch
sqrt(1 + slope^2 / 2) of the ground is a failure of that many steps. All agents run the same episodes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from geofold.bench.common.records import Records, gather
from geofold.bench.maze.agents.tuned import ADAPTED, TUNED_AGENTS, tuned_options
from geofold.bench.maze.relief_tables import summarise
from geofold.core.controller import Controller
from geofold.core.linearise import evaluate_loss, linearise
from geofold.core.state import ControllerState, StepInfo
from geofold.maze.episode import StepController, run_episodes
from geofold.maze.episode_log import EpisodeRecord, EpisodeSetup
from geofold.maze.worlds.relief import RELIEFS
from geofold.maze.worlds.world import World, make_world

SLOPES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Root mean squares of the slope."""
TARGETS_PER_WORLD, FLAT_LEG_STEPS = 2, 96
"""Targets of an episode, and steps on flat ground after which a target is given up."""
SPLITS = {"test": 2_000_000, "tuning": 3_000_000}
"""Numbers of the first world of a split."""
DEFAULT_SEEDS, DEFAULT_EPISODES, QUICK_EPISODES = 5, 12, 3
"""Number of seeds, and episodes of a seed at each slope."""
EPISODES_PER_JOB = 64
"""Number of episodes in a job, one row each."""
GEOMETRY_DAMPING = 1e-3
"""lambda (METHOD's default) with which condition numbers and angles are computed, whatever an agent uses."""
WORKERS = 2


@dataclass(frozen=True)
class Episode:
    """An episode: slope, number of the world, and number of targets."""

    slope: float
    world: int
    targets: int = TARGETS_PER_WORLD

    @property
    def key(self) -> str:
        """Key of its records."""
        return f"{self.slope:g}/{self.world}"

    @property
    def relief(self) -> str:
        """Kind of the ground."""
        return RELIEFS[self.world % len(RELIEFS)]

    @property
    def setup(self) -> EpisodeSetup:
        """World of the episode."""
        return EpisodeSetup(_world(self.world, self.relief, self.slope, self.targets))


@lru_cache(maxsize=64)
def _world(number: int, relief: str, slope: float, targets: int) -> World:
    """World of an episode, cached for all agents, like its oracle."""
    return make_world(number, targets=targets, relief=relief, slope=slope)


def leg_steps(slope: float) -> int:
    """Return the number of steps after which a target is given up on ground of a slope."""
    return round(FLAT_LEG_STEPS * (1 + slope**2 / 2) ** 0.5)


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Run what is not in the records yet, then write tables, plot and summary.

    A quick or limited run takes the tuning worlds.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run three episodes of one seed at each slope.
    limit : int or None
        Number of episodes per seed and slope.
    seeds : int or None
        Number of seeds, five by default.
    seed : int
        First of the seeds.

    Raises
    ------
    OptionError
        If the agents have not been tuned.
    """
    tuned_options()
    began, records = time.time(), Records(out)
    tuning = quick or limit is not None
    count = limit or (QUICK_EPISODES if quick else DEFAULT_EPISODES)
    base = SPLITS["tuning" if tuning else "test"]
    numbers = range(seed, seed + (seeds or (1 if quick else DEFAULT_SEEDS)))
    worlds = [base + DEFAULT_EPISODES * number + k for number in numbers for k in range(count)]
    jobs: list[tuple[tuple[Episode, ...]]] = []
    for slope in SLOPES:
        missing = [e for e in (Episode(slope, world) for world in worlds) if not records.has(e.key, "done")]
        jobs += [(tuple(missing[k : k + EPISODES_PER_JOB]),) for k in range(0, len(missing), EPISODES_PER_JOB)]
    gather(records, "maze", run_batch, jobs, WORKERS)
    summarise(records, SLOPES, "tuning" if tuning else "test", quick=tuning, began=began)


def run_batch(batch: tuple[Episode, ...]) -> list[tuple[str, str, dict[str, Any]]]:
    """Run all agents on episodes of one slope; a last record for each episode marks it as done."""
    slope, rows = batch[0].slope, list[tuple[str, str, dict[str, Any]]]()
    for agent in TUNED_AGENTS:
        controller = agent.tuned(slope)
        probe = GeometryProbe(controller) if agent.name == ADAPTED and isinstance(controller, Controller) else None
        runs = run_agent(probe or controller, batch)
        for episode, run in zip(batch, runs, strict=True):
            rows.append((episode.key, agent.name, {"relief": episode.relief, **measure_legs(run, slope)}))
        if probe is not None:
            rows.append((batch[0].key, "geometry", probe.medians()))
    return [*rows, *((episode.key, "done", {}) for episode in batch)]


def run_agent(controller: StepController, batch: Sequence[Episode]) -> list[EpisodeRecord]:
    """Run episodes of one slope in one batch."""
    most = leg_steps(batch[0].slope)
    setups = [episode.setup for episode in batch]
    return run_episodes(setups, controller, steps=batch[0].targets * most, leg_steps=most, with_features=True)


def measure_legs(run: EpisodeRecord, slope: float) -> dict[str, float]:
    """Measure an episode: means over its targets."""
    most, total = leg_steps(slope), len(run.legs)
    return {
        "steps": sum(leg.ended - leg.began if leg.reached else most for leg in run.legs) / total,
        "regret": round(sum(leg.regret for leg in run.legs) / total, 5),
        "success": sum(leg.reached for leg in run.legs) / total,
        "collisions": int(run.bumps[-1]) / total,
        "made": len(run.inner),
    }


@dataclass(eq=False)
class GeometryProbe:
    """Controller that also measures, at each step, how much its metric differs from the Euclidean one."""

    controller: Controller

    def __post_init__(self) -> None:
        self._conditions, self._angles = list[Tensor](), list[Tensor]()

    def init(self, domain: Any, state: Any) -> ControllerState:
        """Make the state before the first step."""
        return self.controller.init(domain, state)

    def step(self, domain: Any, state: ControllerState, goal: Any) -> tuple[ControllerState, StepInfo]:
        """Make one step of the controller, and measure its averaged metric and directions at the proposal."""
        with torch.no_grad():
            z, _ = self.controller.backbone.step(domain.observe(state.domain, goal), state.memory)
            gradient = linearise(domain, z, state.domain, evaluate_loss(domain, z, state.domain, goal)).gradient
        after, info = self.controller.step(domain, state, goal)
        factor = replace(self.controller.metric, damping=GEOMETRY_DAMPING).factor(after.metric)  # type: ignore[type-var]
        natural = factor.solve(gradient)
        cosine = torch.nn.functional.cosine_similarity(gradient, natural, dim=-1, eps=1e-12)
        self._conditions.append(factor.condition())
        self._angles.append(cosine.clamp(-1, 1).acos().rad2deg()[gradient.norm(dim=-1) > 0])
        return after, info

    def medians(self) -> dict[str, float]:
        """Medians over all steps: condition number, and angle (degrees) between natural and Euclidean direction."""
        parts = {"condition": torch.cat(self._conditions), "angle": torch.cat(self._angles)}
        return {name: round(float(values.median()), 4) for name, values in parts.items()} | {
            f"{name}_90": round(float(values.quantile(0.9)), 4) for name, values in parts.items()
        }
