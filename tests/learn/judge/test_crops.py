"""Crops of native chains: where segments lie, what each residue may see, and that a number names a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from geofold.learn.data.chains import AMINO_ACIDS, Chains, read_chains
from geofold.learn.judge import crops
from geofold.learn.judge.crops import draw_segments, epoch_batches, evaluation_crops, make_batch
from geofold.learn.judge.encoder import UNKNOWN
from geofold.learn.judge.task import make_task

LENGTHS = (60, 700, 45, 130, 90)


@pytest.fixture(scope="module")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Chains:
    """Random walks, four of them to train on."""
    noise = np.random.default_rng(0)
    path: Path = tmp_path_factory.mktemp("data") / "backbones.npz"
    size = sum(LENGTHS)
    np.savez(
        path, dxyz=noise.integers(-120, 120, (size, 4, 3)).astype(np.int16),
        aa=noise.integers(0, len(AMINO_ACIDS), size).astype(np.uint8), start=np.cumsum((0, *LENGTHS[:-1])),
        length=np.array(LENGTHS), split=np.array([0, 0, 0, 0, 1], np.uint8),
    )  # fmt: skip
    return read_chains(path)


@pytest.mark.parametrize("size", [7, 20, 40, 300])
@pytest.mark.parametrize("coverage", [0.05, 0.4, 0.7])
def test_segments_have_their_lengths_and_residues_around_them(size: int, coverage: float) -> None:
    for seed in range(20):
        masked = draw_segments(size, coverage, np.random.default_rng(seed))
        assert not masked[0] and not masked[-1]
        edges = np.flatnonzero(np.diff(masked.astype(int)))
        lengths = edges[1::2] - edges[0::2]
        assert len(lengths) and lengths.min() >= min(crops.MIN_SEGMENT, size - 2) and lengths.max() <= crops.MAX_SEGMENT
        assert masked.sum() <= coverage * size + crops.MAX_SEGMENT


def test_an_epoch_goes_once_through_all_training_chains(chains: Chains) -> None:
    batches = epoch_batches(chains, "train", 512)
    assert batches == 2, "60 + 512 + 45 + 130 residues"
    sizes = [size for k in range(batches) for size in make_batch(chains, "train", k, size=512, seed=3).sizes]
    assert sorted(sizes) == [45, 60, 130, crops.MAX_RESIDUES]


def test_the_number_of_a_batch_names_it(chains: Chains) -> None:
    one, again, other, seed = (
        make_batch(chains, "train", k, size=4096, seed=s) for k, s in ((0, 1), (0, 1), (1, 1), (0, 2))
    )
    assert all(torch.equal(a, b) for a, b in zip(one[:4], again[:4], strict=True))
    assert not torch.equal(one.xyz, other.xyz) and not torch.equal(one.xyz, seed.xyz)
    assert 0 < int((one.visible == UNKNOWN).sum()) < 0.1 * len(one.visible)
    assert bool(((one.visible == one.letters) | (one.visible == UNKNOWN)).all())


def test_held_out_crops_are_native_and_the_same_each_time(chains: Chains) -> None:
    (found,), (again,) = (evaluation_crops(chains, "valid", count=5, coverage=0.3) for _ in range(2))
    assert np.array_equal(found.xyz.numpy(), chains.xyz(4).astype(np.float32))
    assert torch.equal(found.masked, again.masked) and torch.equal(found.visible, found.letters)


def test_the_environment_receives_from_no_segment_and_crops_do_not_mix(chains: Chains) -> None:
    batch = make_batch(chains, "train", 0, size=4096, seed=0)
    task = make_task(batch, 32)
    size = len(task.known)
    crop = torch.repeat_interleave(torch.arange(len(batch.sizes)), torch.tensor(batch.sizes))[task.order]
    for graph, receivers in ((task.environment, torch.arange(size)), (task.loops, torch.arange(size, len(crop)))):
        there = graph.present.bool()
        assert bool((crop[graph.neighbours] == crop[receivers][:, None])[there].all())
        assert not bool((graph.neighbours == receivers[:, None])[there].any()), "nobody is their own neighbour"
    assert bool((task.environment.neighbours[task.environment.present.bool()] < size).all())
    assert bool((task.loops.neighbours >= size).any()), "residues of segments see segments"


def test_features_of_the_environment_do_not_depend_on_the_segments(chains: Chains) -> None:
    batch = make_batch(chains, "train", 0, size=4096, seed=0)
    moved = batch.xyz.clone()
    moved[batch.masked] += torch.randn(int(batch.masked.sum()), 1, 3, generator=torch.Generator().manual_seed(0))
    one, other = make_task(batch, 16), make_task(batch._replace(xyz=moved), 16)
    assert all(torch.equal(a, b) for a, b in zip(one.environment, other.environment, strict=True))
    assert not torch.equal(one.loops.edges, other.loops.edges)
