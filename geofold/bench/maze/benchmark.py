"""The maze benchmark: agents on shared episodes of 256 steps, during which an obstacle is moved.

An episode has a world, eight targets one after the other, and at most one drag of an obstacle: one case without a drag
and nine sizes and times are used in rotation. A target that is not reached within `MAX_LEG_STEPS` steps is given up and
counts as a failure of that many steps; a target that is not decided at the end of the episode is ignored.

A job is a batch of episodes, which all agents run one after another, in one process, on one thread, one row per
episode. Steps are timed separately, one row at a time, on the first episodes (panel `clock`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from geofold.bench.common.records import Records, gather
from geofold.bench.maze.agents.registry import AGENTS, CONFIGURATIONS, MazeAgent, agent_named, require_predictors
from geofold.bench.maze.hotspots import ELASTIC, PREDICTOR, count_hotspots
from geofold.bench.maze.tables import summarise
from geofold.maze.episode import EPISODE_STEPS, run_episodes
from geofold.maze.episode_log import EpisodeRecord, EpisodeSetup
from geofold.maze.worlds.world import DRAG_LENGTHS, DRAG_STEPS, make_world

DEFAULT_EPISODES, QUICK_EPISODES, DEFAULT_SEEDS = 256, 10, 5
TARGETS_PER_WORLD, MAX_LEG_STEPS = 8, 96
GRID_EPISODES, TIMED_EPISODES = 90, 24
"""Episodes of a seed that are also run with the configurations of the budget grid, and (first seed) with timing."""
EPISODES_PER_JOB = 32
"""Number of episodes in a job."""
BUDGET_STEPS = 64
"""Steps of GeoSSM whose mean time is the time limit of iLQR-lite."""
TEST_WORLDS, TUNING_WORLDS = 1_000_000, 0
"""Numbers of the first world of the test split and of the tuning split."""
WORLD, MAZE, GRID, CLOCK = "world", "corridors", "grid", "clock"
CASES: tuple[tuple[int | None, str | None], ...] = (
    (None, None),
    *((at, size) for size in DRAG_LENGTHS for at in DRAG_STEPS),
)
STREAMERS = ("transformer", "vanilla_ssm", "ssm_attention", *ELASTIC)
"""Agents of the ESM paper's table, which are run in corridors (`geofold.bench.maze.corridors`)."""
WORKERS = 2


@dataclass(frozen=True)
class Episode:
    """An episode of a panel: world, and step and size of the drag."""

    panel: str
    world: int
    move_at: int | None
    drag: str | None

    @property
    def key(self) -> str:
        """Key of its records."""
        return f"{self.panel}/{self.world}"

    @property
    def walk(self) -> EpisodeSetup:
        """World and drag of the episode."""
        world = make_world(self.world, MAZE if self.panel == MAZE else WORLD, targets=TARGETS_PER_WORLD)
        return EpisodeSetup(world, self.move_at, self.drag or "large")


