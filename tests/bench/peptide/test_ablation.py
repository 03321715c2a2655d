"""The ablation benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

from geofold.bench.peptide import ablation
from geofold.bench.peptide.ablation import BASE, variants
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller


def test_one_variant_is_what_ships() -> None:
    """The table may call a variant shipped only if the command runs exactly its parts."""
    assert [v.parts for v in variants(3) if v.ships] == [controller(RunOptions(seed=3))]


def test_names_tell_variants_apart() -> None:
    made = list(variants())
    assert len({v.name for v in made}) == len(made)
    for k, one in enumerate(made):
        assert all(one.parts != other.parts for other in made[k + 1 :]), one.name


def test_variants_are_compared_on_the_same_episodes(tmp_path: Path, monkeypatch) -> None:
    few = [v for v in variants() if v.name in (BASE, "euclidean")]
    monkeypatch.setattr(ablation, "variants", lambda seed=0: iter(few))
    monkeypatch.setattr(ablation, "SEEDS", 1)
    monkeypatch.setattr(ablation, "LIMIT", 12)
    ablation.run(str(tmp_path), quick=True, limit=2)
    rows = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert len(rows) == 4
    steps = {name: [r["steps"] for r in rows if r["agent"] == name] for name in (BASE, "euclidean")}
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["euclidean.steps_more"] == sum(steps["euclidean"]) / 2 - sum(steps[BASE]) / 2
    ablation.run(str(tmp_path), quick=True, limit=2)
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 4, "a finished run is not run again"
