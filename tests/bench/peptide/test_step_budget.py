"""The table of step budgets on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geofold.bench.peptide import step_budget


def test_run_compares_budgets_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_budget, "BUDGETS", (0.01, 1e6, None))
    step_budget.run(str(tmp_path), quick=True, limit=2)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    # a correction is tried until the pace is known, and never again if none fits
    assert 0 < metrics["ms_0.01.corrections_per_step"] < metrics["ms_1e+06.corrections_per_step"]
    assert metrics["ms_0.01.over_budget"] == 1.0 and metrics["ms_1e+06.over_budget"] == 0.0
    assert metrics["none.episodes"] == 2 and "none.over_budget" not in metrics
    records = (tmp_path / "records.jsonl").read_text()
    for line in records.splitlines():
        row = json.loads(line)
        assert len(row["inner"]) == len(row["milliseconds"]) >= min(row["steps"], 128)
    step_budget.run(str(tmp_path), quick=True, limit=2)
    assert (tmp_path / "records.jsonl").read_text() == records, "a finished run is not run again"
