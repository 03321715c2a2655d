"""Recovery of a judge on a split: the settings, and the command that prints them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.cli import main
from geofold.learn.data.chains import AMINO_ACIDS, DSSP, read_chains
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.evaluation import evaluate_settings, irregular_crops
from geofold.learn.judge.pretrained import WEIGHTS, save_network
from geofold.learn.judge.pretraining import Recovery, evaluate

CHAINS, LENGTH = 6, 70


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random walks, irregular in residues 30 to 49, all else helical; the last two chains are of the test split."""
    noise = np.random.default_rng(0)
    dssp = np.full((CHAINS, LENGTH), DSSP.index("H"), np.uint8)
    dssp[:, 30:50] = DSSP.index("C")
    path = tmp_path_factory.mktemp("data") / "backbones.npz"
    np.savez(
        path, dxyz=noise.integers(-120, 120, (CHAINS * LENGTH, 4, 3)).astype(np.int16), dssp=dssp.ravel(),
        aa=noise.integers(0, len(AMINO_ACIDS), CHAINS * LENGTH).astype(np.uint8), start=LENGTH * np.arange(CHAINS),
        length=np.full(CHAINS, LENGTH), split=np.array([0, 0, 0, 1, 2, 2], np.uint8),
    )  # fmt: skip
    return path


def test_loops_lie_where_the_chain_is_irregular(data: Path) -> None:
    crops = list(irregular_crops(read_chains(data), "test", 5))
    assert len(crops) == 2
    for crop in crops:
        where = torch.nonzero(crop.masked)[:, 0]
        assert int(where[0]) >= 30 and int(where[-1]) < 50 and int(where[-1] - where[0]) == len(where) - 1


def test_each_setting_masks_what_it_says(data: Path) -> None:
    network = InverseFolding(width=16, message=8, rounds=1).eval()
    found = evaluate_settings(network, read_chains(data), "test")
    assert set(found) == {"segments", "segment", "loop"}
    assert found["segments"].residues >= 2 * 0.25 * LENGTH
    assert 8 <= found["segment"].residues <= 32 and 8 <= found["loop"].residues <= 32
    assert (
        evaluate_settings(network, read_chains(data), "test", count=1)["segments"].residues < found["segments"].residues
    )


def test_perplexity_and_recovery_of_a_network_that_knows_one_amino_acid(data: Path) -> None:
    network = InverseFolding(width=16, message=8, rounds=1).eval().requires_grad_(False)
    for head in (network.structure_head, network.conditional_head):
        head.weight.zero_()
        head.bias.zero_()
        head.bias[3] = np.log(19.0)
    crops = list(irregular_crops(read_chains(data), "test", 5))
    letters = torch.cat([crop.letters[crop.masked] for crop in crops])
    share = float((letters == 3).double().mean())
    expected = np.exp(-(share * np.log(0.5) + (1 - share) * np.log(0.5 / 19)))
    found = evaluate(network, crops)
    assert found == Recovery(len(letters), *[pytest.approx(v, rel=1e-5) for v in (expected, share, expected, share)])


def test_the_command_prints_a_table(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save_network(tmp_path, InverseFolding(width=16, message=8, rounds=1), {})
    assert path.name == WEIGHTS
    assert main(["train", "judge-recovery", str(path), "--data", str(data.parent), "--split", "test"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["masked", "segments", "segment", "loop"]
    assert main(["train", "judge-recovery", str(path), "--data", str(data), "--split", "exam"]) == 2
    assert "split exam" in capsys.readouterr().err
