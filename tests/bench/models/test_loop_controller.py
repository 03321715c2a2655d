"""The controller's benchmark on a small scale: episodes, agents, records, detection in whole proteins."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from data_cases import small_data

from geofold.bench.common.records import Records
from geofold.bench.common.statistics import auc, compare_paired
from geofold.bench.models import loop_controller as learning_controller
from geofold.bench.models import loop_latent, loop_stream
from geofold.bench.models.loop_controller import AGENTS
from geofold.learn.data.chains import read_chains
from geofold.molecule.datasets.bent_loops import choose_loops, perturb_structure
from geofold.molecule.datasets.packed_chains import packed_structure, read_packed


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("controller")
    small_data(folder, packed=True)
    return folder


def test_a_small_run_takes_the_validation_split(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(learning_controller, "WORKERS", 1)
    monkeypatch.setattr(learning_controller, "GUIDED_SWEEPS", 1)
    monkeypatch.setattr(loop_stream, "GUIDED_SWEEPS", 1)
    learning_controller.run(str(tmp_path), data=str(data), quick=False, limit=1, seed=0)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert "valid split" in summary["note"] and summary["quick"]
    metrics = summary["metrics"]
    assert metrics["native.median_rmsd"] == 0.0 and metrics["start.median_rmsd"] > 1.0
    assert metrics["predictor.inner"] == 0.0 and metrics["hold_still.inner"] == 2.0
    assert {f"{agent}.median_energy" for agent in AGENTS} <= set(metrics)
    assert 0.0 <= metrics["auto.auc"] <= 1.0


def test_a_small_run_of_the_latent_has_all_agents_and_pairs(data: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(loop_latent, "WORKERS", 1)
    monkeypatch.setattr(loop_stream, "GUIDED_SWEEPS", 1)
    loop_latent.run(str(tmp_path), data=str(data), quick=False, limit=2, seed=0)
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["latent_alone.inner"] == 0.0 and metrics["latent.inner"] == 2.0
    assert metrics["latent.overlaps"] < metrics["latent_alone.overlaps"]
    for agent in loop_latent.AGENTS:
        assert f"{agent}.rmsd_p_one_after_other" in metrics or agent == "one_after_other"
    # the variants are other computations than what they vary
    variants = ("first_order", "euclidean", "sketch", "written", "trained")
    ends = [metrics[f"latent{name}.mean_rmsd"] for name in ("", *(f"_{variant}" for variant in variants))]
    assert len(set(ends)) == len(ends)


def test_episodes_are_the_same_every_time_and_of_their_split(data: Path) -> None:
    chains, packed = read_chains(data / "backbones.npz"), read_packed(data / "packed.npz")
    first, second = (list(choose_loops(chains, packed, "train", 4)) for _ in range(2))
    assert first == second and {int(chains.split[e.chain]) for e in first} == {0}
    intact = list(choose_loops(chains, packed, "train", 6, intact=1.0))
    native = packed_structure(chains, packed, intact[0].chain)
    assert all(e.target == 0.0 for e in intact) and perturb_structure(native, intact[0]) is native


def test_paired_differences_and_ranks(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for number in range(20):
        records.add(str(number), "a", rmsd=float(number))
        records.add(str(number), "b", rmsd=float(number + 1 + number % 3))
    difference, p, share_less = compare_paired(records, "a", "b", "rmsd")
    assert difference == -2.0 and p < 0.01 and share_less == 1.0
    assert auc([2.0, 3.0], [1.0, 2.5]) == 0.75
