"""Training: the same weights from one seed, and from an interrupted run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.cli import main
from geofold.errors import InputFileError
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.torsion_prior.model import WEIGHTS, load_prior
from geofold.learn.torsion_prior.training import train_prior
from geofold.learn.training_loop import Schedule
from geofold.learn.weights import load_weights

SMALL = {"width": 16, "components": 2, "ahead": 8, "kind": "rnn"}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two random walks of 300 residues in the format of the data."""
    noise = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "backbones.npz"
    np.savez(
        path, dxyz=noise.integers(-120, 120, (600, 4, 3)).astype(np.int16),
        aa=noise.integers(0, len(AMINO_ACIDS), 600).astype(np.uint8), start=np.array([0, 300]),
        length=np.array([300, 300]), split=np.array([0, 1], np.uint8),
    )  # fmt: skip
    return path


def test_an_interrupted_run_ends_with_the_weights_of_a_complete_one(data: Path, tmp_path: Path) -> None:
    complete, resumed, reseeded = (tmp_path / name for name in ("one", "other", "again"))
    train_prior(data, complete, steps=7, seed=3, **SMALL)
    train_prior(data, resumed, steps=7, seed=3, stop=4, **SMALL)
    assert not (resumed / WEIGHTS).exists(), "half a run writes no weights"
    train_prior(data, resumed, steps=7, seed=3, **SMALL)
    train_prior(data, reseeded, steps=7, seed=4, **SMALL)
    assert (complete / WEIGHTS).read_bytes() == (resumed / WEIGHTS).read_bytes() != (reseeded / WEIGHTS).read_bytes()
    rows = [line.split(",")[0] for line in (resumed / "curve.csv").read_text().splitlines()]
    assert rows == ["step", "4", "7"]
    assert not list(resumed.glob("*.part")) and (resumed / "curve.png").stat().st_size > 5000


def test_weights_are_read_back_and_the_card_says_where_from(data: Path, tmp_path: Path) -> None:
    train_prior(data, tmp_path, steps=3, **SMALL)
    model, _ = load_prior(tmp_path / WEIGHTS)
    assert not any(p.requires_grad for p in model.parameters())
    card = json.loads((tmp_path / "prior.json").read_text())
    assert card["steps"] == 3 and card["options"] == model.options and len(card["data_sha256"]) == 64
    letters, torsions = torch.zeros(5, 1, dtype=torch.long), torch.zeros(5, 1, 3)
    torch.testing.assert_close(
        *[load_prior(tmp_path / WEIGHTS)[0].log_likelihood(letters, torsions)[0] for _ in range(2)]
    )


def test_wrong_and_truncated_weights_are_refused(data: Path, tmp_path: Path) -> None:
    train_prior(data, tmp_path, steps=2, **SMALL)
    path = tmp_path / WEIGHTS
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(InputFileError, match="truncated"):
        load_prior(path)
    with pytest.raises(InputFileError, match="cannot be read"):
        load_prior(tmp_path / "absent.safetensors")
    with pytest.raises(InputFileError, match="holds no weights"):
        load_weights(path, torch.nn.Linear(2, 2))


def test_another_schedule_is_not_mixed_in(data: Path, tmp_path: Path) -> None:
    train_prior(data, tmp_path, steps=5, stop=2, **SMALL)
    with pytest.raises(InputFileError, match="another schedule"):
        train_prior(data, tmp_path, steps=6, **SMALL)


def test_rate_rises_and_falls() -> None:
    schedule = Schedule(1000)
    rates = [schedule.at(k) for k in range(1000)]
    assert rates.index(max(rates)) in range(90, 110) and rates[0] < 0.02 * max(rates) and rates[-1] < 1e-4 * max(rates)


def test_command(data: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "prior"
    assert main(["train", "prior", "--data", str(data), "--out", str(out), "--steps", "2", "--backbone", "rnn"]) == 0
    assert "after 2 batches" in capsys.readouterr().out and (out / WEIGHTS).exists()
    assert main(["train", "prior", "--data", str(data), "--backbone", "lstm"]) == 2
    assert main(["train", "prior", "--data", str(tmp_path / "no.npz"), "--out", str(out)]) == 2
    assert "holds no backbones" in capsys.readouterr().err
