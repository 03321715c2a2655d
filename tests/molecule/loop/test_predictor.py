"""The loop model in the product: it sees what it saw in training, and keeps the predictor's contract."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from data_cases import single_chain

from geofold.bench.models.side_chain_packer import strip_side_chains
from geofold.core.checks import check_backbone
from geofold.core.controller import Controller
from geofold.core.gate import ThresholdGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.data.chains import Chains
from geofold.learn.loop_denoiser.batched_backbone import FLANK, loop_torsions, move_closed
from geofold.learn.loop_denoiser.dataset import stack_windows
from geofold.learn.loop_denoiser.features import FEATURE_COUNT, INNOVATION_SIZE, featurise
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.learn.loop_denoiser.training import turn_weights
from geofold.molecule.datasets.loop_windows import cut_windows
from geofold.molecule.datasets.packed_chains import PackedChains, pack_chi, packed_structure
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.predictor import LoopFeatures, LoopPredictor
from geofold.molecule.structure import Structure
from geofold.resources import find

FIRST, LAST = 44, 55


@pytest.fixture(scope="module")
def packed() -> tuple[Structure, Chains, PackedChains]:
    """Ubiquitin with packed side chains, once as a structure and once as training data."""
    bare = strip_side_chains(read(find("structures", "1ubi.pdb")))
    bare = replace(bare, xyz=bare.xyz - bare.xyz.mean(0))
    chains = single_chain(bare)
    chi = pack_chi(chains, 0)
    kept = PackedChains(np.array([0]), np.array([0]), chi, "")
    return packed_structure(chains, kept, 0), chains, kept


@pytest.fixture(scope="module")
def domain(packed) -> LoopDomain:
    made = LoopDomain.of(packed[0], FIRST, LAST)
    return replace(made, features=LoopFeatures.of(packed[0], made.decoder))


def model(kind: str = "selective") -> LoopModel:
    return LoopModel(kind, width=16, depth=1).double().eval().requires_grad_(False)


def test_the_product_sees_what_training_sees(packed, domain) -> None:
    structure, chains, kept = packed
    backbone = stack_windows(cut_windows(chains, kept, 0, [(FIRST, LAST - FIRST + 1)]))
    state = domain.start(structure.xyz)
    shift = torch.as_tensor(10 * structure.xyz[structure.atom(FIRST, "CA", structure.conformer_mask)]).float()
    shift = shift - backbone.xyz[0, FLANK, 1]
    assert torch.equal(domain.features.backbone.letters, backbone.letters)
    assert torch.equal(domain.features.backbone.free, backbone.free)
    for cursor in range(LAST - FIRST + 1):
        wanted = featurise(backbone, cursor, 0.0, torch.zeros(1, INNOVATION_SIZE))
        found = domain.features.observe(state.conformation, cursor)[:, :FEATURE_COUNT].float()
        # training rounds to 0.01 A and stops 2 A earlier, where atoms count for little
        assert float((found - wanted).abs().max()) < 0.05
    assert float((domain.features.at(state.conformation.xyz).xyz[0] - backbone.xyz[0] - shift).abs().max()) < 0.03


def test_the_training_twin_moves_as_the_domain_does(packed, domain) -> None:
    """Same wanted increments: the same torsions turn by the same amounts, to second order in the closing."""
    structure, chains, kept = packed
    backbone = stack_windows(cut_windows(chains, kept, 0, [(FIRST, LAST - FIRST + 1)]))
    noise = torch.Generator().manual_seed(0)
    wanted = 0.05 * torch.randn(1, 2 * (LAST - FIRST + 1), generator=noise)
    _, made = move_closed(backbone, wanted, turn_weights(LAST - FIRST + 1, 0, wanted))
    state = domain.start(structure.xyz)
    z = torch.zeros(1, domain.latent_dim, dtype=torch.float64)
    free = domain.features.torsion_index >= 0
    z[:, domain.features.torsion_index[free]] = wanted[:, free].double()
    theta, _ = domain.decoder.split(domain.decode(z, state).mean)
    found = theta[:, domain.features.torsion_index[free]].float()
    assert float((found - made[:, free]).norm() / made.norm()) < 0.05


@dataclass(frozen=True)
class Standing:
    """The predictor at one residue, whatever the last feature says."""

    inner: LoopPredictor
    name: str = "standing"

    def init_state(self, batch, dim, like):
        return self.inner.init_state(batch, dim, like)

    def step(self, x, state):
        x = torch.cat([x[:, :-1], torch.full_like(x[:, -1:], 2.0)], -1)
        return self.inner.step(x, state)

    def read(self, state):
        return self.inner.read(state)

    def write(self, state, z):
        return self.inner.write(state, z)


@pytest.mark.parametrize("kind", ["selective", "transformer", "jamba"])
def test_predictor_keeps_the_contract(domain, kind) -> None:
    predictor = LoopPredictor(model(kind), domain.features.torsion_index)
    n = len(domain.tree)
    check_backbone(Standing(predictor), 3, FEATURE_COUNT + n + 1, domain.latent_dim)


def test_a_stream_moves_the_loop_and_nothing_breaks(packed, domain) -> None:
    structure = packed[0]
    parts = Controller(
        LoopPredictor(model(), domain.features.torsion_index),
        Pullback(),
        TrustRegion(),
        ThresholdGate(0.05, largest=1),
        horizon=1,
    )
    ends = []
    for batch in (1, 3, 3):
        state = parts.init(domain, domain.start(structure.xyz, batch))
        for _ in range(2 * domain.length):
            state, info = parts.step(domain, state, domain.goal)
        assert bool(info.loss_after.isfinite().all())
        ends.append(state.domain.conformation.xyz)
    assert torch.equal(ends[1], ends[2])
    torch.testing.assert_close(ends[0][0], ends[1][2], atol=1e-6, rtol=0)
    assert float((ends[0][0] - domain.start(structure.xyz).conformation.xyz[0]).norm(dim=-1).max()) > 0.02


def test_a_predictor_that_fades_holds_still_in_the_end(packed, domain) -> None:
    structure = packed[0]
    predictor = LoopPredictor(model(), domain.features.torsion_index, max_sweeps=1)
    state, memory = domain.start(structure.xyz), predictor.init_state(1, domain.latent_dim, torch.zeros(1, 1).double())
    moved = []
    for step in range(2 * domain.length):
        z, memory = predictor.step(domain.observe(state._replace(cursor=step % domain.length), None), memory)
        moved.append(bool(z.any()))
    assert moved == [True] * domain.length + [False] * domain.length


def test_loops_at_chain_ends_and_breaks_are_seen(packed) -> None:
    structure = packed[0]
    for first, last in ((1, 8), (len(structure.residues) - 9, len(structure.residues) - 2)):
        made = LoopDomain.of(structure, first, last)
        extractor = LoopFeatures.of(structure, made.decoder)
        observation = extractor.observe(made.start(structure.xyz).conformation, 0)
        assert bool(observation.isfinite().all())
        assert not bool(extractor.backbone.present.all())


def test_hinge_angles_are_the_domains(packed, domain) -> None:
    angle = loop_torsions(domain.features.at(domain.start(packed[0].xyz).conformation.xyz).xyz)
    phi = domain.angles.phi.float()
    found = angle[0, 0::2][domain.angles.residue]
    assert float((found - phi).abs().max()) < 1e-3
