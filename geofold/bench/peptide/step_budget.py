"""Soft time budget of a step (tau_max of the GeoSSM paper): what `constrain --step-budget` costs and what it keeps.

The shipped agent runs the tuning episodes with several budgets, interleaved. Its clock is CPU time, so that other work
on the machine does not count.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from rich.progress import track

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width
from geofold.bench.peptide.agents.geossm_esm import GEOSSM_ESM
from geofold.bench.peptide.episodes import TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import make_setup, run_controller

BUDGETS = (1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, None)
"""Milliseconds for a step; None: no limit. The paper's is 6 ms, on its hardware."""
EPISODES, QUICK = 96, 4


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run every budget on the episodes that are not in the records yet, then write table and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    quick : bool
        Run four episodes.
    limit : int or None
        Number of episodes.
    """
    began = time.time()
    records = Records(out)
    selected = episodes(limit or (QUICK if quick else EPISODES), seed=TUNING_SEED)
    for episode, budget in track([(e, b) for e in selected for b in BUDGETS], description="step budget"):
        if not records.has(episode.name, label(budget)):
            records.add(episode.name, label(budget), **run_episode(episode, budget))
    summarise(records, quick=quick or limit is not None, began=began)


def label(budget: float | None) -> str:
    """Name of a budget in records and metrics."""
    return "none" if budget is None else f"ms_{budget:g}"


def run_episode(episode: Episode, budget: float | None) -> dict[str, Any]:
    """Run an episode; returns success, steps, and corrections and CPU time (ms) of each step."""
    setup = make_setup(episode, 0)
    parts: Any = GEOSSM_ESM.parts(setup.domain, 0, GEOSSM_ESM.tuned_options())
    limited = replace(parts, budget=budget, clock=time.process_time)
    rollout = run_controller(limited, setup, 0, GEOSSM_ESM.fallback_controller)
    return {
        "success": rollout.held is not None,
        "steps": rollout.steps,
        "inner": rollout.inner.tolist(),
        "milliseconds": rollout.milliseconds.round(3).tolist(),
    }


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary of the records."""
    metrics: dict[str, float] = {}
    body = []
    for budget in BUDGETS:
        name, rows = label(budget), records.of(label(budget))
        steps, half_width = mean_and_half_width(row["steps"] for row in rows)
        milliseconds = np.concatenate([row["milliseconds"] for row in rows])
        numbers = {
            "episodes": len(rows),
            "success": np.mean([row["success"] for row in rows]),
            "steps": steps,
            "steps_ci": half_width,
            "steps_median": np.median([row["steps"] for row in rows]),
            "corrections_per_step": np.mean(np.concatenate([row["inner"] for row in rows])),
            "latency_ms_mean": milliseconds.mean(),
            "latency_ms_p99": np.percentile(milliseconds, 99),
            "seconds": np.mean([sum(row["milliseconds"]) for row in rows]) / 1e3,
        }
        if budget is not None:
            numbers["over_budget"] = np.mean(milliseconds > budget)
            numbers["p99_over_budget"] = numbers["latency_ms_p99"] / budget
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                "none" if budget is None else f"{budget:g}",
                f"{numbers['success']:.3f}",
                f"{steps:.1f} +- {half_width:.1f}; {numbers['steps_median']:.0f}",
                f"{numbers['corrections_per_step']:.2f}",
                f"{numbers['latency_ms_mean']:.2f}",
                f"{numbers['latency_ms_p99']:.1f}",
                "" if budget is None else f"{100 * numbers['over_budget']:.1f} %",
                f"{numbers['seconds']:.3f}",
            ]
        )
    columns = ["tau_max (ms)", "success", "steps: mean; median", "corrections a step", "CPU ms a step", "p99",
               "steps over tau_max", "CPU s an episode"]  # fmt: skip
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="tuning split")
