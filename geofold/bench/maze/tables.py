"""Tables and summary of the maze benchmark: means with 95 % intervals over episodes, paired tests, cost per step."""

from __future__ import annotations

from typing import Any

import numpy as np

from geofold.bench.common.records import Records, mean_and_half_width, table_of, write_summary
from geofold.bench.maze.agents.registry import AGENTS, CONFIGURATIONS, MazeAgent
from geofold.bench.maze.hotspots import ELASTIC, shares
from geofold.bench.peptide.tables import difference, per_episode
from geofold.maze.world import DRAG_LENGTHS

COLUMNS = ("steps", "collisions", "regret", "success")
OURS, FIRST = "geossm", "transformer"
COSTED, COSTED_STEPS = 0, 192
"""World and steps on which the floating-point operations of a step are counted."""
Row = dict[str, Any]


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Summary, tables and plots."""
    metrics: dict[str, float] = {}
    for agent in AGENTS:
        numbers = measured(_of(records, agent, "world")) | timed(_of(records, agent, "clock"))
        metrics |= {f"{agent.name}.{key}": value for key, value in numbers.items()}
    for name in [agent.name for agent in AGENTS]:
        metrics[f"{name}.energy"] = metrics[f"{name}.cpu_ms"] / metrics[f"{FIRST}.cpu_ms"]
    metrics |= compared(records) | late_and_large(records) | streamers(records)
    metrics |= {f"{agent.name}.{key}": value for agent in CONFIGURATIONS for key, value in grid(records, agent).items()}
    tables = [_first(metrics), _grid(metrics), _streamers(metrics)]
    write_summary(
        records.folder, metrics, quick=quick, began=began, table="\n".join(tables), note=f"maze, {split} worlds"
    )
    from geofold.bench.maze import hotspots as maze_hotspots
    from geofold.bench.maze import plots as maze_plots

    maze_plots.draw(records)
    maze_hotspots.draw(records.folder)


def measured(rows: list[Row]) -> dict[str, float]:
    """Numbers of an agent on a panel."""
    numbers: dict[str, float] = {"episodes": float(len(rows))}
    for key in COLUMNS:
        values = per_episode(rows, key)
        if values:
            numbers[key], numbers[f"{key}_ci"] = mean_and_half_width(values.values())
    return numbers | {"inner": sum(row["inner"] for row in rows) / sum(row["made"] for row in rows)}


def timed(rows: list[Row]) -> dict[str, float]:
    """What a step of one row costs."""
    clock = np.array([ms for row in rows for ms in row["ms"]])
    return {
        "steps_per_second": 1e3 / float(clock.mean()), "latency_ms_mean": float(clock.mean()),
        "latency_ms_p99": float(np.percentile(clock, 99)),
        "cpu_ms": 1e3 * sum(row["cpu"] for row in rows) / sum(row["made"] for row in rows),
    }  # fmt: skip


def compared(records: Records) -> dict[str, float]:
    """GeoSSM against each other agent: ratios of means, and p of Wilcoxon's test on shared episodes."""
    metrics: dict[str, float] = {}
    own = [row for row in records.of(OURS) if row.get("panel") == "world"]
    slowest = {agent.name: timed(_of(records, agent, "clock"))["latency_ms_p99"] for agent in AGENTS}
    for agent in AGENTS:
        rows = _of(records, agent, "world")
        if agent.name == OURS:
            continue
        for key in COLUMNS:
            one, other = per_episode(own, key), per_episode(rows, key)
            ratio = np.mean([*one.values()]) / max(float(np.mean([*other.values()])), 1e-9)
            metrics[f"{OURS}.{key}_over_{agent.name}"] = float(ratio)
            metrics[f"{OURS}.{key}_p_{agent.name}"] = difference(one, other)[1]
        metrics[f"{OURS}.latency_ms_p99_over_{agent.name}"] = slowest[OURS] / slowest[agent.name]
    return metrics


