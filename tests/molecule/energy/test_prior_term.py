"""The prior as a term: what it costs is what the prior says, and it falls when it steers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from geofold.core.backbone import NoMotion
from geofold.core.checks import check_domain
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.torsion_prior.model import shipped_prior
from geofold.molecule.energy.prior_term import CONTEXT, PriorTerm, letters_of
from geofold.molecule.loop.domain import LoopDomain, LoopGoal
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import read
from geofold.resources import find

FIRST, LAST = 44, 55


@pytest.fixture(scope="module")
def structure():
    return read(find("structures", "1ubi_bent.pdb"))


@pytest.fixture(scope="module")
def domain(structure) -> LoopDomain:
    bare = LoopDomain.of(structure, FIRST, LAST)
    term = PriorTerm.of(structure, FIRST, LAST, bare.angles, shipped_prior()[0])
    return replace(bare, prior=term, goal=LoopGoal(prior=0.5))


def test_cost_is_the_priors_likelihood(structure, domain) -> None:
    state = domain.start(structure.xyz)
    assert domain.prior is not None and state.outlook is not None
    cost = domain.prior.cost(state.fold.angle, state.outlook)[0]
    begin, end = FIRST - CONTEXT, LAST + CONTEXT
    torsions = torch.as_tensor(backbone_torsions(structure)[begin : end + 1, None, :3]).float()
    wanted = shipped_prior()[0].log_likelihood(letters_of(structure, begin, end), torsions)[0][:, 0]
    torch.testing.assert_close(cost.float(), -wanted[CONTEXT : CONTEXT + len(cost)], rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("batch", [1, 3])
def test_contract(structure, domain, batch) -> None:
    noise = torch.Generator().manual_seed(2)
    latent = 0.02 * torch.randn(batch, domain.latent_dim, generator=noise, dtype=torch.float64)
    check_domain(domain, domain.start(structure.xyz, batch), domain.goal, latent=latent)


def test_it_steers_and_reads_again_each_sweep(structure, domain) -> None:
    parts = Controller(NoMotion(), Pullback(), TrustRegion(), FixedGate(1), horizon=1)
    goal = LoopGoal(sterics=0.0, ramachandran=0.0, prior=1.0)
    state = parts.init(domain, domain.start(structure.xyz))
    first, before = state.domain.outlook, None
    for number in range(2 * domain.length):
        state, info = parts.step(domain, state, goal)
        before = float(info.loss_before[0]) if before is None else before
        if number < domain.length - 1:
            assert state.domain.outlook is first
    assert state.domain.outlook is not first
    assert float(info.loss_after[0]) < before - 5.0
    assert set(info.terms) == {"sterics", "ramachandran", "prior"}
