"""The train commands on a small scale: weights, cards, curves, and runs that are resumed."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path

import pytest
import torch
from data_cases import small_data

from geofold.app.commands.train import loop as loop_command
from geofold.app.commands.train import prior as prior_command
from geofold.app.train import driver as train_models
from geofold.app.train import gate as train_gate
from geofold.app.train.gate_front import UNIFORM_DEPTH, choose_penalty
from geofold.cli import main
from geofold.learn.loop_denoiser import training as loop_training
from geofold.learn.loop_denoiser.model import LoopModel, load_loop, shipped_loop_model
from geofold.learn.pretrained import load_gate, shipped_gate
from geofold.learn.torsion_prior.model import TorsionPrior
from geofold.modelling import controllers as loop_parts


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    small_data(folder, packed=True)
    return folder


def arguments(data: Path, out: Path) -> list[str]:
    return ["--data", str(data / "backbones.npz"), "--packed", str(data / "packed.npz"), "--out", str(out)]


def test_a_loop_model_has_a_card_and_training_it_again_changes_nothing(
    data: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    for name, value in (
        ("BATCH_SIZE", 2),
        ("VALIDATION_BATCHES", 1),
        ("VALIDATION_BATCH_SIZE", 2),
        ("SWEEPS", 1),
        ("TEMPERATURES", torch.ones(1)),
    ):
        monkeypatch.setattr(loop_training, name, value)
    monkeypatch.setattr(train_models, "VALIDATION_LOOPS", 6)
    args = ["train", "loop", *arguments(data, tmp_path), "--steps", "2", "--backbone", "rnn"]
    assert main(args) == 0
    assert "after 2 batches" in capsys.readouterr().out
    card = json.loads((tmp_path / "loop.json").read_text())
    assert card["command"].endswith("--backbone rnn") and len(card["packed_sha256"]) == 64 and card["trouble"] > -10
    assert load_loop(tmp_path / "loop.safetensors")[0].options["kind"] == "rnn"
    before = (tmp_path / "loop.safetensors").read_bytes()
    assert main(args) == 0 and (tmp_path / "loop.safetensors").read_bytes() == before


def test_an_interrupted_training_of_a_gate_resumes_with_the_same_weights(
    data: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(train_gate, "GUIDED_SWEEPS", 2)
    monkeypatch.setattr(loop_parts, "PREDICTED_SWEEPS", 1)
    monkeypatch.setattr(train_gate, "PENALTIES", (0.1, 1.0))
    args = ["train", "gate", *arguments(data, tmp_path), "--cases", "1"]
    assert main(args) == 0
    assert "penalty" in capsys.readouterr().out
    card = json.loads((tmp_path / "gate.json").read_text())
    assert card["loop_model_sha256"] == shipped_loop_model()[1]["sha256"]
    assert [row["price"] for row in card["front"]] == [UNIFORM_DEPTH, 0.1, 1.0]
    before = (tmp_path / "gate.safetensors").read_bytes()
    (tmp_path / "outcomes" / "1_0.safetensors").unlink()  # as if interrupted in the second round
    assert main(args) == 0 and (tmp_path / "gate.safetensors").read_bytes() == before
    gate = load_gate(tmp_path / "gate.safetensors")
    assert gate.largest == train_gate.MAX_DEPTH and all(bool(part.isfinite().all()) for part in gate.weights.values())
    with monkeypatch.context() as restless:
        restless.setattr(loop_parts, "PREDICTED_SWEEPS", 5)  # longer than the streams: no pose is at rest
        assert main([*args[:-3], str(tmp_path / "restless"), *args[-2:]]) == 2
    assert "--cases 1, in none of which the predictor comes to rest" in capsys.readouterr().err
    assert (tmp_path / "front.png").stat().st_size > 5000


def test_the_highest_penalty_that_costs_no_task_loss_is_chosen() -> None:
    rows = [(UNIFORM_DEPTH, -5.0), (0.1, 1.0), (0.3, 0.98), (1.0, 1.02), (3.0, 2.0)]
    assert choose_penalty([{"price": price, "task": task, "inner": 1.0} for price, task in rows]) == 1.0


def test_the_models_that_ship_are_those_of_the_default_options() -> None:
    backbones = [signature(command).parameters["kind"].default for command in (prior_command, loop_command)]
    assert backbones == [TorsionPrior.USUAL, LoopModel.USUAL]
    assert shipped_loop_model()[0].options["kind"] == LoopModel.USUAL
    assert shipped_gate().name == "learned"


def test_packed_chains_of_other_data_are_refused(data: Path, tmp_path: Path, capsys) -> None:
    other_data = small_data(tmp_path / "other", times=2)
    args = [
        "train",
        "loop",
        "--data",
        str(other_data),
        "--packed",
        str(data / "packed.npz"),
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(args) == 2
    assert "other backbones" in capsys.readouterr().err
