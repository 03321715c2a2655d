"""The comparison on steep ground: an even search for options, paired statistics, and the geometry that is measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from process_cases import Here

from geofold.bench.common import processes
from geofold.bench.common.records import Records
from geofold.bench.common.statistics import bootstrap_interval
from geofold.bench.maze import relief, tuning
from geofold.bench.maze.agents import tuned
from geofold.bench.maze.agents.tuned import ADAPTED, EUCLIDEAN, TUNED_AGENTS
from geofold.bench.maze.relief import Episode, GeometryProbe, leg_steps, measure_legs, run_agent
from geofold.bench.maze.relief_tables import compare_to_euclidean
from geofold.cli import main


def bowl(options: dict[str, float]) -> tuple[float, ...]:
    """Steps that are fewest at (30, 0.01)."""
    return (math.log(options["a"] / 30) ** 2, math.log(options["b"] / 0.01) ** 2)


def test_a_search_has_no_edge_and_makes_the_trials_that_it_should() -> None:
    tried = tuning.search(bowl, {"a": 1.0, "b": 1.0}, 40)
    assert len(tried) == 40
    best = min(tried, key=lambda trial: trial["steps"])["options"]
    assert abs(math.log(best["a"] / 30)) < 0.3 and abs(math.log(best["b"] / 0.01)) < 0.3


def test_a_trial_without_effect_does_not_count() -> None:
    calls = []

    def only_a(options: dict[str, float]) -> tuple[float, ...]:
        calls.append(options)
        return (abs(math.log(options["a"])), 1.0)

    tried = tuning.search(only_a, {"b": 1.0, "a": 5.0}, 8)
    assert len(tried) == 8 < len(calls) and all(trial["options"]["b"] == 1.0 for trial in tried[:3])
    # options that never matter end the search
    assert len(tuning.search(lambda options: (7.0,), {"a": 1.0}, 8)) == 1


@pytest.mark.parametrize("shift", [-2.0, 0.0])
def test_wins_and_effects_of_paired_episodes(tmp_path: Path, shift: float) -> None:
    records, noise = Records(tmp_path), np.random.default_rng(0)
    base = 40 + 10 * noise.standard_normal(60)
    for number, steps in enumerate(base):
        records.add(f"2/{number}", EUCLIDEAN, steps=float(steps))
        records.add(f"2/{number}", ADAPTED, steps=float(steps + shift + noise.standard_normal()))
        records.add(f"4/{number}", ADAPTED, steps=1e9)
    numbers = compare_to_euclidean(records, ADAPTED, 2.0)
    assert numbers["effect_low"] < numbers["effect"] < numbers["effect_high"]
    assert numbers["ratio"] == pytest.approx(1 + shift / base.mean(), abs=0.01)
    assert (numbers["effect_high"] < 0 and numbers["p"] < 1e-6) == (shift < 0)
    assert numbers["wins"] + numbers["losses"] == 1 and (numbers["wins"] > 0.9) == (shift < 0)


def test_a_bootstrap_interval_is_as_wide_as_that_of_the_mean() -> None:
    values = np.random.default_rng(1).standard_normal(400)
    low, high = bootstrap_interval(values, lambda x: float(x.mean()))
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_a_failure_counts_as_many_steps_as_the_ground_allows(monkeypatch) -> None:
    assert leg_steps(0.0) == 96 and leg_steps(4.0) == 288
    monkeypatch.setattr(relief, "FLAT_LEG_STEPS", 4)
    (run,) = run_agent(TUNED_AGENTS[1].make(), [Episode(0.0, 0)])
    assert measure_legs(run, 0.0)["steps"] == 4 and measure_legs(run, 0.0)["success"] == 0


def test_the_probe_changes_nothing_and_sees_the_geometry(monkeypatch) -> None:
    monkeypatch.setattr(relief, "FLAT_LEG_STEPS", 5)
    agent = next(agent for agent in TUNED_AGENTS if agent.name == ADAPTED)
    angles = []
    for slope in (0.0, 4.0):
        batch = [Episode(slope, number) for number in range(3)]
        probe = GeometryProbe(agent.make(**agent.start))
        seen, plain = run_agent(probe, batch), run_agent(agent.make(**agent.start), batch)
        assert all((a.positions == b.positions).all() for a, b in zip(seen, plain, strict=True))
        numbers = probe.medians()
        assert 1 <= numbers["condition"] <= numbers["condition_90"]
        assert 0 <= numbers["angle"] <= numbers["angle_90"] <= 90
        angles.append(numbers["angle"])
    assert angles[1] > angles[0]


def test_agents_are_tuned_first(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(tuned, "TUNED", tmp_path / "absent.json")
    assert main(["bench", "maze", "--part", "relief", "--out", str(tmp_path / "maze")]) == 2
    assert "geofold bench tune --part relief" in capsys.readouterr().err and not (tmp_path / "maze").exists()


def test_from_the_command_line(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(relief, "FLAT_LEG_STEPS", 2)
    for module in (relief, tuning):
        monkeypatch.setattr(module, "SLOPES", (0.0, 4.0))
    monkeypatch.setattr(tuning, "TRIALS", 2)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    assert main(["bench", "tune", "--part", "relief", "--out", str(tmp_path), "--limit", "1"]) == 0
    monkeypatch.setattr(tuned, "TUNED", tmp_path / "tuned_relief.json")
    found = json.loads((tmp_path / "tuned_relief.json").read_text())
    assert found["4"][EUCLIDEAN]["options"].keys() == {"first", "radius"}
    capsys.readouterr()
    out = tmp_path / "maze"
    assert main(["bench", "maze", "--part", "relief", "--out", str(out), "--limit", "1", "--seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert all(f"| {agent.name} |" in shown for agent in TUNED_AGENTS)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["metrics"]["geossm.episodes_4"] == 1 and summary["metrics"]["geossm.steps_0"] == 2
    assert (out / "relief.png").stat().st_size > 0
