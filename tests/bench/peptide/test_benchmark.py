"""The peptide benchmark on a small scale: episodes, setups, planning, tuning, records and tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold import resources
from geofold.bench.common.statistics import compare_means, mean_per_episode
from geofold.bench.peptide import benchmark as peptide
from geofold.bench.peptide import plots as peptide_plots
from geofold.bench.peptide import tables as peptide_table
from geofold.bench.peptide import train_rivals as rivals
from geofold.bench.peptide import tuning as peptide_tune
from geofold.bench.peptide.agents.agent import TRIALS, Agent, make_grid
from geofold.bench.peptide.agents.mpc_planner import Planner
from geofold.bench.peptide.episodes import TUNING_SEED, changing_episodes, episodes, real_episodes
from geofold.bench.peptide.rollout import MAX_STEPS, Setup, make_setup, overlaps_per_step, run_controller
from geofold.bench.peptide.tables import summarise_agent
from geofold.bench.peptide.tuning import choose_best
from geofold.core.backbone import Momentum, NoMotion
from geofold.core.gate import FixedGate
from geofold.core.linearise import loss_value
from geofold.core.metric import EuclideanMetric
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
def setup() -> Setup:
    return make_setup(episodes(1, seed=TUNING_SEED)[0], 0)


def test_episodes_are_the_same_every_time() -> None:
    assert episodes(5) == episodes(9)[:5] and episodes(5, seed=TUNING_SEED) != episodes(5)
    summarise_changes = list(changing_episodes(24, seed=TUNING_SEED))
    assert summarise_changes == list(changing_episodes(24, seed=TUNING_SEED)) and {
        e.change for e in summarise_changes
    } == {16, 32, 64}
    assert all(e.later_contacts[0] != e.contact for e in summarise_changes)
    tightened = [e for e in summarise_changes if e.later_contacts[0].endswith("<5.0")]
    assert 0 < len(tightened) < 24


def test_real_contacts_are_made_in_their_structures() -> None:
    found_episodes = real_episodes()
    assert len(found_episodes) >= 10 and len({e.name for e in found_episodes}) == len(found_episodes)
    for episode in found_episodes:
        contact = parse_contact(make_setup(episode, 0).structure, episode.contact)
        assert contact.upper and contact.bound == 0.6


def test_starts_depend_on_the_seed_and_are_clean(setup: Setup) -> None:
    episode = episodes(1, seed=TUNING_SEED)[0]
    assert not bool(setup.start.conformation.angle.any())
    first, repeated, different = (make_setup(episode, seed).start.conformation.angle for seed in (1, 1, 2))
    assert torch.equal(first, repeated) and not torch.equal(first, different)
    shaken = make_setup(episode, 1)
    assert int(shaken.domain.sterics.count_severe(shaken.start.conformation.xyz, shaken.start.pairs)[0]) == 0


def test_steps_respect_the_cap_and_the_goal_is_held(setup: Setup) -> None:
    rollout = run_controller(controller(RunOptions(), None), setup, 0)
    turned = np.diff(rollout.torsions, axis=0)
    assert np.abs(turned).max() <= TORSION_CAP * (1 + 1e-9)
    assert rollout.held is not None and len(rollout.frames) == rollout.held + 5 == len(rollout.inner) + 1
    assert rollout.steps == rollout.held < MAX_STEPS
    assert overlaps_per_step(setup.domain, rollout.frames[-5:]) == 0.0
    shorter = setup.domain.distances(torch.as_tensor(rollout.frames[-5:]), setup.goal(0).contacts)
    assert bool((shorter <= 0.6).all())


def test_the_metric_of_a_path_is_measured_where_it_was_used(setup: Setup) -> None:
    parts = controller(RunOptions(), None)
    rollout = run_controller(parts, setup, 0)
    used = rollout.inner > 0
    assert used.any() and np.array_equal(np.isfinite(rollout.condition), used)
    assert (rollout.condition[used] > 1).all() and (rollout.angle[used] > 0.01).any()
    plain = run_controller(replace(parts, metric=EuclideanMetric(), stiff_directions=False), setup, 0)
    assert np.nanmax(plain.condition) == pytest.approx(1) and np.nanmax(plain.angle) < 1e-6


def test_steps_are_counted_from_the_change_of_the_goal() -> None:
    episode = replace(next(iter(changing_episodes(1, seed=TUNING_SEED))), change=3)
    summarise_changes = make_setup(episode, 0)
    assert summarise_changes.goal(2) != summarise_changes.goal(3)
    rollout = run_controller(controller(RunOptions(), None), summarise_changes, 0)
    assert rollout.held is None or len(rollout.inner) == 3 + rollout.held + 4


def test_a_planner_selects_the_candidate_with_the_lowest_loss(setup: Setup) -> None:
    domain, goal = setup.domain, setup.goal(0)
    plain = Planner(Momentum(0.5), candidates=1, spread=0.1)
    wide = Planner(Momentum(0.5), candidates=12, spread=0.1, horizon=1)
    state = wide.init(domain, setup.start)
    alone, _ = plain.step(domain, state, goal)
    assert torch.equal(alone.domain.conformation.xyz, setup.start.conformation.xyz), (
        "the first candidate is the policy's own move"
    )
    after, info = wide.step(domain, state, goal)
    assert float(info.loss_after[0]) < float(info.loss_before[0])
    repeated, _ = wide.step(domain, state, goal)
    assert torch.equal(after.domain.conformation.xyz, repeated.domain.conformation.xyz)
    zero = torch.zeros(1, domain.latent_dim, dtype=torch.float64)
    loss_there = loss_value(domain, domain.decode(zero, after.domain), after.domain, goal).total
    torch.testing.assert_close(loss_there, info.loss_after, rtol=1e-6, atol=1e-9)


def test_missing_weights_of_a_rival_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(rivals.RIVALS, "se3", (rivals.RIVALS["se3"][0], "absent.safetensors", 1))
    monkeypatch.setattr(resources, "find", lambda *parts: raised(parts))
    with pytest.raises(OptionError, match="without the weights of the rival"):
        peptide.run(str(tmp_path / "out"), quick=True, limit=1)
    assert not (tmp_path / "out").exists()


def raised(parts: tuple[str, ...]) -> Path:
    raise FileNotFoundError(parts[-1])


def test_every_agent_has_the_same_number_of_trials() -> None:
    from geofold.bench.peptide.agents.registry import AGENTS

    assert all(len(agent.trials) == TRIALS for agent in AGENTS) and len({a.name for a in AGENTS}) == len(AGENTS)
    assert make_grid(a=(1, 2), b=(3,)) == ({"a": 1, "b": 3}, {"a": 2, "b": 3})


def test_the_trial_with_the_fewest_steps_is_chosen() -> None:
    rows = [{"trial": t, "success": s, "steps": n} for t, s, n in ((0, True, 30), (0, False, 128), (1, True, 40))]
    winner = choose_best(({"a": 1}, {"a": 2}), rows)
    assert winner["options"] == {"a": 2} and winner["steps"] == 40.0 and len(winner["tried"]) == 2


def test_a_small_run_takes_tuning_episodes_and_packs_its_records(tmp_path: Path, monkeypatch) -> None:
    for module in (peptide, peptide_table, peptide_plots):
        monkeypatch.setattr(module, "AGENTS", FEW)
    monkeypatch.setattr(peptide, "COMPARED_EPISODES", 0)
    monkeypatch.setattr(peptide_plots, "draw", lambda records: None)
    jobs = list(peptide._make_jobs(1, 2, 0, TUNING_SEED))
    assert [job[3] for job in jobs if job[2] == "random"] == [0, 1] and jobs[-1][2] == "real"
    rows = peptide._run_job(*jobs[0], str(tmp_path / "references"))
    assert [agent for _, agent, _ in rows] == ["geossm", "se3_mpc", "done"]
    geossm, idle = rows[0][2], rows[1][2]
    assert geossm["success"] and not idle["success"] and idle["steps"] == MAX_STEPS and 0 < geossm["rmsd"] < 12
    assert list((tmp_path / "references").glob("*.npz"))
    from geofold.bench.common.records import Records

    records = Records(tmp_path)
    for key, agent, numbers in rows:
        records.add(key, agent, **numbers)
    peptide_table.summarise(records, "tuning", quick=True, began=0.0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["geossm.success"] == 1.0 and metrics["geossm.steps_over_se3_mpc"] < 1
    with np.load(tmp_path / "records.npz") as archive:
        arrays = dict(archive)
    assert arrays["agent"].tolist() == ["geossm", "se3_mpc"] and arrays["steps"].tolist() == [
        geossm["steps"],
        MAX_STEPS,
    ]
    second = arrays["ms"][arrays["ms_start"][1] :]
    assert second.tolist() == pytest.approx(idle["ms"]) and arrays["ms_start"][1] == len(geossm["ms"])
    assert "geossm.latency_ms_p99" in metrics and (tmp_path / "table.csv").read_text().count("geossm,") > 8


def test_means_are_over_episodes() -> None:
    rest = {"success": True, "seconds_to_contact": 1.0, "ms": [1.0], "made": 1, "inner": 1}
    rollout = (("a", 0, 10), ("a", 1, 20), ("b", 0, 40))
    rows = [{"episode": f"random/{name}/{seed}", "steps": steps, **rest} for name, seed, steps in rollout]
    assert mean_per_episode(rows, "steps") == {"random/a": 15.0, "random/b": 40.0}
    assert summarise_agent(rows)["steps"] == 27.5
    distance, p = compare_means({"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 3.0})
    assert distance == -1.0 and 0 < p <= 1
    assert peptide_tune.EPISODES + peptide_tune.FIRST_EPISODE <= 128


def test_changes_are_grouped_by_time_and_size(tmp_path: Path) -> None:
    from geofold.bench.common.records import Records

    records = Records(tmp_path)
    for number, (at, jump) in enumerate(((16, 1.0), (32, 5.0), (64, 9.0))):
        for agent, steps in (("geossm", 10 + number), ("se3_mpc", 30)):
            key = f"changing/{number:03d}_AAAAAAAA_1_5_{at}/0"
            records.add(key, agent, panel="changing", jump=jump, steps=steps, success=True)
    metrics, lines = peptide_table.summarise_changes(records, ["geossm", "se3_mpc"])
    assert metrics["geossm.changing_at_step_32_steps"] == 11 and metrics["geossm.changing_large_steps"] == 12
    assert metrics["geossm.changing_small_steps"] == 10 and metrics["se3_mpc.changing_medium_success"] == 1.0
    assert len(lines) == 12 and all(line[2] == "1" for line in lines)
    assert peptide_table.summarise_changes(Records(tmp_path / "none"), ["geossm"]) == ({}, [])
