"""The peptide benchmark on a small scale: episodes, stages, planning, tuning, records and tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.bench.peptide import benchmark as peptide
from geofold.bench.peptide import plots as peptide_plots
from geofold.bench.peptide import tables as peptide_table
from geofold.bench.peptide import train_rivals as rivals
from geofold.bench.peptide import tuning as peptide_tune
from geofold.bench.peptide.agents.agent import TRIALS, Agent, grid
from geofold.bench.peptide.agents.mpc_planner import Planner
from geofold.bench.peptide.episodes import TUNING_SEED, changing, episodes, real_episodes
from geofold.bench.peptide.rollout import LIMIT, Stage, overlaps_per_step, staged, walked
from geofold.bench.peptide.tables import difference, measured, per_episode
from geofold.bench.peptide.tuning import best
from geofold.core.backbone import Momentum, NoMotion
from geofold.core.gate import FixedGate
from geofold.core.linearise import loss_value
from geofold.errors import OptionError
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.peptide.streaming import controller
from geofold.molecule.peptide.contacts import parse_contact


def corrected(domain, seed, options) -> object:
    return controller(RunOptions(seed=seed), None)


def still(domain, seed, options) -> object:
    return replace(corrected(domain, seed, options), gate=FixedGate(0), backbone=NoMotion())


FEW = (Agent("geossm", "corrects", corrected, learned=False), Agent("se3_mpc", "does nothing", still))


@pytest.fixture(scope="module")
def stage() -> Stage:
    return staged(episodes(1, seed=TUNING_SEED)[0], 0)


def test_episodes_are_the_same_every_time() -> None:
    assert episodes(5) == episodes(9)[:5] and episodes(5, seed=TUNING_SEED) != episodes(5)
    moved = list(changing(24, seed=TUNING_SEED))
    assert moved == list(changing(24, seed=TUNING_SEED)) and {e.change for e in moved} == {16, 32, 64}
    assert all(e.later[0] != e.contact for e in moved)
    tightened = [e for e in moved if e.later[0].endswith("<5.0")]
    assert 0 < len(tightened) < 24


def test_real_contacts_are_made_in_their_structures() -> None:
    found = real_episodes()
    assert len(found) >= 10 and len({e.name for e in found}) == len(found)
    for episode in found:
        contact = parse_contact(staged(episode, 0).structure, episode.contact)
        assert contact.upper and contact.bound == 0.6


def test_starts_depend_on_the_seed_and_are_clean(stage: Stage) -> None:
    episode = episodes(1, seed=TUNING_SEED)[0]
    assert not bool(stage.start.fold.angle.any())
    one, again, other = (staged(episode, seed).start.fold.angle for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    shaken = staged(episode, 1)
    assert int(shaken.domain.sterics.severe(shaken.start.fold.xyz, shaken.start.pairs)[0]) == 0


def test_no_step_turns_by_more_than_the_cap_and_the_goal_is_held(stage: Stage) -> None:
    played = walked(controller(RunOptions(), None), stage, 0)
    turned = np.diff(played.angle, axis=0)
    assert np.abs(turned).max() <= TORSION_CAP * (1 + 1e-9)
    assert played.held is not None and len(played.frames) == played.held + 5 == len(played.inner) + 1
    assert played.steps == played.held < LIMIT
    assert overlaps_per_step(stage.domain, played.frames[-5:]) == 0.0
    shorter = stage.domain.distances(torch.as_tensor(played.frames[-5:]), stage.goal(0).contacts)
    assert bool((shorter <= 0.6).all())


def test_a_stage_whose_goal_changes_counts_from_there() -> None:
    episode = replace(next(iter(changing(1, seed=TUNING_SEED))), change=3)
    moved = staged(episode, 0)
    assert moved.goal(2) != moved.goal(3)
    played = walked(controller(RunOptions(), None), moved, 0)
    assert played.held is None or len(played.inner) == 3 + played.held + 4


def test_a_planner_takes_the_candidate_that_ends_lowest(stage: Stage) -> None:
    domain, goal = stage.domain, stage.goal(0)
    plain = Planner(Momentum(0.5), candidates=1, spread=0.1)
    wide = Planner(Momentum(0.5), candidates=12, spread=0.1, horizon=1)
    state = wide.init(domain, stage.start)
    alone, _ = plain.step(domain, state, goal)
    assert torch.equal(alone.domain.fold.xyz, stage.start.fold.xyz), "the first candidate is the policy's own move"
    after, info = wide.step(domain, state, goal)
    assert float(info.loss_after[0]) < float(info.loss_before[0])
    again, _ = wide.step(domain, state, goal)
    assert torch.equal(after.domain.fold.xyz, again.domain.fold.xyz)
    zero = torch.zeros(1, domain.latent_dim, dtype=torch.float64)
    there = loss_value(domain, domain.decode(zero, after.domain), after.domain, goal).total
    torch.testing.assert_close(there, info.loss_after, rtol=1e-6, atol=1e-9)


def test_rivals_without_weights_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(rivals.RIVALS, "se3", (rivals.RIVALS["se3"][0], "absent.safetensors", 1))
    monkeypatch.setattr(rivals.resources, "find", lambda *parts: raised(parts))
    with pytest.raises(OptionError, match="without the weights of the rival"):
        peptide.run(str(tmp_path / "out"), quick=True, limit=1)
    assert not (tmp_path / "out").exists()


def raised(parts: tuple[str, ...]) -> Path:
    raise FileNotFoundError(parts[-1])


def test_every_agent_has_as_many_trials() -> None:
    from geofold.bench.peptide.agents.registry import AGENTS

    assert all(len(agent.trials) == TRIALS for agent in AGENTS) and len({a.name for a in AGENTS}) == len(AGENTS)
    assert grid(a=(1, 2), b=(3,)) == ({"a": 1, "b": 3}, {"a": 2, "b": 3})


def test_the_fewest_steps_win() -> None:
    rows = [{"trial": t, "success": s, "steps": n} for t, s, n in ((0, True, 30), (0, False, 128), (1, True, 40))]
    won = best(({"a": 1}, {"a": 2}), rows)
    assert won["options"] == {"a": 2} and won["steps"] == 40.0 and len(won["tried"]) == 2


def test_a_limited_run_plays_tuning_episodes_and_is_not_played_again(tmp_path: Path, monkeypatch) -> None:
    for module in (peptide, peptide_table, peptide_plots):
        monkeypatch.setattr(module, "AGENTS", FEW)
    monkeypatch.setattr(peptide, "OUTSIDE", 0)
    monkeypatch.setattr(peptide_plots, "draw", lambda records: None)
    jobs = list(peptide._jobs(1, 2, 0, TUNING_SEED))
    assert [job[3] for job in jobs if job[2] == "random"] == [0, 1] and jobs[-1][2] == "real"
    rows = peptide._played(*jobs[0], str(tmp_path / "references"))
    assert [agent for _, agent, _ in rows] == ["geossm", "se3_mpc", "done"]
    geossm, idle = rows[0][2], rows[1][2]
    assert geossm["success"] and not idle["success"] and idle["steps"] == LIMIT and 0 < geossm["rmsd"] < 12
    assert list((tmp_path / "references").glob("*.npz"))
    from geofold.bench.common.records import Records

    records = Records(tmp_path)
    for key, agent, numbers in rows:
        records.add(key, agent, **numbers)
    peptide_table.summarise(records, "tuning", quick=True, began=0.0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["geossm.success"] == 1.0 and metrics["geossm.steps_over_se3_mpc"] < 1
    with np.load(tmp_path / "records.npz") as kept:
        arrays = dict(kept)
    assert arrays["agent"].tolist() == ["geossm", "se3_mpc"] and arrays["steps"].tolist() == [geossm["steps"], LIMIT]
    second = arrays["ms"][arrays["ms_start"][1] :]
    assert second.tolist() == pytest.approx(idle["ms"]) and arrays["ms_start"][1] == len(geossm["ms"])
    assert "geossm.latency_ms_p99" in metrics and (tmp_path / "table.csv").read_text().count("geossm,") > 8


def test_means_are_over_episodes() -> None:
    rest = {"success": True, "seconds_to_contact": 1.0, "ms": [1.0], "made": 1, "inner": 1}
    played = (("a", 0, 10), ("a", 1, 20), ("b", 0, 40))
    rows = [{"episode": f"random/{name}/{seed}", "steps": steps, **rest} for name, seed, steps in played]
    assert per_episode(rows, "steps") == {"random/a": 15.0, "random/b": 40.0}
    assert measured(rows)["steps"] == 27.5
    apart, p = difference({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 3.0})
    assert apart == -1.0 and 0 < p <= 1
    assert peptide_tune.EPISODES + peptide_tune.SKIPPED <= 128


def test_changes_are_told_by_their_time_and_size(tmp_path: Path) -> None:
    from geofold.bench.common.records import Records

    records = Records(tmp_path)
    for number, (at, jump) in enumerate(((16, 1.0), (32, 5.0), (64, 9.0))):
        for agent, steps in (("geossm", 10 + number), ("se3_mpc", 30)):
            key = f"changing/{number:03d}_AAAAAAAA_1_5_{at}/0"
            records.add(key, agent, panel="changing", jump=jump, steps=steps, success=True)
    metrics, lines = peptide_table.moved(records, ["geossm", "se3_mpc"])
    assert metrics["geossm.changing_at_step_32_steps"] == 11 and metrics["geossm.changing_large_steps"] == 12
    assert metrics["geossm.changing_small_steps"] == 10 and metrics["se3_mpc.changing_medium_success"] == 1.0
    assert len(lines) == 12 and all(line[2] == "1" for line in lines)
    assert peptide_table.moved(Records(tmp_path / "none"), ["geossm"]) == ({}, [])
