"""Streams that the controller corrects, as the loop model learns from them."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from data_cases import single_chain

from geofold.bench.models.side_chain_packer import strip_side_chains
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.data.chains import Chains
from geofold.learn.loop_denoiser.corrected import corrected_loss, join_streams, train_corrected
from geofold.learn.loop_denoiser.dataset import LoopDataset
from geofold.learn.loop_denoiser.features import INNOVATION_SIZE
from geofold.learn.loop_denoiser.model import LATENT, LATENT_WEIGHTS, load_loop, shipped_loop_model
from geofold.molecule.datasets.bent_loops import PerturbedLoop
from geofold.molecule.datasets.corrected_streams import record_corrected_stream
from geofold.molecule.datasets.loop_windows import cut_windows
from geofold.molecule.datasets.packed_chains import PackedChains, pack_chi
from geofold.molecule.io.read import read
from geofold.molecule.loop.latent import LoopLatentPredictor
from geofold.resources import find

LOOP = PerturbedLoop(0, 0, 44, 8, 0.0)


@pytest.fixture(scope="module")
def data() -> tuple[Chains, PackedChains]:
    """Ubiquitin as the only chain."""
    bare = strip_side_chains(read(find("structures", "1ubi.pdb")))
    bare = replace(bare, xyz=bare.xyz - bare.xyz.mean(0))
    chains = single_chain(bare)
    return chains, PackedChains(np.array([0]), np.array([0]), pack_chi(chains, 0), "")


def record(data, depth: int, write_back: bool = True):
    predictor = LoopLatentPredictor(shipped_loop_model()[0], LOOP.length, write_back=write_back)
    controller = Controller(predictor, Pullback(), TrustRegion(largest=2.0), FixedGate(depth), horizon=1)
    return record_corrected_stream(*data, LOOP, controller, rows=2, sweeps=1, seed=3)


@pytest.fixture(scope="module")
def corrected(data):
    return record(data, 1)


def test_without_corrections_there_are_no_innovations(data, corrected) -> None:
    plain = record(data, 0)
    assert (plain.innovation == 0).all() and (plain.features[..., -INNOVATION_SIZE:] == 0).all()
    assert torch.equal(plain.features[0], corrected.features[0])
    assert torch.equal(plain.missing[0], corrected.missing[0])
    assert corrected.innovation.shape == (LOOP.length, 2, LATENT)
    assert (corrected.innovation[0] == 0).all() and (corrected.innovation[1:] != 0).any(-1).any(-1).all()
    assert (corrected.features[1:, :, -INNOVATION_SIZE:] != 0).any()


def test_corrections_are_recorded_where_the_model_does_not_receive_them(data, corrected) -> None:
    """Until the second step the streams are the same; the record of a stream that is cut has its corrections too."""
    cut = record(data, 1, write_back=False)
    torch.testing.assert_close(cut.innovation[1], corrected.innovation[1])
    torch.testing.assert_close(cut.features[1], corrected.features[1])
    assert (cut.innovation[1:] != 0).any(-1).any(-1).all()


def test_increments_lead_from_the_states_to_the_native(corrected) -> None:
    """Torsions that may turn differ at the start, by no more than half a turn; padding beyond the loop is zero."""
    assert (corrected.missing.abs() <= np.pi + 1e-6).all()
    assert corrected.missing[0][corrected.counted[0]].abs().max() > 0.05
    assert (corrected.missing[~corrected.counted] == 0).any()


def test_training_lowers_the_loss_and_resumes(data, corrected, tmp_path) -> None:
    loops = LoopDataset.of(cut_windows(*data, 0, [(20, 8), (44, 8)]))
    losses, weights = [], []
    for folder, stops in ((tmp_path / "whole", [None]), (tmp_path / "parts", [2, None])):
        for stop in stops:
            model = deepcopy(shipped_loop_model()[0]).train().requires_grad_(True)
            train_corrected(
                model, ([corrected], [corrected]), loops, folder, LATENT_WEIGHTS, steps=6, seed=1, stop=stop
            )
        trained = load_loop(folder / LATENT_WEIGHTS)[0]
        losses.append(float(corrected_loss(trained, join_streams([corrected, corrected]))[0]))
        weights.append(trained.state_dict())
    before = float(corrected_loss(shipped_loop_model()[0], corrected)[0])
    assert losses[0] == losses[1] < before
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
