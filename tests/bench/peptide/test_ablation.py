"""The ablation benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

from geofold.bench.peptide import ablation
from geofold.bench.peptide.ablation import BASE, make_variants
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller


def test_exactly_one_variant_is_the_shipped_controller() -> None:
    """The table may call a variant shipped only if the command runs exactly its parts."""
    assert [v.parts for v in make_variants(3) if v.ships] == [controller(RunOptions(seed=3))]


def test_names_and_controllers_of_variants_are_unique() -> None:
    variants = list(make_variants())
    assert len({v.name for v in variants}) == len(variants)
    for k, variant in enumerate(variants):
        assert all(variant.parts != later.parts for later in variants[k + 1 :]), variant.name


def test_variants_are_compared_on_the_same_episodes(tmp_path: Path, monkeypatch) -> None:
    few = [v for v in make_variants() if v.name in (BASE, "euclidean")]
    monkeypatch.setattr(ablation, "make_variants", lambda seed=0: iter(few))
    monkeypatch.setattr(ablation, "SEEDS", 1)
    monkeypatch.setattr(ablation, "MAX_STEPS", 12)
    ablation.run(str(tmp_path), quick=True, limit=2)
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    steps = {name: [r["steps"] for r in rows if r["agent"] == name] for name in (BASE, "euclidean")}
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["euclidean.steps_more"] == sum(steps["euclidean"]) / 2 - sum(steps[BASE]) / 2
    ablation.run(str(tmp_path), quick=True, limit=2)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4, "a finished run is not run again"
