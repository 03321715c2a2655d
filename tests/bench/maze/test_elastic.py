"""Compute against difficulty: classes, costs and the picture, on a small scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from process_cases import Here

from geofold.bench.common import processes
from geofold.bench.maze import corridors, elastic
from geofold.bench.maze.benchmark import MAZE
from geofold.bench.maze.elastic import BINS, SHIPPED, StateRecorder, agent_named, difficulty_of, project, summarise
from geofold.bench.maze.hotspots import PREDICTOR, steps_lost
from geofold.cli import main
from geofold.maze.episode import run_episode
from geofold.maze.worlds.world import make_world


def test_classes_have_equally_many_steps_and_cost_what_their_depth_does() -> None:
    costs = {"transformer": 1.0, PREDICTOR: 0.5, "inner": 0.25, SHIPPED: 0.7}
    difficulty = np.random.default_rng(0).permutation(50) / 10.0
    rows = [{"difficulty": part, "inner": np.floor(part)} for part in np.split(difficulty, 2)]
    metrics = summarise(rows, costs)
    assert metrics["steps"] == 50 and metrics["spearman"] > 0.9
    for number in range(1, BINS + 1):
        assert metrics[f"class_{number}.inner"] == number - 1
        assert metrics[f"class_{number}.compute"] == pytest.approx(0.5 + 0.25 * (number - 1))


def test_difficulty_is_known_where_the_predictor_alone_was() -> None:
    world = make_world(3, MAZE, targets=2)
    alone = run_episode(world, agent_named(PREDICTOR).parts(), steps=12, with_features=True)
    own = difficulty_of(alone, alone)
    assert np.isfinite(own).all() and np.ptp(own) > 0
    assert own.mean() == pytest.approx(steps_lost(alone).mean()), "means of squares, each as often as it was visited"


def test_a_recorder_changes_nothing() -> None:
    world = make_world(3, MAZE, targets=2)
    recorder = StateRecorder(agent_named(SHIPPED).parts())
    seen = run_episode(world, recorder, steps=6, with_features=True)
    plain = run_episode(world, agent_named(SHIPPED).parts(), steps=6, with_features=True)
    np.testing.assert_array_equal(seen.positions, plain.positions)
    assert recorder.depths == plain.inner.tolist()
    points = project(np.array(recorder.states))
    assert points.shape == (6, 2) and np.ptp(points[:, 0]) >= np.ptp(points[:, 1]) > 0


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(corridors, "COSTED_WORLDS", 1)
    monkeypatch.setattr(corridors, "COSTED_STEPS", 16)
    monkeypatch.setattr(
        elastic, "run_episode", lambda *given, **options: run_episode(*given, **{"steps": 16, **options})
    )
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    assert main(["bench", "maze", "--part", "elastic", "--out", str(tmp_path), "--limit", "1"]) == 0
    assert f"| {BINS} of {BINS} |" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["cost.transformer"] == 1 and 0 < metrics[f"cost.{PREDICTOR}"] < metrics[f"cost.{SHIPPED}"]
    assert (tmp_path / "elastic.png").read_bytes().startswith(b"\x89PNG")
