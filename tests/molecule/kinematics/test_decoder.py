"""The latent decoder of a stretch: closed form against differentiation, the cap, and what a refused move does."""

from __future__ import annotations

import math
from functools import cache

import mdtraj
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.core.backbone import NoMotion
from geofold.core.controller import Controller
from geofold.core.domain import AnalyticDecoder, Domain, Prediction
from geofold.core.gate import FixedGate
from geofold.core.pullback import Pullback
from geofold.core.trust_region import TrustRegion
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.decoder import TorsionDecoder, focus_mobility
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.resources import find

CAP = math.radians(10)
# closed loops without and with prolines and with a disulfide, a free tail, a whole peptide
STRETCHES = [
    ("1ubi.pdb", 43, 52), ("1ubi.pdb", 30, 40), ("1ajj.pdb", 5, 11), ("1ubi.pdb", 66, 75), ("1yjp.cif", 0, 6),
]  # fmt: skip
SIZES = st.sampled_from([0.0, 0.02, 0.2, 1.0, 5.0])


@cache
def build(name: str, first: int, last: int) -> tuple[Structure, TorsionDecoder]:
    structure = read(find("structures", name))
    return structure, TorsionDecoder.of(structure, torsion_tree(structure, first, last), cap=CAP)


def begin(name: str, first: int, last: int, batch: int = 1, floor: float = 0.3) -> tuple[TorsionDecoder, DecoderState]:
    structure, decoder = build(name, first, last)
    mobility = torch.as_tensor(focus_mobility(decoder.tree, (first + last) // 2, 3.0, floor) * decoder.tree.backbone)
    return decoder, decoder.start(structure.xyz, mobility, batch)


def latent(decoder: TorsionDecoder, seed: int, size: float, batch: int = 1) -> torch.Tensor:
    return size * torch.as_tensor(np.random.default_rng(seed).normal(size=(batch, decoder.latent_dim)))


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_nothing_is_the_input_file(stretch):
    decoder, state = begin(*stretch, batch=2)
    still = decoder.decode(torch.zeros(2, decoder.latent_dim, dtype=torch.float64), state)
    theta, moved = decoder.split(still.mean)
    assert still.valid.all() and not theta.any() and torch.equal(moved, state.xyz)
    after = decoder.commit(still, state, state.mobility)
    assert torch.equal(after.xyz, state.xyz) and torch.equal(after.angle, state.angle)


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=SIZES)
def test_expand_equals_decode(stretch, seed, size):
    decoder, state = begin(*stretch, batch=2)
    z = latent(decoder, seed, size, 2)
    with torch.no_grad():
        plain = decoder.decode(z, state)
    expansion = decoder.expand(z, state)
    torch.testing.assert_close(expansion.prediction.mean, plain.mean, rtol=0, atol=1e-12)
    assert torch.equal(expansion.prediction.valid, plain.valid)
    assert torch.equal(expansion.prediction.precision, plain.precision)
    torch.testing.assert_close(decoder.decode(z, state).mean[plain.valid], plain.mean[plain.valid], rtol=0, atol=1e-6)


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=SIZES)
def test_derivatives_against_finite_differences(stretch, seed, size):
    """At nothing, inside the cap and far beyond it. With gradients on, decode polishes the closure to rounding."""
    decoder, state = begin(*stretch)
    z, v = latent(decoder, seed, size), latent(decoder, seed + 1, 1.0)
    v[:, : len(decoder.tree)] /= 4
    expansion = decoder.expand(z, state)
    if not expansion.prediction.valid:
        assert size > 0
        return
    h = min(1e-4, 1e-4 * size / 0.2) if size else 1e-4
    ahead, here, behind = (decoder.decode(z + s * v, state).mean for s in (h, 0.0, -h))
    slope = expansion.push(v[None])[0]
    torch.testing.assert_close(slope, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-5)
    wide = 5 * h
    ahead, behind = (decoder.decode(z + s * v, state).mean for s in (wide, -wide))
    bend = expansion.bend(v)
    scale = float(bend.abs().max())
    torch.testing.assert_close(bend, (ahead - 2 * here + behind) / wide**2, rtol=1e-3, atol=1e-4 * max(scale, 1))


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@pytest.mark.parametrize("size", [0.0, 0.05, 2.0])
def test_derivatives_against_automatic_ones(stretch, size):
    decoder, state = begin(*stretch)
    z, v = latent(decoder, 3, size), latent(decoder, 4, 1.0)

    def mean(latent_: torch.Tensor) -> torch.Tensor:
        return decoder.decode(latent_, state).mean

    expansion = decoder.expand(z, state)
    assert bool(expansion.prediction.valid)
    slope = torch.func.jvp(mean, (z,), (v,))[1]
    bend = torch.func.jvp(lambda y: torch.func.jvp(mean, (y,), (v,))[1], (z,), (v,))[1]
    torch.testing.assert_close(expansion.push(v[None])[0], slope, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(expansion.bend(v), bend, rtol=1e-5, atol=1e-5 * float(bend.abs().max()))
    weight = latent(decoder, 5, 1.0)[0, 0] + torch.arange(slope.shape[1], dtype=torch.float64).sin()[None]
    leaf = z.clone().requires_grad_(True)
    (pulled,) = torch.autograd.grad((mean(leaf) * weight).sum(), leaf)
    torch.testing.assert_close(expansion.pull(weight[None])[0], pulled, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), size=st.floats(0, 30))
