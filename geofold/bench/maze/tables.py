"""Tables and summary of the maze benchmark: means with 95 % intervals over episodes, paired tests, cost per step."""

from __future__ import annotations

from typing import Any

import numpy as np

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import compare_means, mean_and_half_width, mean_per_episode
from geofold.bench.maze.agents.registry import AGENTS, CONFIGURATIONS, MazeAgent
from geofold.maze.worlds.world import DRAG_LENGTHS

COLUMNS = ("steps", "collisions", "regret", "success")
REFERENCE_AGENT, UNIT_AGENT = "geossm", "transformer"
Row = dict[str, Any]


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Write summary, tables and plots.

    Parameters
    ----------
    records : Records
        All records of the run.
    split : str
        Name of the split.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    metrics: dict[str, float] = {}
    for agent in AGENTS:
        numbers = summarise_panel(_rows(records, agent, "world")) | summarise_times(_rows(records, agent, "clock"))
        metrics |= {f"{agent.name}.{key}": value for key, value in numbers.items()}
    for name in [agent.name for agent in AGENTS]:
        metrics[f"{name}.energy"] = metrics[f"{name}.cpu_ms"] / metrics[f"{UNIT_AGENT}.cpu_ms"]
    metrics |= compare_agents(records) | compare_drags(records)
    metrics |= {
        f"{agent.name}.{key}": value
        for agent in CONFIGURATIONS
        for key, value in summarise_grid(records, agent).items()
    }
    tables = [_main_table(metrics), _grid_table(metrics)]
    write_summary(
        records.folder, metrics, quick=quick, began=began, table="\n".join(tables), note=f"maze, {split} worlds"
    )
    from geofold.bench.maze import plots as maze_plots

    maze_plots.draw(records)


def summarise_panel(rows: list[Row]) -> dict[str, float]:
    """Means and intervals of an agent's records on a panel."""
    numbers: dict[str, float] = {"episodes": float(len(rows))}
    for key in COLUMNS:
        values = mean_per_episode(rows, key)
        if values:
            numbers[key], numbers[f"{key}_ci"] = mean_and_half_width(values.values())
    return numbers | {"inner": sum(row["inner"] for row in rows) / sum(row["made"] for row in rows)}


def summarise_times(rows: list[Row]) -> dict[str, float]:
    """Latency and CPU time of a step of one row."""
    clock = np.array([ms for row in rows for ms in row["ms"]])
    return {
        "steps_per_second": 1e3 / float(clock.mean()),
        "latency_ms_mean": float(clock.mean()),
        "latency_ms_p99": float(np.percentile(clock, 99)),
        "cpu_ms": 1e3 * sum(row["cpu"] for row in rows) / sum(row["made"] for row in rows),
    }


def compare_agents(records: Records) -> dict[str, float]:
    """Compare GeoSSM with each other agent: ratios of means, and p of Wilcoxon's test on shared episodes."""
    metrics: dict[str, float] = {}
    own_rows = [row for row in records.of(REFERENCE_AGENT) if row.get("panel") == "world"]
    p99 = {agent.name: summarise_times(_rows(records, agent, "clock"))["latency_ms_p99"] for agent in AGENTS}
    for agent in AGENTS:
        rows = _rows(records, agent, "world")
        if agent.name == REFERENCE_AGENT:
            continue
        for key in COLUMNS:
            values, others = mean_per_episode(own_rows, key), mean_per_episode(rows, key)
            ratio = np.mean([*values.values()]) / max(float(np.mean([*others.values()])), 1e-9)
            metrics[f"{REFERENCE_AGENT}.{key}_over_{agent.name}"] = float(ratio)
            metrics[f"{REFERENCE_AGENT}.{key}_p_{agent.name}"] = compare_means(values, others)[1]
        metrics[f"{REFERENCE_AGENT}.latency_ms_p99_over_{agent.name}"] = p99[REFERENCE_AGENT] / p99[agent.name]
    return metrics


def compare_drags(records: Records) -> dict[str, float]:
    """Success in episodes with the latest and largest drag, and in those without a drag."""
    metrics = {}
    for agent in AGENTS:
        rows = _rows(records, agent, "world")
        parts = {
            "success_late_large": [row for row in rows if (row["move_at"], row["drag"]) == (192, "large")],
            "success_undisturbed": [row for row in rows if row["move_at"] is None],
        }
        for key, part in parts.items():
            if values := mean_per_episode(part, "success"):
                metrics[f"{agent.name}.{key}"] = float(np.mean([*values.values()]))
    return metrics


def summarise_grid(records: Records, agent: MazeAgent) -> dict[str, float]:
    """Return steps of a configuration of the budget grid, by the size of the drag."""
    steps: dict[str, float] = {}
    for size in DRAG_LENGTHS:
        rows = [row for row in _rows(records, agent, "grid") if row["drag"] == size]
        if values := mean_per_episode(rows, "steps"):
            steps[f"steps_{size}"], steps[f"steps_{size}_ci"] = mean_and_half_width(values.values())
    return steps


def _rows(records: Records, agent: MazeAgent, panel: str) -> list[Row]:
    return [row for row in records.of(agent.name) if row.get("panel") == panel]


def _main_table(metrics: dict[str, float]) -> str:
    """Table 1 of the GeoSSM paper."""
    rows = []
    for name in [agent.name for agent in AGENTS]:
        digits_of = zip(COLUMNS, (1, 3, 3, 3), strict=True)
        results = [format_metric(metrics, f"{name}.{key}", digits) for key, digits in digits_of]
        cost = [
            format_metric(metrics, f"{name}.{key}", digits)
            for key, digits in (("steps_per_second", 0), ("latency_ms_p99", 1), ("energy", 2), ("inner", 2))
        ]
        p = metrics.get(f"{REFERENCE_AGENT}.steps_p_{name}")
        rows.append([name, f"{metrics[f'{name}.episodes']:.0f}", *results, *cost, "" if p is None else f"{p:.2g}"])
    columns = [
        "agent",
        "episodes",
        "steps a target",
        "collisions a target",
        "regret",
        "success",
        "steps/s",
        "p99 ms",
        "energy (CPU, Transformer = 1)",
        "mean K",
        "p (steps, geossm)",
    ]
    return table_of(columns, rows)


def _grid_table(metrics: dict[str, float]) -> str:
    """Table 3 of the GeoSSM paper."""
    rows = [
        [agent.note, *(format_metric(metrics, f"{agent.name}.steps_{size}", 1) for size in DRAG_LENGTHS)]
        for agent in CONFIGURATIONS
    ]
    return table_of(["steps a target", *DRAG_LENGTHS], rows)


def format_metric(metrics: dict[str, float], name: str, digits: int) -> str:
    """Cell of a table: a metric with its 95 % interval if it has one; empty without the metric."""
    if name not in metrics:
        return ""
    half = f" +- {metrics[f'{name}_ci']:.{digits}f}" if f"{name}_ci" in metrics else ""
    return f"{metrics[name]:.{digits}f}{half}"
