"""The decoder's kernels against their plain references: values, derivatives, and the metric."""

from __future__ import annotations

import math

import pytest
import torch

from geofold.kernels.library import library, plain
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.compiled_decoder import CompiledDerivatives
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.kinematics.decoder_derivatives import DecoderDerivatives
from geofold.molecule.kinematics.loop_closure import TOLERANCE
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.resources import find

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler here")
SEGMENTS = {
    "closed": ("1ubi.pdb", 43, 52),
    "open": ("1ubi.pdb", 0, 25),
    "disulfides": ("1ajj.pdb", 5, 11),
    "whole chain": ("1yjp.cif", 0, 6),
}
SIZES = {"at rest": 0.0, "small": 0.02, "capped": 1.0}


def problem(name: str, size: float, rows: int):
    file, first, last = SEGMENTS[name]
    structure = read(find("structures", file))
    tree = torsion_tree(structure, first, last)
    decoder = TorsionDecoder.of(structure, tree, cap=math.radians(10.0))
    noise = torch.Generator().manual_seed(3)
    mobility = torch.rand(len(tree), generator=noise, dtype=torch.float64)
    with torch.no_grad(), plain():
        state = decoder.start(structure.xyz, mobility, rows)
    z = size * torch.randn(rows, decoder.latent_dim, generator=noise, dtype=torch.float64)
    return decoder, state, z, noise


def close_to(value: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(value, want, rtol=0, atol=1e-10 * max(float(want.abs().max()), 1.0))


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", SEGMENTS)
def test_kernels_agree_with_the_plain_decoder(name: str, size: float) -> None:
    decoder, state, z, noise = problem(name, size, 1)
    with torch.no_grad():
        fast = decoder.expand(z, state)
        decoded = decoder.decode(z, state)
        with plain():
            slow = decoder.expand(z, state)
    assert isinstance(fast.push.__self__, CompiledDerivatives) and isinstance(slow.push.__self__, DecoderDerivatives)
    assert bool(fast.prediction.valid) == bool(slow.prediction.valid)
    close_to(fast.prediction.mean, slow.prediction.mean)
    assert torch.equal(decoded.mean, fast.prediction.mean) and torch.equal(decoded.valid, fast.prediction.valid)
    v = torch.randn(3, *z.shape, generator=noise, dtype=torch.float64)
    c = torch.randn(3, *slow.prediction.mean.shape, generator=noise, dtype=torch.float64)
    close_to(fast.push(v), slow.push(v))
    close_to(fast.pull(c), slow.pull(c))
    close_to(fast.bend(v[0]), slow.bend(v[0]))
    isotropic = decoder.weight.expand_as(c[0])
    close_to(fast.gram(isotropic), slow.gram(isotropic))
    anisotropic = torch.rand(c[0].shape, generator=noise, dtype=torch.float64)
    close_to(fast.gram(anisotropic), slow.gram(anisotropic))


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_zero_latent_leaves_the_coordinates_bit_for_bit(name: str) -> None:
    decoder, state, z, _ = problem(name, 0.0, 2)
    with torch.no_grad():
        assert torch.equal(decoder.split(decoder.decode(z, state).mean)[1], state.xyz)


@pytest.mark.parametrize("name", SEGMENTS)
def test_a_row_of_a_batch_has_the_bits_of_the_row_alone(name: str) -> None:
    decoder, state, z, noise = problem(name, 0.3, 5)
    c = torch.randn(1, 5, len(decoder.weight), generator=noise, dtype=torch.float64)
    with torch.no_grad():
        whole = decoder.expand(z, state)
        for k in range(5):
            row = torch.tensor([k])
            alone = decoder.expand(z[row], decoder.select(state, row))
            assert torch.equal(alone.prediction.mean, whole.prediction.mean[row])
            assert torch.equal(alone.pull(c[:, row]), whole.pull(c)[:, row])
            assert torch.equal(alone.bend(z[row]), whole.bend(z)[row])


@pytest.mark.parametrize("name", ["closed", "disulfides"])
def test_the_tangent_spaces_are_the_same(name: str) -> None:
    decoder, state, _, _ = problem(name, 0.0, 2)
    with torch.no_grad():
        space = decoder.at(state.xyz, state.angle, state.mobility).space
    assert torch.equal(space.freedom, state.space.freedom)
    close_to(space.normal @ space.normal.mT, state.space.normal @ state.space.normal.mT)
    gram = space.normal.mT @ space.normal
    close_to(gram, torch.diag_embed((gram.diagonal(dim1=-2, dim2=-1) > 0.5).to(gram)))


def test_what_counts_as_closed_is_closed() -> None:
    """Newton's method is chaotic for moves of radians, so the two need not agree about which of them close."""
    decoder, state, z, _ = problem("closed", 1.0, 4)
    wide = TorsionDecoder(decoder.tree, decoder.kinematics, decoder.closure, 3.0, decoder.weight)
    with torch.no_grad():
        moves = torch.cat([0.1 * z[:1], 3 * z[1:3], torch.nan * z[3:]])
        prediction = wide.decode(moves, state)
        residual = decoder.closure.residual(decoder.kinematics, state.xyz, wide.split(prediction.mean)[0])
    assert prediction.valid[0] and not prediction.valid[3]
    assert float(residual[prediction.valid].abs().max()) < TOLERANCE
