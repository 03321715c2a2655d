"""Ablation of loop repair: each part is taken out of `repair` in turn, on loops of the validation split.

Every variant runs the same loops with the same seed, and differs from what ships in one part. A part is taken out by
putting another object in its place, for the duration of a run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any
from unittest.mock import patch

import numpy as np

from geofold.app import api
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import bootstrap_interval, wilcoxon_p
from geofold.bench.loop.benchmark import RUNNERS, WORKERS
from geofold.bench.loop.sets import Episode, episodes
from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.metric import EuclideanMetric
from geofold.modelling.scoring import Weights
from geofold.modelling.search.effort import choose_effort
from geofold.molecule.loop.predictor import LoopPredictor, Memory

BASE = "geofold"
LOOPS, QUICK = 100, 4
CONTROLLERS = "geofold.modelling.controllers"
MODELS = "geofold.bench.loop.benchmark.MODELS_PER_LOOP"
"""Number of models of a loop; one is enough here."""
WEIGHTS = (
    ("geofold.modelling.evaluation", ("REFINED",)),
    ("geofold.modelling.search.evolutionary", ("BREEDING", "GUIDING", "SEARCH", "FOUND")),
    ("geofold.modelling.repair.candidate_models", ("REFINED",)),
    ("geofold.modelling.build.initial_models", ("FOUND",)),
)
"""Where the weights of the scores are used in building a loop."""
SMALLEST = 0.1
"""RMSD (A) below which two loops count as equal: ratios are of values no smaller than this."""


@dataclass(frozen=True)
class DeafPredictor(LoopPredictor):
    """The loop model, to which the corrections of its proposals are not written back."""

    def step(self, x: Any, state: Memory) -> tuple[Any, Memory]:
        """Proposal for an observation, as if the last one had been taken as it was."""
        return super().step(x, state._replace(z=state.proposal))


@dataclass(frozen=True)
class Variant:
    """Shipped parts, or what is left of them without one.

    Attributes
    ----------
    note : str
        What is different.
    parts : dict of str to object
        Objects by the dotted names that they replace.
    """

    note: str
    parts: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Replace the parts for the duration of a block."""
        patches = [patch(name, part) for name, part in {MODELS: 1, **self.parts}.items()]
        for one in patches:
            one.start()
        try:
            yield
        finally:
            for one in reversed(patches):
                one.stop()


def weights_without(term: str) -> dict[str, Weights]:
    """Weights of all stages of a search without one term, by the dotted names of those that ship."""
    return {
        f"{module}.{name}": replace(getattr(import_module(module), name), **{term: 0.0})
        for module, names in WEIGHTS
        for name in names
    }


def make_variants() -> dict[str, Variant]:
    """Variants by name; the first is what ships."""

    def draw_only(*args: Any, **options: Any) -> Any:
        return replace(choose_effort(*args, **options), generations=0)

    gate = f"{CONTROLLERS}.shipped_gate"
    return {
        BASE: Variant("what ships"),
        "euclidean": Variant("Euclidean metric in place of the pullback", {f"{CONTROLLERS}.Pullback": EuclideanMetric}),
        "order_1": Variant("first-order retraction", {f"{CONTROLLERS}.Controller": partial(Controller, order=1)}),
        "no_loop_model": Variant(
            "guided streams without the loop model (SSM)", {f"{CONTROLLERS}.LoopPredictor": _no_motion}
        ),
        "at_once": Variant("one correction at every step, while the loop model predicts too", {gate: _always}),
        "at_once_deaf": Variant(
            "the same, and corrections are not written back to the loop model",
            {gate: _always, f"{CONTROLLERS}.LoopPredictor": DeafPredictor},
        ),
        "no_corrections": Variant("guided streams without corrections", {gate: _never}),
        "no_crosses": Variant(
            "conformations are drawn, not recombined",
            {"geofold.modelling.build.initial_models.choose_effort": draw_only},
        ),
        "no_potential": Variant(
            "no learned potential, in scores and minimisation",
            weights_without("potential") | {f"{CONTROLLERS}.POTENTIAL_WEIGHT": 0.0},
        ),
        "no_judge": Variant("no judge", weights_without("judge")),
        "no_force_field": Variant("no force field", {"geofold.app.api.repair": partial(api.repair, energy=False)}),
    }


