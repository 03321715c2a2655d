"""The loop model's own latent: derivatives through decoder and domain, and corrections that the model learns of."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from geofold.core.checks import check_backbone
from geofold.core.checks.assertions import Probe
from geofold.core.checks.domain import check_decode, check_derivatives, check_loss, check_rows, check_slope
from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.linearise import differentiate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.learn.latent_domain import LatentDomain, LatentState
from geofold.learn.loop_denoiser.features import FEATURE_COUNT
from geofold.learn.loop_denoiser.model import LATENT, shipped_loop_model
from geofold.molecule.io.read import read
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.latent import INCREMENTS, LoopLatentPredictor, latent_domain
from geofold.molecule.loop.predictor import LoopFeatures
from geofold.resources import find

FIRST, LAST = 44, 55


@pytest.fixture(scope="module")
def domain() -> LatentDomain:
    structure = read(find("structures", "1ubi_bent.pdb"))
    inner = LoopDomain.of(structure, FIRST, LAST)
    inner = replace(inner, features=LoopFeatures.of(structure, inner.decoder))
    # finite differences need double precision
    model = deepcopy(shipped_loop_model()[0]).double()
    return latent_domain(inner, model)


@pytest.fixture(scope="module")
def start(domain) -> LatentState:
    structure = read(find("structures", "1ubi_bent.pdb"))
    return domain.start(domain.inner.start(structure.xyz, 2))


def at_cursor(domain: LatentDomain, state: LatentState, steps: int) -> LatentState:
    """State after some steps of the loop model without corrections."""
    parts = controller(domain, depth=0)
    run = parts.init(domain, state)
    for _ in range(steps):
        run, _ = parts.step(domain, run, domain.inner.goal)
    return run.domain


def controller(domain: LatentDomain, *, depth: int = 2, write_back: bool = True) -> Controller:
    predictor = LoopLatentPredictor(shipped_loop_model()[0], domain.inner.length, write_back=write_back)
    return Controller(predictor, Pullback(), TrustRegion(), FixedGate(depth), horizon=1)


@pytest.mark.parametrize("steps", [0, 5, 11])
def test_keeps_the_contract_of_a_domain(domain, start, steps):
    """Derivatives agree with finite differences at the ends and in the middle of the loop.

    `check_domain` as a whole would refuse a decoder that looks at another residue after every step.
    """
    state, goal, probe = at_cursor(domain, start, steps), domain.inner.goal, Probe(steps)
    z = 0.3 * probe.like(torch.zeros(2, LATENT, dtype=torch.float64))
    check_loss(domain, check_decode(domain, z, state), state, goal)
    check_derivatives(domain, z, state, probe, 1e-4)
    check_slope(domain, z, state, goal, probe, 1e-4)
    check_rows(domain, z, state, goal)


def test_rows_that_do_not_decode_keep_conformation_and_context(domain, start):
    prediction = domain.decode(torch.randn(2, LATENT, dtype=torch.float64), start)
    after = domain.commit(replace(prediction, valid=torch.tensor([True, False])), start)
    changed = (after.context != start.context).any(-1)
    moved = (after.inner.conformation.xyz != start.inner.conformation.xyz).flatten(1).any(-1)
    assert changed.tolist() == moved.tolist() == [True, False]


def test_chained_derivatives_are_those_of_automatic_differentiation(domain, start):
    state, draws = at_cursor(domain, start, 3), torch.Generator().manual_seed(1)
    z = 0.3 * torch.randn(2, LATENT, generator=draws, dtype=torch.float64)
    chained, plain = domain.expand(z, state), differentiate(domain, z, state)
    v = torch.randn(3, 2, LATENT, generator=draws, dtype=torch.float64)
    c = torch.randn(3, *plain.prediction.mean.shape, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(chained.push(v), plain.push(v))
    torch.testing.assert_close(chained.pull(c), plain.pull(c))
    torch.testing.assert_close(chained.bend(v[0]), plain.bend(v[0]), atol=1e-8, rtol=1e-6)
    weight = c[0].square()
    torch.testing.assert_close(chained.gram(weight), plain.gram(weight))


def test_heads_weigh_by_their_calibrated_precision(domain, start):
    """Sharp increments weigh more than flat ones, and torsions beyond the loop nothing."""
    z = torch.randn(2, LATENT, dtype=torch.float64)
    weight = domain.decode(z, start).precision[:, :INCREMENTS]
    assert (weight[:, :4] == 0).all() and (weight[:, 4:] > 0).all()
    hot = replace(domain.decoder, model=deepcopy(domain.decoder.model))
    hot.model.temperature = 4 * domain.decoder.model.temperature
    flatter = replace(domain, decoder=hot).decode(z, start).precision[:, :INCREMENTS]
    assert (flatter[:, 4:] < weight[:, 4:]).all()


def test_predictor_keeps_the_contract_of_a_backbone(domain):
    predictor = LoopLatentPredictor(domain.decoder.model, domain.inner.length)
    check_backbone(predictor, 2, FEATURE_COUNT + 1, LATENT)


def test_written_back_corrections_change_what_is_predicted(domain, start):
    """Two streams differ by nothing until the first correction, and in their next proposal because of it."""
    runs = []
    for write_back in (True, False):
        parts = controller(domain, write_back=write_back)
        first, info = parts.step(domain, parts.init(domain, start), domain.inner.goal)
        proposal, _ = parts.backbone.step(domain.observe(first.domain, domain.inner.goal), first.memory)
        runs.append((info, first, proposal))
    (info, first, with_write), (other, second, without) = runs
    assert info.accepted.all() and torch.equal(info.z, other.z)
    torch.testing.assert_close(
        first.domain.inner.conformation.xyz, second.domain.inner.conformation.xyz, rtol=0, atol=0
    )
    assert (with_write - without).abs().amax() > 1e-3


def test_moves_are_closed_and_within_the_cap(domain, start):
    inner = domain.inner
    before = start.inner.conformation.angle
    state = at_cursor(domain, start, 1)
    turn = (state.inner.conformation.angle - before).abs()
    assert 0 < float(turn.max()) <= inner.decoder.cap * (1 + 1e-9)
