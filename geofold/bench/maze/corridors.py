"""The maze half of ESM's Table 1: success in corridors against all operations of a step, and where compute clusters.

The agents and episodes are those of the maze benchmark, in mazes of corridors with junctions, doors and gaps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from geofold.bench.common.flops import OperationCounter
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import compare_means, mean_per_episode
from geofold.bench.maze import hotspots
from geofold.bench.maze.agents.registry import MazeAgent, require_predictors
from geofold.bench.maze.benchmark import (
    CASES,
    DEFAULT_EPISODES,
    DEFAULT_SEEDS,
    MAZE,
    TARGETS_PER_WORLD,
    TEST_WORLDS,
    TUNING_WORLDS,
    Episode,
    agents_of,
    make_jobs,
    run_batch,
)
from geofold.bench.maze.hotspots import ELASTIC, compute_shares
from geofold.bench.maze.tables import UNIT_AGENT, format_metric, summarise_panel
from geofold.maze.episode import run_episode
from geofold.maze.worlds.world import make_world

EPISODES, QUICK_EPISODES = 64, 10
"""Episodes of a seed."""
COSTED_WORLDS, COSTED_STEPS = 3, 192
"""Number of tuning worlds, and of steps in each, for which floating-point operations are counted."""
WORKERS = 2


def run(out: str, *, quick: bool, limit: int | None, seeds: int | None = None, seed: int = 0) -> None:
    """Run what is not in the records yet, then write tables, map and summary.

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
    began, records = time.time(), Records(out)
    tuning = quick or limit is not None
    count = limit or (QUICK_EPISODES if quick else EPISODES)
    numbers = range(seed, seed + (seeds or (1 if quick else DEFAULT_SEEDS)))
    selected = make_episodes(count, numbers, TUNING_WORLDS if tuning else TEST_WORLDS)
    jobs = list(make_jobs(episode for episode in selected if not records.has(episode.key, "done")))
    gather(records, "corridors", run_batch, jobs, WORKERS)
    metrics = summarise(records)
    tables = "\n".join([_main_table(metrics), _place_table(metrics)])
    note = f"maze corridors, {'tuning' if tuning else 'test'} worlds"
    write_summary(records.folder, metrics, quick=tuning, began=began, table=tables, note=note)
    hotspots.draw(records.folder)


def make_episodes(count: int, seeds: range, base: int) -> Iterator[Episode]:
    """Yield `count` episodes of each seed, from a split that begins with world `base`."""
    for seed in seeds:
        for number in range(count):
            yield Episode(MAZE, base + DEFAULT_EPISODES * seed + number, *CASES[number % len(CASES)])


def summarise(records: Records) -> dict[str, float]:
    """Means, p of Wilcoxon's test against the Transformer, operations (Transformer = 1), shares of inner steps."""
    metrics: dict[str, float] = {}
    unit = {key: mean_per_episode(records.of(UNIT_AGENT), key) for key in ("success", "steps")}
    for agent in agents_of(MAZE):
        rows = records.of(agent.name)
        numbers = summarise_panel(rows) | {"compute": count_operations(agent)[0]}
        if agent.name != UNIT_AGENT:
            for key, values in unit.items():
                difference, numbers[f"{key}_p"] = compare_means(mean_per_episode(rows, key), values)
                numbers[f"{key}_more"] = difference
        if agent.name in ELASTIC:
            numbers |= compute_shares(rows)
        metrics |= {f"{agent.name}.{key}": value for key, value in numbers.items()}
    base = metrics[f"{UNIT_AGENT}.compute"]
    return {name: value / base if name.endswith(".compute") else value for name, value in metrics.items()}


def count_operations(agent: MazeAgent) -> tuple[float, float]:
    """Floating-point operations of a step, ground and corrections included, and its corrections.

    Worlds and controllers are made before the count.
    """
    total, made, inner = 0.0, 0, 0
    for number in range(COSTED_WORLDS):
        world, parts = make_world(TUNING_WORLDS + number, MAZE, targets=TARGETS_PER_WORLD), agent.parts()
        with OperationCounter() as counter:
            episode = run_episode(world, parts, with_features=True, steps=COSTED_STEPS)
        total, made, inner = total + counter.total, made + len(episode.inner), inner + int(episode.inner.sum())
    return total / made, inner / made


def _main_table(metrics: dict[str, float]) -> str:
    """Maze half of Table 1 of the ESM paper."""
    columns = {
        "success": ("success", 3),
        "p (Transformer)": ("success_p", 4),
        "steps a target": ("steps", 1),
        "regret": ("regret", 3),
        "collisions a target": ("collisions", 3),
        "mean K": ("inner", 2),
        "all operations of a step (Transformer = 1)": ("compute", 3),
    }
    rows = [
        [name, *(format_metric(metrics, f"{name}.{key}", digits) for key, digits in columns.values())]
        for name in (agent.name for agent in agents_of(MAZE))
    ]
    return table_of(["corridors", *columns], rows)


def _place_table(metrics: dict[str, float]) -> str:
    """Where inner steps are made (ESM, Figure 4)."""
    columns = {
        "inner steps at junctions, doors and gaps": "inner_at_narrow",
        "steps there": "steps_at_narrow",
        "inner steps where most steps are lost": "inner_at_hardest",
        "steps made there": "steps_at_hardest",
    }
    rows = [[name, *(f"{metrics[f'{name}.{key}']:.1%}" for key in columns.values())] for name in ELASTIC]
    return table_of(["places", *columns], rows)
