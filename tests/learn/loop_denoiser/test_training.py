"""The loop model: densities, features, rollouts, and an interrupted training that gives the same weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.cli import main
from geofold.errors import InputFileError
from geofold.geometry import wrap
from geofold.kernels.library import library, plain
from geofold.learn.data.chains import AMINO_ACIDS
from geofold.learn.loop_denoiser import training as loop_training
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch, loop_torsions
from geofold.learn.loop_denoiser.dataset import LoopDataset, LoopWindow
from geofold.learn.loop_denoiser.features import INNOVATION_SIZE, featurise
from geofold.learn.loop_denoiser.inference import update_belief, window_values
from geofold.learn.loop_denoiser.model import (
    DISTANCE_OFFSETS,
    LEVEL_GRID,
    WEIGHTS,
    Increments,
    LoopModel,
    load_loop,
)
from geofold.learn.loop_denoiser.training import coverage, loss_terms, roll_out, train_loop
from geofold.molecule.io.read import read
from geofold.resources import find

SMALL = {"width": 16, "depth": 1, "kind": "rnn"}


@pytest.fixture(scope="module")
def loops() -> LoopDataset:
    """Windows of ubiquitin with all other backbone atoms around them."""
    structure = read(find("structures", "1ubi.pdb"))
    atoms = [[structure.atom(k, n, structure.conformer_mask) for n in ("N", "CA", "C", "O")] for k in range(76)]
    xyz = (10 * structure.xyz[np.array(atoms)]).astype(np.float32)
    letters = np.arange(76).astype(np.uint8) % len(AMINO_ACIDS)
    windows = []
    for start, length in ((4, 5), (20, 5), (30, 8), (50, 8), (60, 8)):
        part = slice(start - FLANK, start + length + FLANK)
        around = np.delete(xyz, np.arange(part.start, part.stop), axis=0).reshape(-1, 3)
        windows.append(LoopWindow(xyz[part], letters[part], around, np.arange(len(around)) % 4 == 3))
    return LoopDataset.of(windows)


@pytest.fixture(autouse=True)
def few(monkeypatch) -> None:
    monkeypatch.setattr(loop_training, "BATCH_SIZE", 3)
    monkeypatch.setattr(loop_training, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(loop_training, "VALIDATION_BATCH_SIZE", 3)
    monkeypatch.setattr(loop_training, "SWEEPS", 1)
    monkeypatch.setattr(loop_training, "TEMPERATURES", torch.tensor([0.8, 1.0]))


def test_features_are_invariant_under_rigid_motions(loops: LoopDataset) -> None:
    batch = loops.batch(0, 0, 4)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))
    turn = turn * torch.linalg.det(turn).sign()
    moved = batch._replace(xyz=batch.xyz @ turn.T + 3.0, environment=batch.environment @ turn.T + 3.0)
    innovation = torch.zeros(4, INNOVATION_SIZE)
    torch.testing.assert_close(
        featurise(batch, 2, 0.3, innovation), featurise(moved, 2, 0.3, innovation), atol=1e-4, rtol=0
    )  # fmt: skip


@pytest.mark.skipif(library() is None, reason="no compiler here")
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_features_by_the_kernel_are_those_of_the_plain_function(
    loops: LoopDataset, dtype: torch.dtype, tolerance: float
) -> None:
    noise = torch.Generator().manual_seed(1)
    for number, rows, cursor in ((0, 4, 0), (1, 2, 4)):
        batch = loops.batch(number, 0, rows)
        batch = BackboneBatch(*(part.to(dtype) if part.is_floating_point() else part for part in batch))
        present = batch.present.clone()
        present[0, :FLANK] = False  # a chain end
        xyz = batch.xyz + 0.8 * torch.randn(batch.xyz.shape, generator=noise).to(dtype)
        shared = batch.environment[:1].expand(rows, -1, -1)  # as of one loop in several conformations
        batch = batch._replace(xyz=xyz, present=present, environment=shared)
        innovation = torch.randn(rows, INNOVATION_SIZE, generator=noise).to(dtype)
        with torch.no_grad():
            fast = featurise(batch, cursor, 0.3, innovation)
            with plain():
                slow = featurise(batch, cursor, 0.3, innovation)
            alone = featurise(BackboneBatch(*(part[1:2] for part in batch)), cursor, 0.3, innovation[1:2])
        torch.testing.assert_close(fast, slow, atol=tolerance, rtol=tolerance)
        assert torch.equal(alone, fast[1:2]), "a row of a batch is the row alone"


def test_features_show_overlaps_with_the_environment(loops: LoopDataset) -> None:
    batch = loops.batch(1, 0, 2)
    none = torch.zeros(2, INNOVATION_SIZE)
    free = featurise(batch, 1, 0.0, none)
    overlapping = batch._replace(environment=batch.environment.clone())
    overlapping.environment[0, 0] = batch.xyz[0, FLANK + 1, 1] + 1.0
    changed = (featurise(overlapping, 1, 0.0, none) - free).abs().amax(1)
    assert float(changed[0]) > 0.5 and float(changed[1]) == 0.0
    without = overlapping._replace(weight=torch.zeros_like(overlapping.weight))
    assert torch.equal(featurise(without, 1, 0.0, none), featurise(batch._replace(weight=without.weight), 1, 0.0, none))


def test_density_has_mass_one_and_levels_of_its_own_draws_are_uniform() -> None:
    noise = np.random.default_rng(0)
    predicted = Increments(
        torch.tensor([[0.3, 0.7]]).log().repeat(4000, 1), torch.tensor([[-1.0, 0.5]]).repeat(4000, 1),
        torch.tensor([[20.0, 3.0]]).repeat(4000, 1),
    )  # fmt: skip
    grid = torch.arange(LEVEL_GRID) * (2 * math.pi / LEVEL_GRID) - math.pi
    one = Increments(*(part[:1, None] for part in predicted))
    assert float(one.log_density(grid).exp().sum() * 2 * math.pi / LEVEL_GRID) == pytest.approx(1.0, abs=1e-4)
    which = noise.random(4000) < 0.3
    drawn = np.where(which, noise.vonmises(-1.0, 20.0, 4000), noise.vonmises(0.5, 3.0, 4000))
    level = predicted.level(torch.as_tensor(drawn, dtype=torch.float32)).numpy()
    assert np.abs(np.quantile(level, [0.25, 0.5, 0.75]) - [0.25, 0.5, 0.75]).max() < 0.03
    inside = coverage(predicted, torch.as_tensor(drawn, dtype=torch.float32))
    assert inside[0] == pytest.approx(0.68, abs=0.03) and inside[1] == pytest.approx(0.95, abs=0.02)
    mean, length = predicted.circular_mean()
    resultant = np.exp(1j * drawn).mean()
    assert float(mean[0]) == pytest.approx(np.angle(resultant), abs=0.05)
    assert float(length[0]) == pytest.approx(abs(resultant), abs=0.03)


def test_a_rollout_records_the_missing_increments(loops: LoopDataset) -> None:
    native = loops.batch(0, 0, 3)
    rollout = roll_out(LoopModel(**SMALL), native, torch.Generator().manual_seed(0), sweeps=2)
    assert rollout.features.shape[0] == 2 * native.length
    missing = wrap(loop_torsions(native.xyz) - loop_torsions(rollout.start.xyz))
    counted = rollout.counted[0]
    torch.testing.assert_close(rollout.missing[0][counted], window_values(missing, 0)[counted])
    assert not bool(rollout.counted[0, :, : -min(DISTANCE_OFFSETS) // 3].any()), (
        "residues before the loop are not moved"
    )
    assert float((rollout.end.xyz - rollout.start.xyz).abs().max()) > 0.0


def test_belief_changes_around_the_cursor_only() -> None:
    belief, angle = torch.zeros(2, 16), torch.full((2, 16), 0.1)
    after = update_belief(belief, angle, torch.full((2, 5, 2), 1.0), 0)
    assert torch.equal(after[:, :6], torch.full((2, 6), 1.1)) and not bool(after[:, 6:].any())


def test_gradients_reach_every_weight(loops: LoopDataset) -> None:
    model = LoopModel(width=16, depth=1)
    rollout = roll_out(model, loops.batch(0, 0, 3), torch.Generator().manual_seed(0))
    z = model.stream.scan(rollout.features, model.stream.init_state(3))[0]
    sum(loss_terms(model.decode(z), rollout)).backward()  # type: ignore[union-attr]
    missing = [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.isfinite().all())]
    assert missing == []


def test_an_interrupted_run_ends_with_the_weights_of_a_complete_one(loops: LoopDataset, tmp_path: Path) -> None:
    one, moved, reseeded = (tmp_path / name for name in ("one", "other", "again"))
    train_loop((loops, loops), one, steps=4, seed=3, **SMALL)
    train_loop((loops, loops), moved, steps=4, seed=3, stop=2, **SMALL)
    assert not (moved / WEIGHTS).exists()
    train_loop((loops, loops), moved, steps=4, seed=3, **SMALL)
    train_loop((loops, loops), reseeded, steps=4, seed=4, **SMALL)
    assert (one / WEIGHTS).read_bytes() == (moved / WEIGHTS).read_bytes() != (reseeded / WEIGHTS).read_bytes()
    card = json.loads((one / "loop.json").read_text())
    assert card["options"]["kind"] == "rnn" and min(abs(card["temperature"] - t) for t in (0.8, 1.0)) < 1e-6
    model, _ = load_loop(one / WEIGHTS)
    assert model.temperature == card["temperature"]
    (one / WEIGHTS).write_bytes((one / WEIGHTS).read_bytes()[:-50])
    with pytest.raises(InputFileError, match="truncated"):
        load_loop(one / WEIGHTS)


def test_it_learns_to_undo_one_bend(loops: LoopDataset) -> None:
    """A few batches on five loops: what is missing becomes likelier by far."""
    model = LoopModel(width=32, depth=1, kind="rnn")
    optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
    windows = []
    for number in range(40):
        rollout = roll_out(model, loops.batch(number % 2, 0, 8), torch.Generator().manual_seed(number % 2))
        z = model.stream.scan(rollout.features, model.stream.init_state(8))[0]
        loss = loss_terms(model.decode(z), rollout)[0]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        windows.append(float(loss.detach()))
    assert np.mean(windows[-4:]) < np.mean(windows[:4]) - 0.5


def test_wrong_data_and_unknown_backbones_are_refused(tmp_path: Path, capsys) -> None:
    args = ["train", "loop", "--data", str(tmp_path / "no.npz"), "--packed", "no.npz", "--out", str(tmp_path / "o")]
    assert main(args) == 2
    assert main([*args, "--backbone", "lstm"]) == 2
    assert "backbone lstm" in capsys.readouterr().err