def _no_motion(*_: Any, **__: Any) -> NoMotion:
    return NoMotion()


def _always() -> FixedGate:
    return FixedGate(1)


def _never() -> FixedGate:
    return FixedGate(0)


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Run every variant on every loop, then write table and summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of the packed chains.
    quick : bool
        Run four loops.
    limit : int or None
        Number of loops.
    seed : int
        Seed of every run.
    """
    began = time.time()
    records = Records(out)
    jobs = []
    for episode in episodes("valid", data, limit or (QUICK if quick else LOOPS)):
        names = [name for name in make_variants() if not records.has(episode.name, name)]
        if names:
            jobs.append((episode, names, seed))
    gather(records, "ablation of loop repair", run_variants, jobs, WORKERS)
    summarise(records, quick=quick or limit is not None, began=began)


def run_variants(episode: Episode, names: list[str], seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Run some variants on a loop.

    Parameters
    ----------
    episode : Episode
    names : list of str
        Keys of `make_variants`.
    seed : int
    """
    rows, variants = [], make_variants()
    for name in names:
        with variants[name].in_place():
            numbers = RUNNERS[BASE](episode, seed, None)
        shown = {key: numbers[key] for key in ("residues", "rmsd", "audit", "cpu_seconds", "seconds", "after")}
        rows.append((episode.name, name, shown))
    return rows


def summarise(records: Records, *, quick: bool, began: float) -> None:
    """Write table and summary of the records, in the order of the variants; loops with all variants count.

    Parameters
    ----------
    records : Records
        All records of the run.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    variants = make_variants()
    whole = [row["episode"] for row in records.of(BASE)]
    whole = [episode for episode in whole if all(records.has(episode, name) for name in variants)]
    metrics: dict[str, float] = {"loops": len(whole)}
    body, base = [], np.zeros(0)
    for name, variant in variants.items():
        rows = [row for row in records.of(name) if row["episode"] in whole]
        rmsd = np.maximum([row["rmsd"] for row in rows], SMALLEST)
        base = rmsd if name == BASE else base
        change = np.log(rmsd / base)
        low, high = bootstrap_interval(change, lambda values: float(values.mean()))
        numbers = {
            "median_rmsd": np.median(rmsd),
            "mean_rmsd": rmsd.mean(),
            "below_2": (rmsd < 2).mean(),
            "ratio": np.exp(change.mean()),
            "ratio_low": np.exp(low),
            "ratio_high": np.exp(high),
            "p": wilcoxon_p(change),
            "better": (change < 0).sum(),
            "worse": (change > 0).sum(),
            "overlaps": np.mean([row["after"]["overlaps"] for row in rows]),
            "audit_passed": np.mean([row["audit"] for row in rows]),
            "cpu_seconds": np.mean([row["cpu_seconds"] for row in rows]),
        }
        metrics |= {f"{name}.{key}": float(value) for key, value in numbers.items()}
        ratio = (
            "-" if name == BASE else f"{numbers['ratio']:.2f} ({numbers['ratio_low']:.2f}-{numbers['ratio_high']:.2f})"
        )
        body.append(
            [
                f"**{name}** (ships)" if name == BASE else name,
                variant.note,
                f"{numbers['median_rmsd']:.2f}",
                f"{numbers['mean_rmsd']:.2f}",
                f"{numbers['below_2']:.0%}",
                ratio,
                "-" if name == BASE else f"{numbers['better']} / {numbers['worse']}",
                f"{numbers['overlaps']:.2f}",
                f"{numbers['audit_passed']:.0%}",
                f"{numbers['cpu_seconds']:.0f}",
            ]
        )
    columns = [
        "variant", "what", "median RMSD (A)", "mean", "< 2 A", "RMSD / base's (95 %)", "better / worse", "overlaps",
        "audit", "CPU s",
    ]  # fmt: skip
    note = "ablation of loop repair, validation loops"
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note=note)
