"""The maze benchmark: agents side by side on shared episodes of 256 steps, while an obstacle is dragged.

An episode has a world, eight targets one after the other, and at most one drag: nine episodes of ten have one, each of
the nine sizes and times in turn. A target that is not reached within `LEG` steps is given up and counts as a failure of
so many steps; one that is still under way when the episode ends counts for nothing.

A job is a batch of episodes, which all agents play in turn, in one process, on one thread, a row of theirs for each.
Steps are timed apart, one row alone, on the first episodes (panel `clock`).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from geofold.bench.common.records import Records, gather
from geofold.bench.maze.agents.registry import AGENTS, CONFIGURATIONS, MazeAgent, require_predictors
from geofold.bench.maze.hotspots import ELASTIC, PREDICTOR, hotspots
from geofold.bench.maze.tables import summarise
from geofold.maze.episode import EPISODE_STEPS, run_episodes
from geofold.maze.episode_log import EpisodeRecord, EpisodeSetup
from geofold.maze.world import DRAG_LENGTHS, DRAG_STEPS, make_world

EPISODES, QUICK, SEEDS = 256, 10, 5
TARGETS, LEG = 8, 96
CORRIDORS, CONFIGURED, CLOCKED = 64, 90, 24
"""Episodes of a seed that are played in corridors, too, with the configurations of the budget grid, and of the first
seed alone, with the clock."""
ROWS = 32
"""Episodes of a job."""
TEST, TUNING = 1_000_000, 0
"""Worlds begin here."""
WORLD, MAZE, GRID, CLOCK = "world", "corridors", "grid", "clock"
CASES: tuple[tuple[int | None, str | None], ...] = (
    (None, None),
    *((at, size) for size in DRAG_LENGTHS for at in DRAG_STEPS),
)
STREAMERS = ("transformer", "vanilla_ssm", "ssm_attention", "esm")
"""Those of ESM's table, which play in corridors."""
WORKERS = 2


@dataclass(frozen=True)
class Episode:
    """Of a panel."""

    panel: str
    world: int
    move_at: int | None
    drag: str | None

    @property
    def key(self) -> str:
        """Name of its records."""
        return f"{self.panel}/{self.world}"

    @property
    def walk(self) -> EpisodeSetup:
        """Where it is played."""
        world = make_world(self.world, MAZE if self.panel == MAZE else WORLD, targets=TARGETS)
        return EpisodeSetup(world, self.move_at, self.drag or "large")


def players(panel: str) -> tuple[MazeAgent, ...]:
    """Who plays a panel."""
    if panel == GRID:
        return CONFIGURATIONS
    return tuple(agent for agent in AGENTS if panel != MAZE or agent.name in STREAMERS)


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Play what is not in the records yet, then write tables, plots and summary.

    A quick or limited run looks at the tuning worlds. `seed` is the first of `seeds`.
    """
    require_predictors()
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    count, several = limit or (QUICK if quick else EPISODES), seeds or (1 if quick else SEEDS)
    wanted = episodes(count, several, seed, TUNING if tuning else TEST)
    gather(records, "maze", played, list(jobs(e for e in wanted if not records.has(e.key, "done"))), WORKERS)
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def episodes(count: int, seeds: int, first: int, base: int) -> Iterator[Episode]:
    """Of all panels."""
    for seed in range(first, first + seeds):
        for number in range(count):
            world, (at, size) = base + EPISODES * seed + number, CASES[number % len(CASES)]
            yield Episode(WORLD, world, at, size)
            if number < CORRIDORS:
                yield Episode(MAZE, world, at, size)
            if number < CONFIGURED and at is not None:
                yield Episode(GRID, world, at, size)
            if number < CLOCKED and seed == first:
                yield Episode(CLOCK, world, at, size)


def jobs(wanted: Iterable[Episode]) -> Iterator[tuple[str, tuple[Episode, ...]]]:
    """Panels with batches of episodes; what is timed comes last and is played alone."""
    panels: dict[str, list[Episode]] = {panel: [] for panel in (WORLD, MAZE, GRID, CLOCK)}
    for episode in wanted:
        panels[episode.panel].append(episode)
    for panel, those in panels.items():
        rows = 1 if panel == CLOCK else ROWS
        for start in range(0, len(those), rows):
            yield panel, tuple(those[start : start + rows])


def played(panel: str, batch: tuple[Episode, ...]) -> list[tuple[str, str, dict[str, Any]]]:
    """Records of all agents on a batch, and one for each episode that says it is done."""
    walks = [episode.walk for episode in batch]
    rows: list[tuple[str, str, dict[str, Any]]] = []
    alone: list[EpisodeRecord] = []
    for agent in players(panel):
        parts = agent.timed() if panel == CLOCK else agent.parts()
        if panel == CLOCK:  # the first step of a process pays for what is loaded then
            run_episodes(walks, parts, steps=2, with_features=True)
        runs = run_episodes(walks, parts, leg_steps=LEG, with_features=True, steps=EPISODE_STEPS)
        alone = runs if agent.name == PREDICTOR else alone
        for number, (episode, run) in enumerate(zip(batch, runs, strict=True)):
            told = {"panel": panel, "move_at": episode.move_at, "drag": episode.drag, **numbers(run)}
            told |= clocked(run) if panel == CLOCK else {}
            told |= hotspots(run, alone[number]) if (panel, agent.name) == (MAZE, ELASTIC) else {}
            rows.append((episode.key, agent.name, told))
    return [*rows, *((episode.key, "done", {}) for episode in batch)]


def numbers(run: EpisodeRecord) -> dict[str, Any]:
    """What is measured of an episode: means over its targets."""
    legs = [leg for leg in run.legs if leg.reached or leg.ended - leg.began >= LEG]
    total = max(len(legs), 1)
    return {
        "targets": len(legs), "success": sum(leg.reached for leg in legs) / total if legs else None,
        "steps": sum(leg.ended - leg.began if leg.reached else LEG for leg in legs) / total if legs else None,
        "regret": sum(leg.regret for leg in legs) / total if legs else None,
        "collisions": int(run.bumps[-1]) / total, "made": len(run.inner), "inner": int(run.inner.sum()),
    }  # fmt: skip


def clocked(run: EpisodeRecord) -> dict[str, Any]:
    """The clock of every step, and time on the processor."""
    return {"cpu": round(float(run.seconds.sum()), 5), "ms": [round(float(ms), 3) for ms in run.milliseconds]}