def test_cap_holds(stretch, seed, size):
    decoder, state = begin(*stretch, batch=8)
    with torch.no_grad():
        prediction = decoder.decode(latent(decoder, seed, size, 8), state)
    theta = decoder.split(prediction.mean)[0]
    assert (theta[prediction.valid].abs() <= CAP * (1 + 1e-9)).all()
    assert not theta[:, ~torch.as_tensor(decoder.tree.backbone)].any()  # side chains have no reach here
    after = decoder.commit(prediction, state, state.mobility)
    assert ((after.angle - state.angle).abs() <= CAP * (1 + 1e-9)).all()


def test_most_capped_moves_close():
    """Else the tests above would look at nothing."""
    for stretch in STRETCHES:
        decoder, state = begin(*stretch, batch=32)
        with torch.no_grad():
            prediction = decoder.decode(latent(decoder, 1, 2.0, 32), state)
        theta = decoder.split(prediction.mean)[0]
        assert int(prediction.valid.sum()) >= 16, stretch
        assert float(theta.abs().amax(-1).median()) > CAP / 2, stretch


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_a_refused_row_stays_bit_identical(stretch):
    decoder, state = begin(*stretch, batch=3)
    with torch.no_grad():
        prediction = decoder.decode(latent(decoder, 2, 0.1, 3), state)
    valid = prediction.valid & torch.tensor([True, False, True])
    after = decoder.commit(Prediction(prediction.mean, prediction.precision, valid), state, 0.5 * state.mobility)
    assert torch.equal(after.xyz[1], state.xyz[1]) and torch.equal(after.angle[1], state.angle[1])
    theta, moved = decoder.split(prediction.mean)
    for row in (0, 2):
        assert bool(valid[row]) and not torch.equal(moved[row], state.xyz[row])
        assert torch.equal(after.xyz[row], moved[row])
        assert torch.equal(after.angle[row], theta[row])
    assert torch.equal(after.mobility, 0.5 * state.mobility)


@pytest.mark.parametrize("stretch", STRETCHES, ids=str)
def test_a_row_of_a_batch_equals_a_batch_of_one(stretch):
    """To the closing tolerance, since rows that need more Newton steps polish the others."""
    decoder, state = begin(*stretch, batch=4)
    one = begin(*stretch)[1]
    z = latent(decoder, 6, 0.3, 4)
    together = decoder.expand(z, state)
    for row in range(4):
        alone = decoder.expand(z[row : row + 1], one)
        assert bool(alone.prediction.valid) == bool(together.prediction.valid[row])
        torch.testing.assert_close(together.prediction.mean[row], alone.prediction.mean[0], rtol=0, atol=1e-6)
        weight = torch.arange(len(decoder.weight), dtype=torch.float64).cos().expand(4, -1)
        gram = alone.gram(weight[:1])[0]
        torch.testing.assert_close(together.gram(weight)[row], gram, rtol=1e-5, atol=1e-5 * float(gram.abs().max()))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_latent_that_is_not_a_number_is_refused_not_raised(bad):
    """Failures inside the loop are statuses; the other row does not suffer."""
    decoder, state = begin(*STRETCHES[0], batch=2)
    z = latent(decoder, 8, 0.05, 2)
    z[0, 0] = bad
    with torch.no_grad():
        prediction = decoder.decode(z, state)
    assert prediction.valid.tolist() == [False, True]


def test_a_rigid_loop_is_refused_nothing_and_goes_nowhere():
    decoder, state = begin("1ubi.pdb", 43, 45)
    assert int(state.space.freedom) == 0
    with torch.no_grad():
        prediction = decoder.decode(latent(decoder, 1, 1.0), state)
    assert bool(prediction.valid)
    torch.testing.assert_close(decoder.split(prediction.mean)[1], state.xyz, rtol=0, atol=1e-7)


