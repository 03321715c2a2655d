"""Tables and summary of the peptide benchmark: means with 95 % intervals over episodes, paired tests."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import compare_means, mean_and_half_width, mean_per_episode
from geofold.bench.peptide.agents.agent import read_tuning
from geofold.bench.peptide.agents.registry import AGENTS
from geofold.bench.peptide.episodes import CHANGE_STEPS
from geofold.files import write_atomically, write_npz

PAPER_SUCCESS = {
    "greedy_mlp": 0.62,
    "se3": 0.74,
    "se3_mpc": 0.80,
    "latent_precondition": 0.85,
    "geossm_no_adapt": 0.87,
    "geossm": 0.91,
}
"""Success in Table 2 of the GeoSSM paper; a rival with less success on the tuning split is called weak."""
END_POINT_METHODS = ("openmm_min", "openmm_min_loose", "openmm_anneal", "lbfgs")
REFERENCE_AGENT = "geossm"
COLUMNS = ("success", "steps", "clash_energy", "rmsd", "outliers", "energy", "condition", "angle_degrees")
PANELS = (("random", ""), ("changing", "changing_"), ("real", "real_"))
Row = dict[str, Any]


def summarise_agent(rows: list[Row]) -> dict[str, float]:
    """Means, intervals and medians of an agent's records on a panel."""
    numbers: dict[str, float] = {"episodes": float(len({row["episode"] for row in rows}))}
    for key in COLUMNS:
        values = mean_per_episode(rows, key)
        if values:
            numbers[key], numbers[f"{key}_ci"] = mean_and_half_width(values.values())
            # a single overlap of backbone atoms dominates the mean energy
            numbers[f"{key}_median"] = float(np.median([*values.values()]))
    for key in ("cis_made", "chirality_changed"):
        numbers[key] = float(sum(row.get(key, 0) for row in rows))
    clock = np.array([ms for row in rows for ms in row.get("ms", ())])
    if len(clock):
        numbers["latency_ms_mean"], numbers["latency_ms_p99"] = float(clock.mean()), float(np.percentile(clock, 99))
        made = sum(row["made"] for row in rows)
        numbers["inner"] = sum(row["inner"] for row in rows) / max(made, 1)
    numbers["seconds_to_contact"] = float(np.median([row["seconds_to_contact"] for row in rows]))
    return numbers


