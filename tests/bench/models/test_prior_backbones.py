"""Backbones compared as priors: budgets in batches, a second round for the best, resumed runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_cases import small_data

from geofold.bench.models import prior_backbones as learning_backbones
from geofold.errors import OptionError
from geofold.learn.torsion_prior import training as prior_training


@pytest.fixture
def small(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setattr(learning_backbones, "BACKBONE_NAMES", ("rnn", "selective", "s5"))
    monkeypatch.setattr(learning_backbones, "QUICK_BUDGET", 0.2)
    monkeypatch.setattr(learning_backbones, "FINALISTS", 1)
    for module in (learning_backbones, prior_training):
        monkeypatch.setattr(module, "WINDOW_SIZE", 32)
    monkeypatch.setattr(learning_backbones, "WORKERS", 1)
    small_data(tmp_path / "data")
    return tmp_path


def test_budgets_become_batches_and_the_best_are_trained_longer(small: Path) -> None:
    out, data = small / "out", str(small / "data")
    learning_backbones.run(str(out), data=data, quick=True, limit=None, seed=0)
    metrics = json.loads((out / "summary.json").read_text())["metrics"]
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    pace = {row["agent"]: row["milliseconds"] for row in rows if row["episode"] == "pace"}
    for name, milliseconds in pace.items():
        assert metrics[f"first.{name}.steps"] == max(round(200 / milliseconds), 1)
    second = [name for name in pace if f"second.{name}.nll" in metrics]
    best = min(pace, key=lambda name: metrics[f"first.{name}.nll"])
    assert best in second and len(second) <= 2
    before = (out / "records.jsonl").read_text()
    learning_backbones.run(str(out), data=data, quick=True, limit=None, seed=0)
    assert (out / "records.jsonl").read_text() == before, "what is done is not done again"


def test_missing_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="without --data"):
        learning_backbones.run(str(tmp_path), data=None, quick=True, limit=None, seed=0)
