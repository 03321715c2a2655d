"""What each part of the controller is worth: sketches, retraction orders and horizons on the peptide tuning split.

The defaults that ship are those that win here. Every variant runs the same episodes with the same seeds and is
compared with the shipped controller episode by episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from rich.progress import track

from geofold.app.constrain_peptide import HELD, constrain_peptide, controller
from geofold.app.options import RunOptions
from geofold.bench.peptide import LIMIT, TUNING_SEED, Episode, episodes
from geofold.bench.records import Records, mean_and_half_width, table_of, write_summary
from geofold.core.backbone import Glide
from geofold.core.controller import Controller
from geofold.core.metric import EuclideanMetric
from geofold.core.pullback import Pullback
from geofold.molecule.builder import peptide
from geofold.molecule.contacts import parse_contact

EPISODES, QUICK, SEEDS = 128, 16, 2
SHIPPED = "shipped"
DECAY = 0.9
BETWEEN = "variant minus shipped"

Change = Callable[[Controller], Controller]


def variants() -> Iterator[tuple[str, str, Change]]:
    """Name, description and what is done to the shipped controller."""
    yield SHIPPED, "exact metric, decay 0.9, order 2, H = 1, hold-still", lambda parts: parts
    sketches: tuple[tuple[str, Any], ...] = (
        ("exact_no_average", Pullback(decay=0.0)),
        ("exact_098", Pullback(decay=0.98)),
        ("exact_frozen", Pullback(decay=DECAY, adapt=False)),
        ("fisher_4", Pullback("fisher", rank=4, decay=DECAY)),
        ("fisher_8", Pullback("fisher", rank=8, decay=DECAY)),
        ("fisher_8_098", Pullback("fisher", rank=8, decay=0.98)),
        ("fisher_8_random", Pullback("fisher", rank=8, decay=DECAY, informed=False)),
        ("fisher_24", Pullback("fisher", rank=24, decay=DECAY)),
        ("nystrom_8", Pullback("nystrom", rank=8, decay=DECAY)),
        ("nystrom_24", Pullback("nystrom", rank=24, decay=DECAY)),
        ("paper_8", Pullback("paper", rank=8, decay=DECAY)),
        ("euclidean", EuclideanMetric()),
    )
    for name, metric in sketches:
        yield name, _described(metric), lambda parts, metric=metric: replace(parts, metric=metric)  # type: ignore[misc]
    yield "order_1", "first-order retraction", lambda parts: replace(parts, order=1)
    yield (
        "fisher_8_order_1", "Fisher sketch r = 8, first-order retraction",
        lambda parts: replace(parts, metric=Pullback("fisher", rank=8, decay=DECAY), order=1),
    )  # fmt: skip
    for horizon in (1, 3):
        yield (
            f"glide_{horizon}", f"predictor that glides on, H = {horizon}",
            lambda parts, h=horizon: replace(parts, backbone=Glide(), horizon=h),  # type: ignore[misc]
        )  # fmt: skip
    yield (
        "glide_3_order_1", "predictor that glides on, H = 3, first-order retraction",
        lambda parts: replace(parts, backbone=Glide(), horizon=3, order=1),
    )  # fmt: skip


def _described(metric: Any) -> str:
    if isinstance(metric, EuclideanMetric):
        return "Euclidean metric"
    rank = "" if metric.sketch == "exact" else f", r = {metric.rank}"
    frozen = "" if metric.adapt else ", first look kept"
    return f"{metric.sketch}{rank}, decay {metric.decay}{frozen}{'' if metric.informed else ', random probes only'}"


def run(out: str, *, quick: bool, limit: int | None, only: str | None = None) -> None:
    """Run every variant on every episode and seed.

    Parameters
    ----------
    only
        A variant by name; the others are left for another run into the same folder.
    """
    began = time.time()
    records = Records(out)
    chosen = episodes(limit or (QUICK if quick else EPISODES), seed=TUNING_SEED)
    jobs = [
        (name, change, episode, seed)
        for episode in chosen for seed in range(SEEDS) for name, _, change in variants() if only in (None, name)
    ]  # fmt: skip
    for name, change, episode, seed in track(jobs, description="ablation"):
        key = f"{episode.name}/{seed}"
        if not records.has(key, name):
            records.add(key, name, **_numbers(episode, seed, change))
    summarise(records, quick=quick or limit is not None, began=began)


def _numbers(episode: Episode, seed: int, change: Change) -> dict[str, Any]:
    structure = peptide(episode.sequence)
    options = RunOptions(seed=seed, steps=LIMIT, energy=False)
    contact = parse_contact(structure, episode.contact)
    move = constrain_peptide(
        structure, 0, len(structure.residues) - 1, (contact,), options, parts=change(controller(options))
    )
    done = move.status == "done"
    return {
        "success": done, "steps": len(move.trace) - HELD + 1 if done else LIMIT, "milliseconds": sum(move.milliseconds),
        "made": len(move.trace), "corrections": sum(move.trace), "accepted": move.accepted,
    }  # fmt: skip


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Table and summary of the records, the shipped controller first."""
    base = {row["episode"]: row for row in records.of(SHIPPED)}
    metrics: dict[str, float] = {}
    body = []
    for name, text, _ in variants():
        rows = records.of(name)
        if not rows:
            continue
        steps, half = mean_and_half_width(row["steps"] for row in rows)
        shared = [row for row in rows if row["episode"] in base]
        more, wide = mean_and_half_width([row["steps"] - base[row["episode"]]["steps"] for row in shared] or [0.0])
        numbers = {
            "episodes": len(rows), "success": np.mean([row["success"] for row in rows]), "steps": steps,
            "steps_ci": half, "steps_more": more, "steps_more_ci": wide,
            "milliseconds_per_step": sum(r["milliseconds"] for r in rows) / sum(r["made"] for r in rows),
            "seconds": np.mean([row["milliseconds"] for row in rows]) / 1e3,
            "corrections_per_step": sum(r["corrections"] for r in rows) / sum(r["made"] for r in rows),
        }  # fmt: skip
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                name,
                text,
                f"{numbers['success']:.3f}",
                f"{steps:.1f} +- {half:.1f}",
                f"{more:+.1f} +- {wide:.1f}" if name != SHIPPED else "-",
                f"{numbers['milliseconds_per_step']:.2f}",
                f"{numbers['seconds']:.3f}",
            ]
        )
    columns = ["variant", "what", "success", "steps", f"steps, {BETWEEN}", "ms a step", "s an episode"]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="ablation")
