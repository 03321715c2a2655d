"""The maze benchmark: agents side by side on shared episodes of 256 steps, while an obstacle is dragged.

A job is one episode: all agents play it in turn, in one process, on one thread. An episode has a world, eight targets
one after the other, and at most one drag: nine episodes of ten have one, each of the nine sizes and times in turn. A
target that is not reached within `LEG` steps is given up and counts as a failure of so many steps; one that is still
under way when the episode ends counts for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from geofold.bench.agents.maze_roster import AGENTS, CONFIGURATIONS, MazeAgent, require_predictors
from geofold.bench.maze_table import summarise
from geofold.bench.records import Records, gather
from geofold.maze.drive import STEPS, Run, drive
from geofold.maze.world import DRAGS, MOVE_AT, make_world

EPISODES, QUICK, SEEDS = 256, 10, 5
TARGETS, LEG = 8, 96
CORRIDORS, CONFIGURED = 64, 90
"""Episodes of a seed that are played in corridors, too, and with the configurations of the budget grid."""
TEST, TUNING = 1_000_000, 0
"""Worlds begin here."""
WORLD, MAZE, GRID = "world", "corridors", "grid"
CASES: tuple[tuple[int | None, str | None], ...] = ((None, None), *((at, size) for size in DRAGS for at in MOVE_AT))
STREAMERS = ("transformer", "vanilla_ssm", "ssm_attention", "esm")
"""Those of ESM's table, which play in corridors."""
WORKERS = 2


@dataclass(frozen=True)
class Job:
    """An episode of a panel."""

    panel: str
    world: int
    move_at: int | None
    drag: str | None

    @property
    def key(self) -> str:
        """Name of its records."""
        return f"{self.panel}/{self.world}"

    @property
    def agents(self) -> tuple[MazeAgent, ...]:
        """Who plays."""
        if self.panel == GRID:
            return CONFIGURATIONS
        return AGENTS if self.panel == WORLD else tuple(agent for agent in AGENTS if agent.name in STREAMERS)


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Play what is not in the records yet, then write tables, plots and summary.

    A quick or limited run looks at the tuning worlds. `seed` is the first of `seeds`.
    """
    require_predictors()
    began = time.time()
    records = Records(out)
    tuning = quick or limit is not None
    count, several = limit or (QUICK if quick else EPISODES), seeds or (1 if quick else SEEDS)
    wanted = jobs(count, several, seed, TUNING if tuning else TEST)
    gather(records, "maze", played, [(job,) for job in wanted if not records.has(job.key, "done")], WORKERS)
    summarise(records, "tuning" if tuning else "test", quick=tuning, began=began)


def jobs(count: int, seeds: int, first: int, base: int) -> Iterator[Job]:
    """Episodes of all panels."""
    for seed in range(first, first + seeds):
        for number in range(count):
            world, (at, size) = base + EPISODES * seed + number, CASES[number % len(CASES)]
            yield Job(WORLD, world, at, size)
            if number < CORRIDORS:
                yield Job(MAZE, world, at, size)
            if number < CONFIGURED and at is not None:
                yield Job(GRID, world, at, size)


def played(job: Job) -> list[tuple[str, str, dict[str, Any]]]:
    """Records of all agents on an episode, and one that says it is done."""
    world = make_world(job.world, MAZE if job.panel == MAZE else WORLD, targets=TARGETS)
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for agent in job.agents:
        parts = agent.parts()
        # the first step of a process pays for what is loaded then
        drive(world, parts, steps=2, senses=True)
        run = drive(
            world, parts, move_at=job.move_at, drag=job.drag or "large", leg_steps=LEG, senses=True, steps=STEPS
        )
        told = {"panel": job.panel, "move_at": job.move_at, "drag": job.drag, **numbers(run)}
        rows.append((job.key, agent.name, told))
    return [*rows, (job.key, "done", {})]


def numbers(run: Run) -> dict[str, Any]:
    """What is measured of an episode: means over its targets, and the clock of every step."""
    legs = [leg for leg in run.legs if leg.reached or leg.ended - leg.began >= LEG]
    total = max(len(legs), 1)
    return {
        "targets": len(legs), "success": sum(leg.reached for leg in legs) / total if legs else None,
        "steps": sum(leg.ended - leg.began if leg.reached else LEG for leg in legs) / total if legs else None,
        "regret": sum(leg.regret for leg in legs) / total if legs else None,
        "collisions": int(run.bumps[-1]) / total, "made": len(run.inner), "inner": int(run.inner.sum()),
        "cpu": round(float(run.seconds.sum()), 5), "ms": [round(float(ms), 3) for ms in run.milliseconds],
    }  # fmt: skip
