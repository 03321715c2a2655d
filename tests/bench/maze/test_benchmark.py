"""The maze benchmark: its agents, resumed runs, tables; and the sweep of iLQR against a direct solve."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from process_cases import Here

from geofold import resources
from geofold.bench.common import processes
from geofold.bench.maze import benchmark as maze
from geofold.bench.maze import corridors, hotspots
from geofold.bench.maze.agents import registry as maze_roster
from geofold.bench.maze.agents.ilqr import IlqrLite, Quadratic, sweep
from geofold.bench.maze.agents.rmp import Reactive
from geofold.bench.maze.benchmark import CASES, Episode, make_episodes, make_jobs, measure_run, time_steps
from geofold.bench.maze.hotspots import compute_shares, count_hotspots, steps_lost
from geofold.cli import main
from geofold.core.gate import FixedGate
from geofold.learn.maze_predictor import build_predictor
from geofold.maze.domain import PLAN_MOVES
from geofold.maze.episode import maze_controller, run_episode
from geofold.maze.features import N_FEATURES
from geofold.maze.worlds.world import make_world

NAMES = [
    "transformer", "vanilla_ssm", "rmp", "euclidean_tr", "latent_precondition",
    "ilqr_lite", "geossm_no_adapt", "geossm", "ssm_attention", "esm", "esm_trained",
]  # fmt: skip


@pytest.fixture
def untrained(monkeypatch) -> None:
    """Use untrained predictors, so that a test needs no weights."""
    made = {
        kind: build_predictor(kind, N_FEATURES, 2 * PLAN_MOVES).double().requires_grad_(False)
        for kind in maze_roster.PREDICTORS
    }
    monkeypatch.setattr(maze_roster, "shipped_predictor", made.__getitem__)
    monkeypatch.setattr(maze, "require_predictors", lambda: None)


def test_agents_have_the_names_of_the_tables() -> None:
    assert [agent.name for agent in maze_roster.AGENTS] == NAMES


def test_jobs_cover_every_drag_and_no_world_twice() -> None:
    made = list(make_episodes(40, 2, 0, 0))
    assert len({episode.key for episode in made}) == len(made)
    run_batch = [(episode.move_at, episode.drag) for episode in made if episode.panel == maze.WORLD]
    assert {case: run_batch.count(case) for case in CASES} == dict.fromkeys(CASES, 8)
    assert all(episode.move_at is not None for episode in made if episode.panel == maze.GRID)
    clock = [episode.world for episode in made if episode.panel == maze.CLOCK]
    assert clock == [episode.world for episode in made if episode.panel == maze.WORLD][: maze.TIMED_EPISODES]
    batches = list(make_jobs(made))
    assert sorted(e.key for _, batch in batches for e in batch) == sorted(e.key for e in made)
    assert all(e.panel == panel for panel, batch in batches for e in batch)
    assert all(len(batch) <= (1 if panel == maze.CLOCK else maze.EPISODES_PER_JOB) for panel, batch in batches)


def test_every_agent_moves(untrained) -> None:
    world = make_world(0)
    for agent in (*maze_roster.AGENTS, *maze_roster.CONFIGURATIONS):
        run = run_episode(world, agent.timed(8.0), steps=3, with_features=True)
        assert len(run.inner) == 3 and np.isfinite(run.positions).all()
        assert (run.inner == 0).all() == (agent.name in ("transformer", "vanilla_ssm", "rmp", "ssm_attention"))


def test_the_reactive_agent_is_a_backbone_and_approaches_its_target() -> None:
    seen = torch.zeros(2, N_FEATURES, dtype=torch.float64)
    plan, after = Reactive().step(seen, Reactive().init_state(2, 2 * PLAN_MOVES, seen))
    assert plan.shape == (2, 2 * PLAN_MOVES) and torch.equal(
        Reactive().read(Reactive().write(after, plan + 1)), plan + 1
    )
    run = run_episode(make_world(1), maze_controller(Reactive(), gate=FixedGate(0)), steps=60, with_features=True)
    left = np.linalg.norm(run.positions - run.worlds[0].targets[0], axis=1)
    assert left[-1] < 0.5 * left[0]


def test_a_sweep_is_the_best_first_action() -> None:
    noise = np.random.default_rng(0)
    size, steps, discount, effort = 3, 3, 0.9, 0.4
    parts = []
    for h in range(steps):
        root = noise.standard_normal((size, size))
        transition = torch.as_tensor(noise.standard_normal((size, size))) if h + 1 < steps else None
        parts.append(
            Quadratic(torch.as_tensor(noise.standard_normal(size)), torch.as_tensor(root @ root.T), transition)
        )
    actions = torch.zeros(steps, size, dtype=torch.float64)

    def cost(actions: torch.Tensor) -> torch.Tensor:
        total, off = torch.zeros((), dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
        for h, part in enumerate(parts):
            y = off + actions[h]
            total = (
                total
                + discount**h * (part.gradient @ y + y @ part.curvature @ y / 2)
                + effort / 2 * actions[h] @ actions[h]
            )
            off = part.transition @ y if part.transition is not None else y
        return total

    slope = torch.func.grad(cost)(actions).flatten()
    curve = torch.func.hessian(cost)(actions).reshape(steps * size, steps * size)
    best = -torch.linalg.solve(curve, slope)[:size]
    assert torch.allclose(sweep(parts, discount, effort), best, atol=1e-10)


def test_a_sweep_is_independent_of_other_rows() -> None:
    noise = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=noise, dtype=torch.float64)

    parts = [
        Quadratic(drawn(4, 3), (root := drawn(4, 3, 3)) @ root.mT, drawn(4, 3, 3) if h < 2 else None) for h in range(3)
    ]
    together = sweep(parts, 0.97, 4.0)
    for row in range(4):
        unassisted = [
            Quadratic(p.gradient[row], p.curvature[row], None if p.transition is None else p.transition[row])
            for p in parts
        ]
        assert torch.allclose(sweep(unassisted, 0.97, 4.0), together[row], atol=1e-12)


def test_a_sweep_lowers_the_loss(untrained) -> None:
    run_of = {
        h: run_episode(
            make_world(0), IlqrLite(maze_roster.shipped_predictor("selective"), horizon=h), steps=6, with_features=True
        )
        for h in (1, 3)
    }
    led = run_episode(
        make_world(0),
        maze_controller(maze_roster.shipped_predictor("selective"), gate=FixedGate(0)),
        steps=6,
        with_features=True,
    )
    assert all(run.loss[0] < led.loss[0] for run in run_of.values())


def test_numbers_of_an_episode() -> None:
    run = run_episode(make_world(1000, targets=2), steps=60, leg_steps=10)
    counts = measure_run(run)
    assert counts["targets"] == 0 and counts["success"] is None and len(run.legs) == 2
    ended = run_episode(make_world(1000, targets=1), with_features=True)
    numbers_of_run = measure_run(ended)
    assert numbers_of_run["success"] == 1 and numbers_of_run["made"] == numbers_of_run["steps"] == len(
        time_steps(ended)["ms"]
    )
    assert time_steps(ended)["cpu"] > 0


def test_steps_lost_add_up_to_the_regret() -> None:
    run = run_episode(make_world(1000, targets=3), move_at=20, drag="large")
    assert run.dragged == 20 and len(run.legs) == 3
    lost = steps_lost(run)
    assert lost.min() > -0.8  # the oracle's paths are up to 1.4 % too long, and lead through cell centres
    for leg in run.legs:
        assert lost[leg.began : leg.ended].sum() == pytest.approx(leg.regret * max(leg.shortest, 1.0))


def test_hotspots_count_every_step_once(monkeypatch) -> None:
    elastic = run_episode(make_world(3, "corridors", targets=2), steps=80)
    unassisted = run_episode(make_world(3, "corridors", targets=2), maze_controller(gate=FixedGate(1)), steps=80)
    counts = count_hotspots(elastic, unassisted)
    assert 0 < counts["hard_steps"] <= counts["known_steps"] <= len(elastic.inner)
    assert counts["hard_inner"] <= counts["known_inner"] <= elastic.inner.sum()
    # where nothing is hard but one place, inner steps that are made there alone are all made where it is hard
    inner_steps = np.zeros(len(elastic.inner), dtype=int)
    inner_steps[40:44] = 3
    flat = replace(elastic, inner=inner_steps)
    monkeypatch.setattr(hotspots, "steps_lost", lambda run: np.where(inner_steps > 0, 1.0, 0.0))
    flat_counts = count_hotspots(flat, flat)
    assert flat_counts["hard_inner"] == flat_counts["known_inner"] == 12 and flat_counts["known_steps"] == len(
        inner_steps
    )
    numbers = compute_shares([{**flat_counts, "made": len(inner_steps), "inner": 12}])
    assert numbers["inner_at_hardest"] == 1.0 and 0 < numbers["steps_at_hardest"] < 0.6
    assert 0 <= numbers["inner_at_narrow"] <= 1


def test_a_run_writes_tables_and_is_resumed(untrained, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(maze, "EPISODE_STEPS", 3)
    monkeypatch.setattr(maze, "MAX_LEG_STEPS", 2)
    monkeypatch.setattr(
        maze,
        "make_episodes",
        lambda *given: [
            Episode(maze.WORLD, 0, None, None),
            Episode(maze.WORLD, 1, 1, "large"),
            Episode(maze.GRID, 1, 1, "large"),
            Episode(maze.CLOCK, 0, None, None),
        ],
    )
    monkeypatch.setattr(maze, "WORKERS", 1)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    assert main(["bench", "maze", "--out", str(tmp_path), "--quick"]) == 0
    numbers = capsys.readouterr().out
    assert all(f"| {name} |" in numbers for name in NAMES)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["quick"] and summary["metrics"]["transformer.energy"] == 1
    assert {"geossm.steps_over_transformer", "geossm.steps_p_rmp"} <= summary["metrics"].keys()
    assert (tmp_path / "nonstationarity.png").stat().st_size > 0
    before = (tmp_path / "records.jsonl").read_text()
    assert main(["bench", "maze", "--out", str(tmp_path), "--quick"]) == 0
    assert (tmp_path / "records.jsonl").read_text() == before


def test_corridors_compare_the_same_episodes(untrained, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(maze, "EPISODE_STEPS", 3)
    monkeypatch.setattr(maze, "MAX_LEG_STEPS", 2)
    monkeypatch.setattr(corridors, "COSTED_WORLDS", 1)
    monkeypatch.setattr(corridors, "COSTED_STEPS", 2)
    monkeypatch.setattr(processes, "ProcessPoolExecutor", Here)
    monkeypatch.setattr(processes, "as_completed", lambda done: done)
    assert main(["bench", "maze", "--part", "corridors", "--out", str(tmp_path), "--limit", "2", "--seeds", "1"]) == 0
    shown, metrics = capsys.readouterr().out, json.loads((tmp_path / "summary.json").read_text())["metrics"]
    for name in maze.STREAMERS:
        assert f"| {name} |" in shown and metrics[f"{name}.episodes"] == 2 and metrics[f"{name}.compute"] > 0
    assert metrics["transformer.compute"] == 1 and metrics["esm.success_more"] == 0
    assert 0 <= metrics["esm.steps_at_hardest"] <= 1 and (tmp_path / "heat_map.png").stat().st_size > 0


def test_worlds_of_seeds_do_not_overlap() -> None:
    made = list(corridors.make_episodes(64, range(3), 0))
    assert len({episode.key for episode in made}) == len(made) == 3 * 64
    assert {episode.panel for episode in made} == {maze.MAZE} and made[64].world == 256


def test_missing_weights_stop_the_run(tmp_path: Path, monkeypatch, capsys) -> None:
    def none(*parts: str) -> Path:
        raise FileNotFoundError

    monkeypatch.setattr(resources, "find", none)
    assert main(["bench", "maze", "--out", str(tmp_path / "out"), "--quick"]) == 2
    assert "geofold train maze --backbone" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_time_limit_of_ilqr_is_that_of_a_geossm_step(untrained, monkeypatch) -> None:
    monkeypatch.setattr(maze, "EPISODE_STEPS", 2)
    monkeypatch.setattr(maze, "BUDGET_STEPS", 3)
    monkeypatch.setattr(maze, "time_geossm", lambda walks: 0.5)
    limits = []
    agent = next(agent for agent in maze_roster.AGENTS if agent.name == "ilqr_lite")
    monkeypatch.setattr(maze, "AGENTS", (replace(agent, capped=lambda ms: limits.append(ms) or agent.parts()),))
    rows = maze.run_batch(maze.CLOCK, (Episode(maze.CLOCK, 0, None, None),))
    assert limits == [0.5] and rows[0][2]["budget"] == 0.5
    monkeypatch.undo()
    assert agent.timed(0.5).budget == 0.5 and agent.parts().budget is None
