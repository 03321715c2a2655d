"""The train commands on a small scale: weights, cards, curves, and runs that are taken up again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_cases import small_data

from geofold.app.commands.train import loop as loop_command
from geofold.app.commands.train import prior as prior_command
from geofold.app.train import driver as train_models
from geofold.app.train import gate as train_gate
from geofold.app.train import score as train_score
from geofold.app.train import score_loops as score_lessons
from geofold.app.train.gate import UNIFORM_DEPTH, choose_penalty
from geofold.cli import main
from geofold.learn.loop_denoiser import training as loop_training
from geofold.learn.loop_denoiser.model import LoopModel, load_loop, shipped_loop_model
from geofold.learn.loop_score import training as score_training
from geofold.learn.loop_score.model import load_score
from geofold.learn.pretrained import load_gate, shipped_gate
from geofold.learn.torsion_prior.model import TorsionPrior
from geofold.modelling import controllers as loop_parts
from geofold.modelling.search import decoys as score_decoys
from geofold.modelling.search.evolutionary import Effort


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    small_data(folder, packed=True)
    return folder


def asked(data: Path, out: Path) -> list[str]:
    return ["--data", str(data / "backbones.npz"), "--packed", str(data / "packed.npz"), "--out", str(out)]


def test_loop(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    for name, value in (("ROWS", 2), ("JUDGED", 1), ("JUDGED_ROWS", 2), ("SWEEPS", 1), ("TEMPERATURES", torch.ones(1))):
        monkeypatch.setattr(loop_training, name, value)
    monkeypatch.setattr(train_models, "VALIDATION_LOOPS", 6)
    args = ["train", "loop", *asked(data, tmp_path), "--steps", "2", "--backbone", "rnn"]
    assert main(args) == 0
    assert "after 2 batches" in capsys.readouterr().out
    card = json.loads((tmp_path / "loop.json").read_text())
    assert card["command"].endswith("--backbone rnn") and len(card["packed_sha256"]) == 64 and card["trouble"] > -10
    assert load_loop(tmp_path / "loop.safetensors")[0].options["kind"] == "rnn"
    before = (tmp_path / "loop.safetensors").read_bytes()
    assert main(args) == 0 and (tmp_path / "loop.safetensors").read_bytes() == before


def test_score(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    small = {"DRAWS": 48, "KEPT": 12, "NEAREST": 4, "EACH": 2, "LIKED": 4, "LEADING": 1, "NATIVES": 1, "CROSSES": 8}
    few = Effort(draws=48, crosses=16, broods=1, led=2, generations=1, parents=2)
    monkeypatch.setattr(score_lessons, "LENGTHS", (5,))
    monkeypatch.setattr(score_lessons, "SIZE", (20, 400))
    for name, value in (small | {"HARD": few, "SEARCHES": few}).items():
        monkeypatch.setattr(score_decoys, name, value)
    for name, value in {"WORKERS": 1, "ASKED": 1, "FEWEST": 4}.items():
        monkeypatch.setattr(train_score, name, value)
    monkeypatch.setattr(train_score, "make_once", in_turn)
    monkeypatch.setattr(loop_parts, "GUIDED_SWEEPS", 1)
    monkeypatch.setattr(score_training, "BATCH_CANDIDATES", 8)
    args = ["train", "score", "--data", str(data / "backbones.npz"), "--out", str(tmp_path), "--loops", "1"]
    args += ["--searches", "1", "--rounds", "1", "--steps", "2"]
    assert main(args) == 0
    assert "learned from 2 loops" in capsys.readouterr().out
    score, card = load_score(tmp_path / "score.safetensors")
    assert card["command"] == "geofold train score --loops 1 --searches 1 --rounds 1 --steps 2 --members 2 --seed 0"
    assert len(card["loop_sha256"]) == 64 and score.options["members"] == 2 == len(score.readers)
    assert len(list((tmp_path / "decoys").glob("train_0_*.npz"))) == 2
    assert len(list((tmp_path / "searched").glob("*.npz"))) == 1
    first = load_score(tmp_path / "round_0" / "score.safetensors")[0]
    one, two, other = (own.readers[k].pair.weight for own, k in ((score, 0), (score, 1), (first, 0)))
    assert not torch.equal(one, two) and not torch.equal(one, other)
    before = (tmp_path / "score.safetensors").read_bytes()
    assert main(args) == 0 and (tmp_path / "score.safetensors").read_bytes() == before
    further = [*args, "--begin", str(tmp_path / "score.safetensors")]
    further[further.index("--out") + 1] = str(tmp_path / "further")
    assert main(further) == 0
    then, told = load_score(tmp_path / "further" / "score.safetensors")
    assert told["begun_sha256"] == card["sha256"] and told["rounds"] == card["rounds"] + 1
    assert told["command"] == card["command"] + " --begin score.safetensors"
    for number, reader in enumerate(score.readers):
        begun = load_score(tmp_path / "further" / "begun" / f"member_{number}" / "score.safetensors")[0].readers[0]
        assert torch.equal(begun.pair.weight, reader.pair.weight)
        assert not torch.equal(then.readers[number].pair.weight, reader.pair.weight)
    # another loop than before, and what the potential likes there once it is bred
    (made,) = (tmp_path / "further" / "decoys").glob("train_*")
    assert made.name not in [path.name for path in (tmp_path / "decoys").iterdir()]
    assert bool((np.load(made)["kind"] == score_training.EVOLVED).any())
    assert main([*further, "--members", "3"]) == 2 == main([*further, "--rounds", "0"])
    # trained from scratch on the decoys of this run and of that before: of another width, and the same again
    anew = [*further, "--anew", "2", "--width", "16", "--earlier", str(tmp_path), "--irregular", "0.25"]
    anew[anew.index("--out") + 1] = str(tmp_path / "anew")
    assert main(anew) == 0
    again, said = load_score(tmp_path / "anew" / "score.safetensors")
    assert said["command"] == told["command"] + f" --irregular 0.25 --anew 2 --width 16 --earlier {tmp_path.name}"
    assert [reader.pair.out_features for reader in again.readers] == [16, 16]
    assert said["loops"] == card["loops"] + told["loops"] and not (tmp_path / "anew" / "member_0").exists()
    written = (tmp_path / "anew" / "score.safetensors").read_bytes()
    assert main(anew) == 0 and (tmp_path / "anew" / "score.safetensors").read_bytes() == written
    # and gone on from, in their own width
    third = [*args, "--begin", str(tmp_path / "anew" / "score.safetensors")]
    third[third.index("--out") + 1] = str(tmp_path / "third")
    assert main(third) == 0
    assert load_score(tmp_path / "third" / "score.safetensors")[0].options["width"] == 16
    # a judge goes on, and keeps half of what it was
    judge = [*further, "--judge", str(tmp_path / "anew" / "score.safetensors")]
    judge[judge.index("--out") + 1] = str(tmp_path / "judge")
    assert main(judge) == 0
    after, known = load_score(tmp_path / "judge" / "score.safetensors")
    assert (known["begun_sha256"], known["judge_sha256"]) == (card["sha256"], said["sha256"])
    assert known["command"] == told["command"] + " --judge score.safetensors"
    learnt = [load_score(tmp_path / "judge" / f"member_{k}" / "score.safetensors")[0].readers[0] for k in range(2)]
    for mean, was, then_ in zip(after.readers, again.readers, learnt, strict=True):
        assert torch.allclose(mean.pair.weight, (was.pair.weight + then_.pair.weight) / 2, atol=1e-7)
    assert main([*judge, "--anew", "2"]) == 2 == main([*args, "--judge", judge[-1]])
    assert main([*args, "--earlier", str(tmp_path)]) == 2 == main([*args, "--anew", "2", "--earlier", str(data)])


def in_turn(name: str, folder: Path, files: dict, make, workers: int) -> None:
    """Like `make_once`, in this process, where what was set for a test holds."""
    for path, given in files.items():
        if not path.exists():
            make(path, *given)


def test_gate(data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(train_gate, "GUIDED_SWEEPS", 1)
    monkeypatch.setattr(train_gate, "PENALTIES", (0.1, 1.0))
    args = ["train", "gate", *asked(data, tmp_path), "--cases", "1"]
    assert main(args) == 0
    assert "price" in capsys.readouterr().out
    card = json.loads((tmp_path / "gate.json").read_text())
    assert card["loop_model_sha256"] == shipped_loop_model()[1]["sha256"]
    assert [row["price"] for row in card["front"]] == [UNIFORM_DEPTH, 0.1, 1.0]
    before = (tmp_path / "gate.safetensors").read_bytes()
    (tmp_path / "outcomes" / "1_0.safetensors").unlink()  # as if killed in the second round
    assert main(args) == 0 and (tmp_path / "gate.safetensors").read_bytes() == before
    assert load_gate(tmp_path / "gate.safetensors").largest == train_gate.MAX_DEPTH
    assert (tmp_path / "front.png").stat().st_size > 5000


def test_the_highest_price_that_costs_nothing_is_chosen() -> None:
    rows = [(UNIFORM_DEPTH, -5.0), (0.1, 1.0), (0.3, 0.98), (1.0, 1.02), (3.0, 2.0)]
    assert choose_penalty([{"price": price, "task": task, "inner": 1.0} for price, task in rows]) == 1.0


def test_what_ships_is_what_the_commands_make_by_default() -> None:
    assert prior_command.__defaults__[-2] == TorsionPrior.USUAL  # type: ignore[index]
    assert loop_command.__defaults__[-2] == LoopModel.USUAL == shipped_loop_model()[0].options["kind"]  # type: ignore[index]
    assert shipped_gate().name == "learned"


def test_packed_chains_of_other_data_are_refused(data: Path, tmp_path: Path, capsys) -> None:
    other = small_data(tmp_path / "other", times=2)
    args = ["train", "loop", "--data", str(other), "--packed", str(data / "packed.npz"), "--out", str(tmp_path / "o")]
    assert main(args) == 2
    assert "other backbones" in capsys.readouterr().err