def summarise(records: Records, split: str, *, quick: bool, began: float) -> None:
    """Write summary, Markdown and CSV tables, packed records and plots.

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
    body, panels = [], []
    names = [agent.name for agent in AGENTS]
    for name in (*names, *END_POINT_METHODS):
        for panel, prefix in PANELS:
            rows = [row for row in records.of(name) if row.get("panel") == panel]
            if not rows:
                continue
            numbers = summarise_agent(rows)
            metrics |= {f"{name}.{prefix}{key}": value for key, value in numbers.items()}
            if panel == "random":
                body.append(_agent_row(name, numbers))
            else:
                panels.append([panel, name, _format(numbers, "success", 3), _format(numbers, "steps", 1)])
    metrics |= compare_agents(records, names)
    table = table_of(
        [
            "agent",
            "episodes",
            "RMSD (A)",
            "steps",
            "severe overlaps a step",
            "success",
            "mean ms",
            "p99 ms",
            "mean K",
            "cis",
            "chirality",
            "outliers at the end",
            "median energy (kJ/mol a residue)",
            "median s to contact",
            "condition of the metric",
            "degrees from the Euclidean direction",
        ],
        body,
    )
    table += "\n" + table_of(["panel", "agent", "success", "steps"], panels) if panels else ""
    change_metrics, change_rows = summarise_changes(records, names)
    metrics |= change_metrics
    if change_rows:
        columns = ["agent", "group of changes", "episodes", "success", "steps after the change"]
        table += "\n" + table_of(columns, change_rows)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note=f"peptide, {split} split")
    _csv(records.folder / "table.csv", metrics)
    write_npz(records.folder / "records.npz", pack_records(records.rows))
    from geofold.bench.peptide.plots import draw

    draw(records)


def summarise_changes(records: Records, names: list[str]) -> tuple[dict[str, float], list[list[str]]]:
    """Summarise the panel whose contact changes, by the step of the change and by its size.

    The size is the violation of the new contact when it is set. Agents have moved differently by then, so it is the
    mean over agents. Returns metrics and table rows.
    """
    rows = [row for name in names for row in records.of(name) if row.get("panel") == "changing"]
    jumps: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        jumps[row["episode"]].append(row["jump"])
    distance_of = {episode: float(np.mean(values)) for episode, values in jumps.items()}
    if not distance_of:
        return {}, []
    nearest, farthest = min(distance_of.values()), max(distance_of.values())
    low, high = np.quantile([*distance_of.values()], (1 / 3, 2 / 3))
    sizes = {"small": (-np.inf, low), "medium": (low, high), "large": (high, np.inf)}
    metrics: dict[str, float] = {}
    change_rows: list[list[str]] = []
    for name in names:
        own_rows = [row for row in rows if row["agent"] == name]
        groups = {
            f"at step {at}": [r for r in own_rows if r["episode"].split("/")[1].endswith(f"_{at}")]
            for at in CHANGE_STEPS
        }
        for size, (low_edge, high_edge) in sizes.items():
            label = f"{size} ({max(low_edge, nearest):.1f} to {min(high_edge, farthest):.1f} A)"
            groups[label] = [r for r in own_rows if low_edge < distance_of[r["episode"]] <= high_edge]
        for group, group_rows in groups.items():
            if not group_rows:
                continue
            steps, half = mean_and_half_width(row["steps"] for row in group_rows)
            success, key = (
                float(np.mean([row["success"] for row in group_rows])),
                group.split(" (")[0].replace(" ", "_"),
            )
            metrics |= {f"{name}.changing_{key}_success": success, f"{name}.changing_{key}_steps": steps}
            change_rows.append([name, group, str(len(group_rows)), f"{success:.3f}", f"{steps:.1f} +- {half:.1f}"])
    return metrics, change_rows


def compare_agents(records: Records, names: list[str]) -> dict[str, float]:
    """Compare GeoSSM and its gated form with each other agent on the random panel: ratios, differences, p."""
    metrics: dict[str, float] = {}
    for agent_name in (REFERENCE_AGENT, "geossm_esm"):
        own_rows = [row for row in records.of(agent_name) if row.get("panel") == "random"]
        for name in names:
            rows = [row for row in records.of(name) if row.get("panel") == "random"]
            if name == agent_name or not rows or not own_rows:
                continue
            for key in ("steps", "clash_energy", "success"):
                values, reference = mean_per_episode(own_rows, key), mean_per_episode(rows, key)
                if key != "success":
                    metrics[f"{agent_name}.{key}_over_{name}"] = _ratio(
                        np.mean([*values.values()]), np.mean([*reference.values()])
                    )
                metrics[f"{agent_name}.{key}_less_{name}"], metrics[f"{agent_name}.{key}_p_{name}"] = compare_means(
                    values, reference
                )
            clocks = [np.percentile([ms for row in part for ms in row["ms"]], 99) for part in (own_rows, rows)]
            metrics[f"{agent_name}.latency_ms_p99_over_{name}"] = _ratio(*clocks)
        for name in END_POINT_METHODS:
            rows = records.of(name)
            shared = {row["episode"] for row in rows}
            if shared and own_rows:
                times = [
                    np.median([row["seconds_to_contact"] for row in part if row["episode"] in shared])
                    for part in (own_rows, rows)
                ]
                metrics[f"{agent_name}.time_over_{name}"] = _ratio(*times)
                for key in ("success", "rmsd", "energy"):
                    pair = (
                        mean_per_episode([r for r in part if r["episode"] in shared], key) for part in (own_rows, rows)
                    )
                    metrics[f"{agent_name}.{key}_less_{name}"], metrics[f"{agent_name}.{key}_p_{name}"] = compare_means(
                        *pair
                    )
    return metrics


def _ratio(values: Any, reference: Any) -> float:
    return float(values) / max(float(reference), 1e-9)


def _format(numbers: dict[str, float], key: str, digits: int) -> str:
    if key not in numbers:
        return ""
    half = f" +- {numbers[f'{key}_ci']:.{digits}f}" if f"{key}_ci" in numbers else ""
    return f"{numbers[key]:.{digits}f}{half}"


def _agent_row(name: str, numbers: dict[str, float]) -> list[str]:
    tuning = read_tuning().get(name)
    weak = tuning is not None and tuning["success"] < PAPER_SUCCESS.get(name, 0.0)
    return [
        f"{name} (weak)" if weak else name,
        f"{numbers['episodes']:.0f}",
        _format(numbers, "rmsd", 2),
        _format(numbers, "steps", 1),
        _format(numbers, "clash_energy", 2),
        _format(numbers, "success", 3),
        _format(numbers, "latency_ms_mean", 2),
        _format(numbers, "latency_ms_p99", 2),
        _format(numbers, "inner", 2),
        _format(numbers, "cis_made", 0),
        _format(numbers, "chirality_changed", 0),
        _format(numbers, "outliers", 2),
        _format(numbers, "energy_median", 1),
        _format(numbers, "seconds_to_contact", 3),
        f"{numbers['condition_median']:.3g}" if "condition_median" in numbers else "",
        _format(numbers, "angle_degrees", 1),
    ]


def pack_records(rows: list[Row]) -> dict[str, np.ndarray]:
    """Raw records as arrays: one place a record, NaN where it lacks a number.

    The times (ms) of all steps are concatenated in `ms`; those of record k start at `ms_start[k]`.
    """
    finished = [row for row in rows if row["agent"] != "done"]
    names = sorted({name for row in finished for name, value in row.items() if not isinstance(value, str | list)})
    change_metrics = {
        name: np.array([str(row.get(name, "")) for row in finished]) for name in ("episode", "agent", "panel")
    }
    change_metrics |= {name: np.array([row.get(name, np.nan) for row in finished], dtype=float) for name in names}
    clocks = [row.get("ms", []) for row in finished]
    change_metrics["ms"] = np.array([ms for clock in clocks for ms in clock], dtype=np.float32)
    change_metrics["ms_start"] = np.concatenate([[0], np.cumsum([len(clock) for clock in clocks])[:-1]]).astype(
        np.int64
    )
    return change_metrics


def _csv(path: Path, metrics: dict[str, float]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["agent", "metric", "value"])
    for name, value in metrics.items():
        agent, key = name.split(".", 1)
        writer.writerow([agent, key, f"{value:.6g}"])
    write_atomically(path, lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