def test_inputs_are_not_mutated():
    decoder, state = begin(*STRETCHES[0])
    z = latent(decoder, 1, 0.1)
    copies = [x.clone() for x in (z, state.xyz, state.angle, state.mobility, state.space.normal)]
    decoder.commit(decoder.decode(z, state), state, state.mobility)
    decoder.expand(z, state).bend(z)
    for now, before in zip((z, state.xyz, state.angle, state.mobility, state.space.normal), copies, strict=True):
        assert torch.equal(now, before)


def test_weights_are_per_observation_units():
    """Every backbone torsion by ten degrees has length one, every weighed atom by one Angstrom too."""
    decoder = begin("1ubi.pdb", 43, 52)[0]
    n = len(decoder.tree)
    assert float(decoder.weight[:n].sum()) * math.radians(10) ** 2 == pytest.approx(1)
    assert float(decoder.weight[n:].sum()) / 3 * 0.1**2 == pytest.approx(1)


def test_a_long_stream_keeps_geometry_and_its_own_count_of_angles():
    """Forty random moves: closed to 1e-7 nm, and phi and psi read by mdtraj are the input's plus `angle`."""
    structure, decoder = build("1ubi.pdb", 43, 52)
    state = decoder.start(structure.xyz, torch.as_tensor(decoder.tree.backbone.astype(float)))
    for step in range(40):
        with torch.no_grad():
            state = decoder.commit(decoder.decode(latent(decoder, step, 0.1), state), state, state.mobility)
    after = structure.xyz.copy()
    after[decoder.kinematics.atoms.numpy()] = state.xyz[0].numpy()
    for a, bonded in enumerate(decoder.tree.adjacency):
        for b in bonded:
            assert abs(np.linalg.norm(after[a] - after[b]) - np.linalg.norm(structure.xyz[a] - structure.xyz[b])) < 1e-7
    topology = mdtraj.load(str(find("structures", "1ubi.pdb"))).topology
    both = mdtraj.Trajectory(np.stack([structure.xyz, after]), topology)
    axis = {
        frozenset((int(a), int(b))): j for j, (a, b) in enumerate(zip(decoder.tree.near, decoder.tree.far, strict=True))
    }
    seen = 0
    for measure in (mdtraj.compute_phi, mdtraj.compute_psi, mdtraj.compute_omega):
        quadruples, angle = measure(both)
        for (_, a, b, _), before, now in zip(quadruples, *angle, strict=True):
            j = axis.get(frozenset((int(a), int(b))))
            want = float(state.angle[0, j]) if j is not None else 0.0
            assert abs(np.angle(np.exp(1j * (float(now) - float(before) - want)))) < 2e-3
            seen += j is not None
    assert seen == int(decoder.tree.backbone.sum()) and float(state.angle.abs().max()) > CAP


@cache
def loop_domain() -> tuple[Structure, LoopDomain]:
    structure = read(find("structures", "1ubi.pdb"))
    return structure, LoopDomain.of(structure, 43, 52)


def test_loop_domain_keeps_the_contract():
    structure, domain = loop_domain()
    assert isinstance(domain, Domain) and isinstance(domain, AnalyticDecoder)
    state = domain.start(structure.xyz, 2)
    assert domain.observe(state, domain.goal).shape[0] == 2
    assert state.conformation.space.freedom.tolist() == [2 * domain.length - 6] * 2


def test_controller_bends_a_loop_back():
    """A loop bent at random, closed: the stream lowers its loss and every emitted loop is closed."""
    structure, domain = loop_domain()
    state = domain.start(structure.xyz)
    for step in range(12):
        with torch.no_grad():
            state = domain.commit(domain.decode(latent(domain.decoder, step, 0.2), state), state)
    control = Controller(NoMotion(), Pullback("exact"), TrustRegion(), FixedGate(1), horizon=1)
    stream = control.init(domain, state)
    losses = []
    for _ in range(20):
        stream, info = control.step(domain, stream, domain.goal)
        assert (info.loss_after <= info.loss_before).all()
        losses.append(float(info.loss_after))
    assert losses[-1] < 0.7 * float(losses[0])
    row = int(domain.decoder.kinematics.local_rows([structure.atom(52, "C", domain.tree.conformer)])[0])
    nitrogen = domain.tree.anchor[0]
    bond = float((stream.domain.conformation.xyz[0, row] - torch.as_tensor(structure.xyz[nitrogen])).norm())
    assert abs(bond - structure.peptide_distance(52, 53)) < 1e-6