def agents_of(panel: str) -> tuple[MazeAgent, ...]:
    """Agents that run a panel."""
    if panel == GRID:
        return CONFIGURATIONS
    return tuple(agent for agent in AGENTS if panel != MAZE or agent.name in STREAMERS)


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Run what is not in the records yet, then write tables, plots and summary.

    A quick or limited run takes the tuning worlds.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run ten episodes of one seed.
    limit : int or None
        Number of episodes per seed.
    seeds : int or None
        Number of seeds, five by default.
    seed : int
        First of the seeds.

    Raises
    ------
    OptionError
        If the weights of a predictor are missing.
    """
    require_predictors()
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    count = limit or (QUICK_EPISODES if quick else DEFAULT_EPISODES)
    seed_count = seeds or (1 if quick else DEFAULT_SEEDS)
    selected = make_episodes(count, seed_count, seed, TUNING_WORLDS if tuning else TEST_WORLDS)
    gather(records, "maze", run_batch, list(make_jobs(e for e in selected if not records.has(e.key, "done"))), WORKERS)
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def make_episodes(count: int, seeds: int, first: int, base: int) -> Iterator[Episode]:
    """Yield the episodes of all panels but the corridors.

    Parameters
    ----------
    count, seeds : int
        Number of episodes of a seed, and of seeds.
    first : int
        First seed.
    base : int
        Number of the first world of the split.
    """
    for seed in range(first, first + seeds):
        for number in range(count):
            world, (at, size) = base + DEFAULT_EPISODES * seed + number, CASES[number % len(CASES)]
            yield Episode(WORLD, world, at, size)
            if number < GRID_EPISODES and at is not None:
                yield Episode(GRID, world, at, size)
            if number < TIMED_EPISODES and seed == first:
                yield Episode(CLOCK, world, at, size)


def make_jobs(selected: Iterable[Episode]) -> Iterator[tuple[str, tuple[Episode, ...]]]:
    """Yield panels with batches of their episodes; timed episodes come last, one per batch."""
    panels: dict[str, list[Episode]] = {panel: [] for panel in (WORLD, MAZE, GRID, CLOCK)}
    for episode in selected:
        panels[episode.panel].append(episode)
    for panel, panel_episodes in panels.items():
        rows = 1 if panel == CLOCK else EPISODES_PER_JOB
        for start in range(0, len(panel_episodes), rows):
            yield panel, tuple(panel_episodes[start : start + rows])


def run_batch(panel: str, batch: tuple[Episode, ...]) -> list[tuple[str, str, dict[str, Any]]]:
    """Run all agents on a batch; a last record for each episode marks it as done."""
    walks = [episode.walk for episode in batch]
    rows: list[tuple[str, str, dict[str, Any]]] = []
    unassisted: list[EpisodeRecord] = []
    budget = time_geossm(walks) if panel == CLOCK else math.inf
    for agent in agents_of(panel):
        parts = agent.timed(budget) if panel == CLOCK else agent.parts()
        if panel == CLOCK:  # the first step of a process includes loading
            run_episodes(walks, parts, steps=2, with_features=True)
        runs = run_episodes(walks, parts, leg_steps=MAX_LEG_STEPS, with_features=True, steps=EPISODE_STEPS)
        unassisted = runs if agent.name == PREDICTOR else unassisted
        for number, (episode, run) in enumerate(zip(batch, runs, strict=True)):
            numbers = {"panel": panel, "move_at": episode.move_at, "drag": episode.drag, **measure_run(run)}
            numbers |= {**time_steps(run), "budget": round(budget, 3)} if panel == CLOCK else {}
            if panel == MAZE and agent.name in ELASTIC:
                numbers |= count_hotspots(run, unassisted[number])
            rows.append((episode.key, agent.name, numbers))
    return [*rows, *((episode.key, "done", {}) for episode in batch)]


def time_geossm(walks: list[EpisodeSetup]) -> float:
    """Time (ms) of a step of GeoSSM in the episodes that are timed next, the time limit of iLQR-lite."""
    agent = agent_named("geossm")
    run_episodes(walks, agent.parts(), steps=2, with_features=True)
    runs = run_episodes(walks, agent.parts(), steps=BUDGET_STEPS, with_features=True)
    return float(np.mean([run.milliseconds.mean() for run in runs]))


def measure_run(run: EpisodeRecord) -> dict[str, Any]:
    """Measure an episode: means over its targets."""
    legs = [leg for leg in run.legs if leg.reached or leg.ended - leg.began >= MAX_LEG_STEPS]
    total = max(len(legs), 1)
    return {
        "targets": len(legs),
        "success": sum(leg.reached for leg in legs) / total if legs else None,
        "steps": sum(leg.ended - leg.began if leg.reached else MAX_LEG_STEPS for leg in legs) / total if legs else None,
        "regret": sum(leg.regret for leg in legs) / total if legs else None,
        "collisions": int(run.bumps[-1]) / total,
        "made": len(run.inner),
        "inner": int(run.inner.sum()),
    }


def time_steps(run: EpisodeRecord) -> dict[str, Any]:
    """CPU seconds of an episode, and wall time (ms) of every step."""
    return {"cpu": round(float(run.seconds.sum()), 5), "ms": [round(float(ms), 3) for ms in run.milliseconds]}