def late_and_large(records: Records) -> dict[str, float]:
    """Success of episodes with the latest and largest drag, and of those with none."""
    metrics = {}
    for agent in AGENTS:
        rows = _of(records, agent, "world")
        parts = {
            "success_late_large": [row for row in rows if (row["move_at"], row["drag"]) == (192, "large")],
            "success_undisturbed": [row for row in rows if row["move_at"] is None],
        }
        for key, part in parts.items():
            if values := per_episode(part, "success"):
                metrics[f"{agent.name}.{key}"] = float(np.mean([*values.values()]))
    return metrics


def streamers(records: Records) -> dict[str, float]:
    """Of ESM's table: success in corridors, and floating-point operations of a step, the Transformer's being one."""
    metrics: dict[str, float] = {}
    for agent in AGENTS:
        if rows := _of(records, agent, "corridors"):
            metrics |= {f"{agent.name}.corridors_{key}": value for key, value in measured(rows).items()}
            metrics[f"{agent.name}.compute"] = operations(agent)
        if agent.name == ELASTIC and rows:
            metrics |= {f"{agent.name}.corridors_{key}": value for key, value in shares(rows).items()}
    base = metrics.get(f"{FIRST}.compute", 1.0)
    return {name: value / base if name.endswith(".compute") else value for name, value in metrics.items()}


def operations(agent: MazeAgent) -> float:
    """Floating-point operations of a step on one world, those of matrix products, as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    from geofold.maze.episode import run_episode
    from geofold.maze.world import make_world

    world = make_world(COSTED, "corridors", targets=8)
    with FlopCounterMode(display=False) as counter:
        run = run_episode(world, agent.parts(), with_features=True, steps=COSTED_STEPS)
    return counter.get_total_flops() / len(run.inner)


def grid(records: Records, agent: MazeAgent) -> dict[str, float]:
    """Steps of a configuration by the size of the drag."""
    found: dict[str, float] = {}
    for size in DRAG_LENGTHS:
        rows = [row for row in _of(records, agent, "grid") if row["drag"] == size]
        if values := per_episode(rows, "steps"):
            found[f"steps_{size}"], found[f"steps_{size}_ci"] = mean_and_half_width(values.values())
    return found


def _of(records: Records, agent: MazeAgent, panel: str) -> list[Row]:
    return [row for row in records.of(agent.name) if row.get("panel") == panel]


def _first(metrics: dict[str, float]) -> str:
    """GeoSSM's Table 1."""
    rows = []
    for name in [agent.name for agent in AGENTS]:
        told = [_told(metrics, f"{name}.{key}", digits) for key, digits in zip(COLUMNS, (1, 3, 3, 3), strict=True)]
        cost = [_told(metrics, f"{name}.{key}", digits) for key, digits in
                (("steps_per_second", 0), ("latency_ms_p99", 1), ("energy", 2), ("inner", 2))]  # fmt: skip
        p = metrics.get(f"{OURS}.steps_p_{name}")
        rows.append([name, f"{metrics[f'{name}.episodes']:.0f}", *told, *cost, "" if p is None else f"{p:.2g}"])
    columns = ["agent", "episodes", "steps a target", "collisions a target", "regret", "success", "steps/s", "p99 ms",
               "energy (CPU, Transformer = 1)", "mean K", "p (steps, geossm)"]  # fmt: skip
    return table_of(columns, rows)


def _grid(metrics: dict[str, float]) -> str:
    """GeoSSM's Table 3."""
    rows = [
        [agent.note, *(_told(metrics, f"{agent.name}.steps_{size}", 1) for size in DRAG_LENGTHS)]
        for agent in CONFIGURATIONS
    ]
    return table_of(["steps a target", *DRAG_LENGTHS], rows)


def _streamers(metrics: dict[str, float]) -> str:
    """ESM's Table 1, the maze's part of it."""
    rows = [
        [agent.name, *(_told(metrics, f"{agent.name}.{key}", 3) for key in ("corridors_success", "compute"))]
        for agent in AGENTS
        if f"{agent.name}.compute" in metrics
    ]
    return table_of(["corridors", "success", "operations a step (Transformer = 1)"], rows)


def _told(metrics: dict[str, float], name: str, digits: int) -> str:
    if name not in metrics:
        return ""
    half = f" +- {metrics[f'{name}_ci']:.{digits}f}" if f"{name}_ci" in metrics else ""
    return f"{metrics[name]:.{digits}f}{half}"
