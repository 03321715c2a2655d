"""Ablation of the controller without a policy: sketches, retraction orders and horizons on the tuning split.

The shipped defaults are the best variants of this table. Every variant runs the same episodes with the same seeds and
is compared with the base episode by episode. `geofold.bench.peptide.ablation_policy` has the variants with a policy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from rich.progress import track

from geofold.bench.common.records import Records, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width
from geofold.bench.peptide.episodes import TUNING_SEED, Episode, episodes
from geofold.bench.peptide.rollout import MAX_STEPS
from geofold.core.backbone import Momentum, NoMotion
from geofold.core.controller import Controller
from geofold.core.metric import EuclideanMetric
from geofold.core.pullback import Pullback
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import HELD, constrain_peptide, controller
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact

EPISODES, QUICK, SEEDS = 128, 16, 2
BASE = "base"
DAMPING, DECAY, KEEP = 30.0, 0.9, 0.5
PAPER_DAMPING = 1e-3


@dataclass(frozen=True)
class Variant:
    """A controller and what distinguishes it from the base."""

    name: str
    note: str
    parts: Controller

    @property
    def ships(self) -> bool:
        """Whether `geofold constrain` runs it when there is no policy."""
        return self.parts == controller(RunOptions(seed=self.parts.seed))

    def run_episode(self, episode: Episode, seed: int) -> dict[str, Any]:
        """Run an episode; the seed is already in the controller."""
        structure = peptide(episode.sequence)
        options = RunOptions(seed=self.parts.seed, steps=MAX_STEPS, energy=False, predictor=NoMotion().name)
        contact = parse_contact(structure, episode.contact)
        outcome = constrain_peptide(
            structure, 0, len(structure.residues) - 1, (contact,), options, parts_for=lambda *_: self.parts
        )
        done = outcome.status == "done"
        return {
            "success": done,
            "steps": len(outcome.trace) - HELD + 1 if done else MAX_STEPS,
            "milliseconds": sum(outcome.milliseconds),
            "made": len(outcome.trace),
            "corrections": sum(outcome.trace),
            "accepted": outcome.accepted,
        }


class AnyVariant(Protocol):
    """Variant of the controller for `run_variants`."""

    @property
    def name(self) -> str:
        """Name in the table."""

    @property
    def note(self) -> str:
        """Difference from the base."""

    @property
    def ships(self) -> bool:
        """Whether a command of geofold runs it."""

    def run_episode(self, episode: Episode, seed: int) -> dict[str, Any]:
        """Run an episode; returns success, steps (128 for a failure), milliseconds, made and corrections."""


def make_variants(seed: int = 0) -> Iterator[Variant]:
    """Yield the base, and variants that differ from it in one or two parts."""
    base = replace(
        controller(RunOptions(seed=seed)), backbone=Momentum(KEEP), metric=_pullback("exact"), order=2, horizon=1
    )
    yield Variant(BASE, f"glide {KEEP}, exact metric, lambda {DAMPING:g}, decay {DECAY}, order 2, H = 1", base)
    yield Variant("order_1", "first-order retraction", replace(base, order=1))
    yield Variant("h3", "H = 3", replace(base, horizon=3))
    yield Variant("h3_order_1", "H = 3, first-order retraction", replace(base, horizon=3, order=1))
    yield Variant("hold_still", "hold-still (any H is the same)", replace(base, backbone=NoMotion()))
    for keep in (0.3, 0.7):
        yield Variant(f"glide_{keep}", f"glide {keep}", replace(base, backbone=Momentum(keep)))
    for damping in (PAPER_DAMPING, 1.0, 10.0, 100.0, 300.0):
        yield Variant(f"lambda_{damping:g}", f"lambda {damping:g}", replace(base, metric=_pullback("exact", damping)))
    yield Variant("no_average", "decay 0", replace(base, metric=replace(_pullback("exact"), decay=0.0)))
    yield Variant("decay_0.98", "decay 0.98", replace(base, metric=replace(_pullback("exact"), decay=0.98)))
    yield Variant(
        "frozen", "metric of the first step kept", replace(base, metric=replace(_pullback("exact"), adapt=False))
    )
    for sketch, rank in (("fisher", 4), ("fisher", 8), ("fisher", 24), ("nystrom", 8), ("nystrom", 24), ("paper", 8)):
        metric = replace(_pullback(sketch), rank=rank)
        yield Variant(f"{sketch}_{rank}", f"{sketch} sketch, r = {rank}", replace(base, metric=metric))
    for sketch in ("fisher", "nystrom", "paper"):
        parts = replace(base, metric=_pullback(sketch, PAPER_DAMPING))
        yield Variant(f"{sketch}_8_lambda_0.001", f"{sketch} sketch, r = 8, lambda {PAPER_DAMPING:g}", parts)
    fisher = _pullback("fisher")
    loss_aware = replace(base, metric=replace(fisher, informed=True))
    yield Variant("fisher_8_informed", "fisher sketch, r = 8, loss-aware probes", loss_aware)
    yield Variant("fisher_8_order_1", "fisher sketch, r = 8, first order", replace(base, metric=fisher, order=1))
    yield Variant("fisher_8_h3", "fisher sketch, r = 8, H = 3", replace(base, metric=fisher, horizon=3))
    yield Variant("euclidean", "Euclidean metric", replace(base, metric=EuclideanMetric()))


def _pullback(sketch: str, damping: float = DAMPING) -> Pullback:
    return Pullback(sketch, rank=8, damping=damping, decay=DECAY)


def run(out: str, *, quick: bool, limit: int | None) -> None:
    """Run every variant without a policy on every episode and seed; see `run_variants`."""
    run_variants(out, make_variants, quick=quick, limit=limit)


def run_variants(out: str, make: Callable[[int], Iterable[AnyVariant]], *, quick: bool, limit: int | None) -> None:
    """Run variants on every episode and seed of the tuning split, then write the table.

    Parameters
    ----------
    out : str
        Folder of the records.
    make : callable
        Makes the variants for a seed.
    quick : bool
        Run sixteen episodes.
    limit : int or None
        Number of episodes.
    """
    began = time.time()
    records = Records(out)
    selected = episodes(limit or (QUICK if quick else EPISODES), seed=TUNING_SEED)
    jobs = [(episode, seed, variant) for episode in selected for seed in range(SEEDS) for variant in make(seed)]
    for episode, seed, variant in track(jobs, description="ablation"):
        key = f"{episode.name}/{seed}"
        if not records.has(key, variant.name):
            records.add(key, variant.name, **variant.run_episode(episode, seed))
    summarise(records, make(0), quick=quick or limit is not None, began=began)


def summarise(records: Records, variants: Iterable[AnyVariant], *, quick: bool, began: float) -> None:
    """Write table and summary of the records, in the order of the variants.

    Parameters
    ----------
    records : Records
        All records of the run.
    variants : iterable of AnyVariant
        Variants, in the order of the table.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    base = {row["episode"]: row for row in records.of(BASE)}
    metrics: dict[str, float] = {}
    body = []
    for variant in variants:
        name = variant.name
        rows = records.of(name)
        if not rows:
            continue
        steps, half_width = mean_and_half_width(row["steps"] for row in rows)
        shared = [row for row in rows if row["episode"] in base]
        more_steps, more_half_width = mean_and_half_width(
            [row["steps"] - base[row["episode"]]["steps"] for row in shared] or [0.0]
        )
        numbers = {
            "episodes": len(rows),
            "success": np.mean([row["success"] for row in rows]),
            "steps": steps,
            "steps_ci": half_width,
            "steps_more": more_steps,
            "steps_more_ci": more_half_width,
            "milliseconds_per_step": sum(r["milliseconds"] for r in rows) / sum(r["made"] for r in rows),
            "seconds": np.mean([row["milliseconds"] for row in rows]) / 1e3,
            "corrections_per_step": sum(r["corrections"] for r in rows) / sum(r["made"] for r in rows),
        }
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        body.append(
            [
                f"**{name}** (ships)" if variant.ships else name,
                variant.note,
                f"{numbers['success']:.3f}",
                f"{steps:.1f} +- {half_width:.1f}",
                f"{more_steps:+.1f} +- {more_half_width:.1f}" if name != BASE else "-",
                f"{numbers['milliseconds_per_step']:.2f}",
                f"{numbers['seconds']:.3f}",
            ]
        )
    columns = ["variant", "what", "success", "steps", "steps, minus base's", "ms a step", "s an episode"]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="ablation")
