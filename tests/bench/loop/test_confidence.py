"""The fit of the confidence: what it reads off a build, and the interval of loops that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from app_cases import STRUCTURES
from process_cases import Here

from geofold.bench.common import processes
from geofold.bench.common.records import Records
from geofold.bench.loop import confidence
from geofold.bench.loop.sets import Episode, remove_loop
from geofold.cli import main
from geofold.learn.loop_score.confidence import Confidence
from geofold.modelling.options import RunOptions
from geofold.modelling.search.ensemble import Ensemble, with_confidence
from geofold.molecule.io.read import read


def episode() -> Episode:
    return remove_loop("ubiquitin", read(STRUCTURES / "1ubi.pdb"), "A:58-61")


def test_a_record_has_the_features_that_the_confidence_of_the_model_follows_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    build_loops = confidence.build_loops
    quick = RunOptions(streams=1, rounds=1, energy=False)

    def watched(structure: object, builds: object, options: RunOptions) -> object:
        made.append(build_loops(structure, builds, quick))
        return made[-1]

    monkeypatch.setattr(confidence, "build_loops", watched)
    ((key, agent, row),) = confidence.build_episode("calibration", episode(), 0)
    model, ensemble = made[0][0].models[0], made[0][0].initial[0].ensemble
    assert (key, agent, row["residues"], row["repacked"]) == ("calibration/ubiquitin", confidence.AGENT, 4, False)
    assert isinstance(ensemble, Ensemble) and 0 < row["rmsd"] < 5
    fit = Confidence(tuple(np.arange(5.0) / 10), -0.5, 0.5, 9)
    monkeypatch.setattr("geofold.modelling.search.ensemble.Confidence.of", lambda card: fit)
    told = with_confidence(made[0][0].structure, model, ensemble).confidence
    assert told == fit.predict_rmsd(np.array(row["features"]))


def test_a_loop_that_cannot_be_built_is_recorded_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = episode()
    broken = Episode("far", whole.start, whole.loop, whole.native, "GG")
    ((_, _, row),) = confidence.build_episode("calibration", broken, 0)
    assert "failed" in row
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    monkeypatch.setattr(confidence, "SETS", {"calibration": 1})
    monkeypatch.setattr(confidence, "episodes", lambda *_: [broken])
    out = tmp_path / "out"
    assert main(["bench", "learning", "--part", "confidence", "--data", str(tmp_path), "--out", str(out)]) == 2
    assert not (out / confidence.ENTRY).exists()


def test_the_interval_of_loops_outside_the_fit_holds_as_often_as_it_says(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    records = Records(tmp_path)
    for k in range(200):
        length = int(noise.integers(4, 17))
        features = [1.0, np.log(length), noise.normal(), noise.normal(), noise.normal()]
        rmsd = float(np.exp(0.5 * features[2] + 0.4 * noise.normal()))
        records.add(f"calibration/{k}", confidence.AGENT, features=features, rmsd=rmsd, residues=length, repacked=False)
    confidence.summarise(records, records.of(confidence.AGENT), quick=True, began=0.0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert abs(metrics["all.inside"] - 0.68) < 0.06 and abs(np.log(metrics["all.ratio"])) < 0.15
    entry = json.loads((tmp_path / confidence.ENTRY).read_text())
    fit = Confidence.of({"confidence": entry})
    assert fit is not None and fit.loops == 200 and entry["sets"] == {"calibration": 200, "valid_bare": 0}
    assert fit.weight[2] == pytest.approx(0.5, abs=0.1) and fit.weight[3] == pytest.approx(0.0, abs=0.1)
