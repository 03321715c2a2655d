"""Pretraining: it learns, a killed run goes on to the same weights, and weights are read back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from geofold.cli import main
from geofold.errors import InputFileError
from geofold.learn.data.chains import AMINO_ACIDS, dihedral, read_chains
from geofold.learn.judge import pretraining
from geofold.learn.judge.crops import evaluation_crops
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretrained import WEIGHTS, load_network
from geofold.learn.judge.pretraining import evaluate, pretrain

SMALL = {"width": 16, "message": 8, "rounds": 1, "neighbours": 8, "size": 512}
CHAINS, LENGTH = 24, 50


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random walks whose amino acids follow from their torsions phi."""
    noise = np.random.default_rng(0)
    size = CHAINS * LENGTH
    steps = noise.integers(-150, 150, (size, 4, 3))
    n, ca, c = np.cumsum(steps.reshape(-1, 3), axis=0).reshape(size, 4, 3)[:, :3].swapaxes(0, 1)
    phi = np.append(0.0, dihedral(c[:-1], n[1:], ca[1:], c[1:]))
    letters = (phi.argsort().argsort() * len(AMINO_ACIDS) // size).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "backbones.npz"
    np.savez(
        path, dxyz=steps.astype(np.int16), aa=letters, start=LENGTH * np.arange(CHAINS),
        length=np.full(CHAINS, LENGTH), split=np.array([0] * (CHAINS - 4) + [1] * 4, np.uint8),
    )  # fmt: skip
    return path


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(data: Path, tmp_path: Path) -> None:
    one, other, again = (tmp_path / name for name in ("one", "other", "again"))
    pretrain(data, one, steps=6, checkpoint_interval=3, seed=3, **SMALL)
    pretrain(data, other, steps=6, checkpoint_interval=3, seed=3, stop=3, **SMALL)
    assert not (other / WEIGHTS).exists(), "half a run writes no weights"
    pretrain(data, other, steps=6, checkpoint_interval=3, seed=3, **SMALL)
    pretrain(data, again, steps=6, checkpoint_interval=3, seed=4, **SMALL)
    assert (one / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes() != (again / WEIGHTS).read_bytes()
    table = (one / pretraining.RECOVERY_TABLE).read_text()
    assert table == (other / pretraining.RECOVERY_TABLE).read_text() and len(table.splitlines()) == 3


def test_it_learns_amino_acids_from_torsions(data: Path, tmp_path: Path) -> None:
    judged = evaluation_crops(read_chains(data), "train", count=8, coverage=0.3)
    before = evaluate(InverseFolding(**{k: v for k, v in SMALL.items() if k != "size"}).eval(), judged)
    pretrain(data, tmp_path, steps=150, checkpoint_interval=150, **SMALL | {"width": 32})
    after = evaluate(load_network(tmp_path / WEIGHTS)[0], judged)
    assert after.residues == before.residues > 50
    assert after.structure_perplexity < 12 < 17 < before.structure_perplexity
    assert after.structure_recovery > 0.15


def test_weights_are_read_back_with_their_card(data: Path, tmp_path: Path) -> None:
    found = pretrain(data, tmp_path, steps=2, **SMALL)
    network, card = load_network(tmp_path / WEIGHTS)
    assert card["options"] == network.options and card["steps"] == 2 and len(card["data_sha256"]) == 64
    assert not any(p.requires_grad for p in network.parameters())
    judged = evaluation_crops(
        read_chains(data), "valid", count=pretraining.VALIDATION_CHAINS, coverage=pretraining.VALIDATION_COVERAGE
    )
    assert evaluate(network, judged) == found
    assert found.loss == pytest.approx(math.log(card["perplexity"] * card["structure_perplexity"]) / 2)


def test_wrong_weights_are_refused(data: Path, tmp_path: Path) -> None:
    pretrain(data, tmp_path, steps=1, **SMALL)
    path = tmp_path / WEIGHTS
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"options": {"width": 8}}))
    with pytest.raises(InputFileError, match="no weights of this model"):
        load_network(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputFileError, match="truncated"):
        load_network(path)


def test_the_command_trains_resumes_and_reports(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "CHECKPOINT_INTERVAL", 1)
    args = ["train", "judge", "--data", str(data.parent), "--out", str(tmp_path / "run"), "--steps", "2"]
    assert main(args) == 0
    assert "masked residues of validation chains: perplexity" in capsys.readouterr().out
    weights = (tmp_path / "run" / WEIGHTS).read_bytes()
    assert main(args) == 0, "a run that is complete says so again"
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == weights
    assert json.loads((tmp_path / "run" / WEIGHTS).with_suffix(".json").read_text())["command"] == (
        "geofold train judge --steps 2 --seed 0"
    )


def test_the_command_refuses_a_device_that_is_not_there(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["train", "judge", "--data", str(data), "--out", str(tmp_path / "run"), "--device", "abacus"]
    assert main(args) == 2
    assert "abacus" in capsys.readouterr().err and not (tmp_path / "run").exists()
