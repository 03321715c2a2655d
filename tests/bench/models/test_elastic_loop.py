"""The protein half of the ESM table on a small scale, with untrained rivals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_cases import small_data

from geofold.bench.models import elastic_loop as learning_esm
from geofold.bench.models.elastic_loop import AGENTS, RIVALS
from geofold.errors import OptionError
from geofold.learn.loop_denoiser.model import LoopModel


@pytest.mark.slow
def test_a_small_run_takes_the_validation_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_data(tmp_path, packed=True)
    monkeypatch.setattr(learning_esm, "WORKERS", 1)
    monkeypatch.setattr(learning_esm, "GUIDED_SWEEPS", 1)
    monkeypatch.setattr(learning_esm, "require_weights", lambda weights, command: None)
    monkeypatch.setattr(learning_esm, "load_rival", lambda kind: LoopModel(kind, width=32, depth=1))
    learning_esm.run(str(tmp_path / "out"), data=str(tmp_path), quick=False, limit=1, seed=0)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "valid split" in summary["note"] and summary["quick"]
    metrics = summary["metrics"]
    assert metrics["ssm.protein_energy"] == metrics["transformer.protein_compute"] == 1.0
    assert {f"{agent}.minimised" for agent in AGENTS} <= set(metrics)
    assert all(metrics[f"{rival}.inner"] == 0.0 for rival in RIVALS)
    assert metrics["esm.operations"] > 0
    # a window of keys costs more than an SSM's state
    assert metrics["transformer.operations"] > metrics["ssm.operations"]


def test_missing_weights_of_a_rival_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning_esm, "RIVALS", {"ssm": "absent"})
    with pytest.raises(OptionError, match="rival loop_absent"):
        learning_esm.run(str(tmp_path / "out"), data=str(tmp_path), quick=True, limit=None, seed=0)
    assert not (tmp_path / "out").exists()
