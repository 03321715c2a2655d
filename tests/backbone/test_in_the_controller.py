"""Each backbone can be the frozen backbone of the controller: twenty steps of a peptide."""

from __future__ import annotations

import pytest
import torch

from geofold.backbone.registry import BACKBONE_NAMES, build_backbone
from geofold.core.backbone import take_rows
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain

STRUCTURE = peptide("GSWTYENG")
DOMAIN = PeptideDomain.of(STRUCTURE, 0, 7)
GOAL = goal_of((parse_contact(STRUCTURE, "A:2-A:7<6.0"),))


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_twenty_steps(name: str) -> None:
    """Corrections are taken, enter the stream's memory, and the roll-out (H = 2) leaves it alone."""
    model = build_backbone(name, len(DOMAIN.tree), DOMAIN.latent_dim, width=16).double().eval().requires_grad_(False)
    model.leave.weight *= 0.1  # an untrained model proposes noise: little of it
    parts = Controller(model, Pullback(damping=30.0), TrustRegion(), FixedGate(1), horizon=2)
    state = parts.init(DOMAIN, DOMAIN.start(STRUCTURE.xyz))
    taken = 0
    for _ in range(20):
        state, info = parts.step(DOMAIN, state, GOAL)
        assert bool(info.loss_after.isfinite().all()) and bool((info.actual[info.accepted] > 0).all())
        assert torch.equal(model.read(state.memory), info.z)
        taken += int(info.accepted[0])
    assert taken >= 5
    assert bool(state.domain.conformation.xyz.isfinite().all())


def test_rows_of_a_stream_can_be_separated() -> None:
    """What a population of streams does: any row of a batch goes on by itself."""
    for name in BACKBONE_NAMES:
        model = build_backbone(name, 4, 3, width=16).double().requires_grad_(False)
        xs = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        _, state = model.scan(xs[:8], model.init_state(3))
        z, _ = model.step(xs[8], state)
        one, _ = model.step(xs[8, 2:], take_rows(state, torch.tensor([2])))
        torch.testing.assert_close(one, z[2:], rtol=1e-10, atol=1e-12)
