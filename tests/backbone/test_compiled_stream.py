"""The kernel of a streaming backbone against its plain step, for the models that ship."""

from __future__ import annotations

import copy

import pytest
import torch

from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.registry import build_backbone
from geofold.backbone.selective import compile_stream
from geofold.kernels.library import library, plain
from geofold.learn.loop_denoiser.model import shipped_loop_model
from geofold.learn.peptide_policy.model import shipped_policy

pytestmark = pytest.mark.skipif(library() is None, reason="no compiler here")
MODELS = {"loop": lambda: shipped_loop_model()[0].stream, "peptide": lambda: shipped_policy()[0].stream}


def run(stream: StreamingBackbone, rows: int) -> list[torch.Tensor]:
    """Latents and the last state of a stream with corrections."""
    noise = torch.Generator().manual_seed(4)
    state, parts = stream.init_state(rows), []
    with torch.no_grad():
        for size in (0.0, 0.1, 1.0, 10.0, 1.0):
            z, state = stream.step(size * torch.randn(rows, stream.features, generator=noise), state)
            state = stream.write(state, z + 0.1 * torch.randn(z.shape, generator=noise))
            parts.append(z)
    return parts + [part for layer in state.layers for part in layer]


@pytest.mark.parametrize("rows", [1, 3, 12])
@pytest.mark.parametrize("name", MODELS)
def test_steps_are_the_plain_ones(name: str, rows: int) -> None:
    stream = MODELS[name]()
    fast = run(stream, rows)
    assert stream._compiled is not None
    with plain():
        slow = run(stream, rows)
    for one, other in zip(fast, slow, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5 * max(float(other.abs().max()), 1.0))


def test_a_row_of_a_batch_has_the_bits_of_the_row_alone() -> None:
    stream = MODELS["loop"]()
    x = torch.randn(4, stream.features, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, _ = stream.step(x, stream.init_state(4))
        for k in range(4):
            assert torch.equal(stream.step(x[k : k + 1], stream.init_state(1))[0][0], whole[k])


def test_new_weights_are_noticed() -> None:
    stream = copy.deepcopy(MODELS["peptide"]())
    before = run(stream, 2)[0]
    with torch.no_grad():
        stream.leave.weight.mul_(2.0)
    after = run(stream, 2)[0]
    with plain():
        torch.testing.assert_close(after, run(stream, 2)[0], rtol=0, atol=1e-4)
    assert not torch.allclose(before, after)


def test_what_is_trained_or_of_another_kind_has_no_kernel() -> None:
    with torch.no_grad():
        assert compile_stream(build_backbone("selective", 4, 3, width=8, depth=1, seed=0), None) is None
        assert compile_stream(build_backbone("s5", 4, 3, width=8, depth=1, seed=0).requires_grad_(False), None) is None
        small = build_backbone("selective", 4, 3, width=8, depth=1, seed=0).requires_grad_(False)
        assert compile_stream(small, None) is not None
        assert compile_stream(small.double(), None) is None
    assert compile_stream(small.float(), None) is None, "gradients are recorded"
