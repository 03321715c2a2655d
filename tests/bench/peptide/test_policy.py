"""The policy's benchmark on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

from geofold.bench.peptide import policy as learning_peptide
from geofold.bench.peptide.policy import make_agents


def test_agents_are_paired_with_hold_still(tmp_path: Path, monkeypatch) -> None:
    few = {name: make_agents()[name] for name in ("hold_still", "glide", "policy_alone", "policy", "policy_gated")}
    monkeypatch.setattr(learning_peptide, "make_agents", lambda: few)
    learning_peptide.run(str(tmp_path), quick=True, limit=2, seed=0)
    summary = json.loads((tmp_path / "summary.json").read_text())
    metrics = summary["metrics"]
    assert "tuning split" in summary["note"] and metrics["hold_still.episodes"] == 2
    assert metrics["hold_still.steps_less"] == 0.0 and metrics["hold_still.inner"] > 0
    assert 0 <= metrics["policy_alone.inner"] < 2, "only a stream that has been stuck is corrected"
    assert 0.3 < metrics["calibration.coverage_68"] < 1 and metrics["calibration.coverage_95"] > 0.7
    lines = (tmp_path / "records.jsonl").read_text().count("\n")
    learning_peptide.run(str(tmp_path), quick=True, limit=2, seed=0)
    assert (tmp_path / "records.jsonl").read_text().count("\n") == lines
    assert set(make_agents()) > set(few)
