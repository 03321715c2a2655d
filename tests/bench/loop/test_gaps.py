"""The benchmark of entries with gaps, on a small scale."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from app_cases import STRUCTURES
from process_cases import Here

from geofold.app import api
from geofold.bench.common import processes
from geofold.bench.loop import gaps
from geofold.cli import main


def test_a_run_builds_what_it_can_and_says_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    shutil.copy(STRUCTURES / "1bhl.pdb", data)
    shutil.copy(STRUCTURES / "1ubi.pdb", data)
    quick = partial(api.repair, streams=2, rounds=1, energy=False)
    monkeypatch.setattr(gaps.api, "repair", quick)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    args = ["bench", "gaps", "--data", str(data), "--out", str(out)]
    assert main(args) == 0
    assert "A:138-153" in capsys.readouterr().out
    metrics = json.loads((out / "summary.json").read_text())["metrics"]
    assert (metrics["entries"], metrics["gaps"], metrics["loops_built"], metrics["residues_built"]) == (2, 1, 1, 16)
    assert metrics["entries_failed"] == 1 and metrics["cis"] == 0
    rows = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert "no gap that can be built" in next(row["failed"] for row in rows if row["episode"] == "1ubi.pdb")
    before = (out / "records.jsonl").read_text()
    assert main(args) == 0 and (out / "records.jsonl").read_text() == before


def test_a_folder_without_structures_is_refused(tmp_path: Path, capsys) -> None:
    assert main(["bench", "gaps", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "a folder with structures" in capsys.readouterr().err
