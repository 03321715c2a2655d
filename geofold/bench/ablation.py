"""What each part of the controller is worth: sketches, retraction orders and horizons on the peptide tuning split.

The defaults that ship are those that win here. Every variant runs the same episodes with the same seeds and is
compared with the base episode by episode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.progress import track

from geofold.app.constrain_peptide import HELD, constrain_peptide, controller
from geofold.app.options import RunOptions
from geofold.bench.peptide import LIMIT, TUNING_SEED, Episode, episodes
from geofold.bench.records import Records, mean_and_half_width, table_of, write_summary
from geofold.core.backbone import Glide, HoldStill
from geofold.core.controller import Controller
from geofold.core.metric import EuclideanMetric, Metric
from geofold.core.pullback import Pullback
from geofold.molecule.builder import peptide
from geofold.molecule.contacts import parse_contact

EPISODES, QUICK, SEEDS = 128, 16, 2
BASE = "base"
DECAY, KEEP = 0.9, 0.5


@dataclass(frozen=True)
class Variant:
    """One set of parts and what it differs in."""

    name: str
    note: str
    parts: Controller

    @property
    def ships(self) -> bool:
        """Whether `geofold constrain` runs it."""
        return self.parts == controller(RunOptions(seed=self.parts.seed))


def variants(seed: int = 0) -> Iterator[Variant]:
    """The base, and what differs from it in one or two parts."""
    base = replace(
        controller(RunOptions(seed=seed)), backbone=Glide(KEEP), metric=Pullback(decay=DECAY), order=2, horizon=1
    )
    yield Variant(BASE, f"glide {KEEP}, exact metric, decay {DECAY}, order 2, H = 1", base)
    yield Variant("order_1", "first-order retraction", replace(base, order=1))
    yield Variant("h3", "H = 3", replace(base, horizon=3))
    yield Variant("h3_order_1", "H = 3, first-order retraction", replace(base, horizon=3, order=1))
    yield Variant("hold_still", "hold-still (any H is the same)", replace(base, backbone=HoldStill()))
    yield Variant("hold_still_order_1", "hold-still, first order", replace(base, backbone=HoldStill(), order=1))
    for keep in (0.3, 0.7):
        yield Variant(f"glide_{keep}", f"glide {keep}", replace(base, backbone=Glide(keep)))
    metrics: dict[str, Metric] = {
        "exact_no_average": Pullback(decay=0.0),
        "exact_0.98": Pullback(decay=0.98),
        "exact_frozen": Pullback(decay=DECAY, adapt=False),
        "fisher_4": Pullback("fisher", rank=4, decay=DECAY),
        "fisher_8": Pullback("fisher", rank=8, decay=DECAY),
        "fisher_8_0.98": Pullback("fisher", rank=8, decay=0.98),
        "fisher_8_informed": Pullback("fisher", rank=8, decay=DECAY, informed=True),
        "fisher_24": Pullback("fisher", rank=24, decay=DECAY),
        "nystrom_8": Pullback("nystrom", rank=8, decay=DECAY),
        "nystrom_24": Pullback("nystrom", rank=24, decay=DECAY),
        "paper_8": Pullback("paper", rank=8, decay=DECAY),
        "paper_8_informed": Pullback("paper", rank=8, decay=DECAY, informed=True),
        "euclidean": EuclideanMetric(),
    }
    for name, metric in metrics.items():
        yield Variant(name, _described(metric), replace(base, metric=metric))
    fisher = Pullback("fisher", rank=8, decay=DECAY)
    yield Variant("fisher_8_order_1", "Fisher r = 8, first order", replace(base, metric=fisher, order=1))
    yield Variant("fisher_8_h3", "Fisher r = 8, H = 3", replace(base, metric=fisher, horizon=3))


def _described(metric: Metric) -> str:
    if not isinstance(metric, Pullback):
        return "Euclidean metric"
    if metric.sketch == "exact":
        return f"exact metric, decay {metric.decay}{'' if metric.adapt else ', first look kept'}"
    probes = "loss-aware and random probes" if metric.informed else "random probes"
    return f"{metric.sketch} sketch, r = {metric.rank}, decay {metric.decay}, {probes}"


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run every variant on every episode and seed, variants in turn."""
    began = time.time()
    records = Records(out)
    chosen = episodes(limit or (QUICK if quick else EPISODES), seed=TUNING_SEED)
    jobs = [(episode, seed, variant) for episode in chosen for seed in range(SEEDS) for variant in variants(seed)]
    for episode, seed, variant in track(jobs, description="ablation"):
        key = f"{episode.name}/{seed}"
        if not records.has(key, variant.name):
            records.add(key, variant.name, **_numbers(episode, variant.parts))
    summarise(records, quick=quick or limit is not None, began=began)


def _numbers(episode: Episode, parts: Controller) -> dict[str, Any]:
    structure = peptide(episode.sequence)
    options = RunOptions(seed=parts.seed, steps=LIMIT, energy=False)
    contact = parse_contact(structure, episode.contact)
    move = constrain_peptide(structure, 0, len(structure.residues) - 1, (contact,), options, parts=parts)
    done = move.status == "done"
    return {
        "success": done, "steps": len(move.trace) - HELD + 1 if done else LIMIT, "milliseconds": sum(move.milliseconds),
        "made": len(move.trace), "corrections": sum(move.trace), "accepted": move.accepted,
    }  # fmt: skip


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Table and summary of the records, the base first."""
    base = {row["episode"]: row for row in records.of(BASE)}
    metrics: dict[str, float] = {}
    body = []
    for variant in variants():
        name = variant.name
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
                f"**{name}** (ships)" if variant.ships else name,
                variant.note,
                f"{numbers['success']:.3f}",
                f"{steps:.1f} +- {half:.1f}",
                f"{more:+.1f} +- {wide:.1f}" if name != BASE else "-",
                f"{numbers['milliseconds_per_step']:.2f}",
                f"{numbers['seconds']:.3f}",
            ]
        )
    columns = ["variant", "what", "success", "steps", "steps, minus base's", "ms a step", "s an episode"]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="ablation")
