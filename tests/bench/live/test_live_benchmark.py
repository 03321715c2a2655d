"""The benchmark of the live page, without its browser; the page itself is tested in `tests/app/live`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geofold.app.live.start import open_session
from geofold.bench.live import benchmark
from geofold.bench.live.geometry import Geometry


def test_without_a_browser_the_summary_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "find_chromium", lambda: None)
    monkeypatch.setattr(benchmark, "CASES", {"peptide": benchmark.CASES["peptide"]})
    monkeypatch.setattr(benchmark, "ACTING", 2.0)
    benchmark.run(str(tmp_path), limit=3)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "without a browser" in summary["note"] and "3 random drags" in summary["note"]
    metrics = summary["metrics"]
    assert {f"peptide.{name}" for name in benchmark.MEASURED} <= set(metrics)
    assert metrics["peptide.frames_checked"] == 3 * benchmark.MOVES
    assert metrics["peptide.cis_made"] == metrics["peptide.chirality_changed"] == 0
    assert metrics["peptide.closure_error_angstrom"] <= 0.01
    assert metrics["peptide.random_actions"] > metrics["peptide.random_actions_refused"] > 0
    assert metrics["peptide.random_actions_cis_made"] == metrics["peptide.random_actions_chirality_changed"] == 0
    before = (tmp_path / "records.jsonl").read_text()
    benchmark.run(str(tmp_path), limit=3)  # a finished run is not repeated
    assert (tmp_path / "records.jsonl").read_text() == before


def test_broken_geometry_is_counted() -> None:
    session = open_session(sequence="AEGTWY")
    geometry = Geometry(session)
    assert set(geometry.errors(session).values()) == {0.0}

    class Mirrored:
        xyz = -session.xyz

    class Torn:
        xyz = session.xyz.copy()

    Torn.xyz[session.segment.structure.atoms_within(3, 5)] += 0.01
    mirrored: Any = Mirrored
    torn: Any = Torn
    assert geometry.errors(mirrored)["chirality_changed"] == 5  # glycine has none
    assert geometry.errors(torn)["closure_error_angstrom"] > 0.05
