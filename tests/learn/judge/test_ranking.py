"""Training to rank: the loss prefers energies that follow the RMSD, training lowers it, an interrupted run resumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from app_cases import STRUCTURES

from geofold.learn.judge import ranking
from geofold.learn.judge.encoder import InverseFolding
from geofold.learn.judge.pretrained import WEIGHTS, load_network, save_network
from geofold.learn.judge.ranking import ranking_loss, train_ranking
from geofold.learn.judge.scoring import embed_surroundings
from geofold.learn.loop_score.decoys import SAMPLED, Decoys
from geofold.molecule.energy.loop_score_input import make_loop_environment
from geofold.molecule.io.read import read

LENGTH, CANDIDATES = 6, 60


def shifted(first: int, seed: int) -> Decoys:
    """A native loop of ubiquitin and copies that are shifted as rigid bodies by up to 4 A."""
    structure = read(STRUCTURES / "1ubi.pdb")
    around = make_loop_environment(structure, first, first + LENGTH - 1, structure.conformer_mask)
    noise = np.random.default_rng(seed)
    direction = noise.standard_normal((CANDIDATES, 3))
    size = np.linspace(0, 4, CANDIDATES)
    shift = direction / np.linalg.norm(direction, axis=1, keepdims=True) * size[:, None]
    xyz = around.xyz[first : first + LENGTH] + torch.as_tensor(shift, dtype=torch.float32)[:, None, None]
    rmsd = torch.as_tensor(size, dtype=torch.float32)
    return Decoys(xyz, rmsd, torch.full((CANDIDATES,), SAMPLED), around)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = InverseFolding(width=16, message=8, rounds=1, neighbours=8, seed=3)
    return save_network(tmp_path_factory.mktemp("weights"), network, {"seed": 3, "steps": 0})


class Oracle(InverseFolding):
    """A network whose energy is the distance to the native, times a factor."""

    def __init__(self, decoys: Decoys, factor: float) -> None:
        super().__init__(width=8, message=8, rounds=1, neighbours=8)
        self.native, self.factor = decoys.xyz[0, :, 1], factor

    def predict(self, environment, known, letters, graph):  # type: ignore[no-untyped-def]
        predictions = super().predict(environment, known, letters, graph)
        return predictions._replace(rank=self.rank)


def test_the_loss_is_lowest_where_energies_follow_the_rmsd() -> None:
    decoys = shifted(10, 0)
    rows = torch.arange(CANDIDATES)
    losses = []
    for factor in (-2.0, 0.0, 2.0):
        network = Oracle(decoys, factor).requires_grad_(False)
        network.rank = factor / LENGTH * decoys.rmsd.repeat_interleave(LENGTH)
        losses.append(float(ranking_loss(network, decoys, rows)))
    assert losses[2] < losses[1] < losses[0]


def test_training_ranks_a_loop_that_was_not_trained_on(pretrained: Path, tmp_path: Path) -> None:
    training, held_out = [shifted(first, first) for first in (4, 12, 20, 28, 50)], shifted(40, 7)
    train_ranking(training, [held_out], pretrained, tmp_path, steps=150)
    network, card = load_network(tmp_path / WEIGHTS)
    energy = embed_surroundings(network, held_out.around).energy(held_out.xyz)
    order = np.corrcoef(energy.argsort().argsort(), held_out.rmsd.argsort().argsort())[0, 1]
    assert order > 0.5
    assert card["loops"] == 5 and card["pretraining"]["steps"] == 0 and np.isfinite(card["valid_loss"])
    json.dumps(card)


def test_an_interrupted_run_ends_with_the_same_weights(
    pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "EVERY", 3)
    loops = [shifted(first, first) for first in (4, 12)]
    folders = [tmp_path / name for name in ("one", "two")]
    train_ranking(loops, loops[:1], pretrained, folders[0], steps=6)
    train_ranking(loops, loops[:1], pretrained, folders[1], steps=6, stop=3)
    assert not (folders[1] / WEIGHTS).exists()
    train_ranking(loops, loops[:1], pretrained, folders[1], steps=6)
    assert (folders[0] / WEIGHTS).read_bytes() == (folders[1] / WEIGHTS).read_bytes()
