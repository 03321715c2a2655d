"""Every backbone: a scan is its steps, a correction matters, a state can be handed on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from geofold.backbone.registry import BACKBONE_NAMES, GROWING_STATE, build_backbone
from geofold.backbone.state_io import load_state, named_tensors, save_state, state_bytes
from geofold.core.checks import check_backbone

F, D = 5, 3


def backbone(name: str):
    return build_backbone(name, F, D, width=16).double()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stepped(model, xs, state):
    zs = []
    for x in xs:
        z, state = model.step(x, state)
        zs.append(z)
    return torch.stack(zs), state


def same(one, other, tolerance: float) -> None:
    for (name, a), (_, b) in zip(named_tensors(one), named_tensors(other), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("length", [1, 2, 37, 300])
@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_scan_is_step_by_step(name: str, length: int) -> None:
    """From a state in the midst of a stream, with a correction pending."""
    model = backbone(name)
    _, state = stepped(model, noise(7, 2, F), model.init_state(2))
    state = model.write(state, noise(2, D, seed=1))
    xs = noise(length, 2, F, seed=2)
    zs, after = model.scan(xs, state)
    expected, end = stepped(model, xs, state)
    torch.testing.assert_close(zs, expected, rtol=1e-8, atol=1e-8)
    same(after, end, 1e-8)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_scan_with_innovations_is_a_stream_that_is_corrected(name: str) -> None:
    model = backbone(name)
    xs, corrections = noise(9, 2, F, seed=2), noise(9, 2, D, seed=3)
    state, expected = model.init_state(2), []
    for x, correction in zip(xs, corrections, strict=True):
        state = model.write(state, state.z + correction)
        z, state = model.step(x, state)
        expected.append(z)
    zs, _ = model.scan(xs, model.init_state(2), corrections)
    torch.testing.assert_close(zs, torch.stack(expected), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_gradients_of_the_scan_are_those_of_the_steps(name: str) -> None:
    model = backbone(name)
    xs = noise(19, 2, F).requires_grad_(True)
    result = []
    for run in (model.scan, lambda xs, state: stepped(model, xs, state)):
        model.zero_grad()
        xs.grad = None
        (run(xs, model.init_state(2))[0] * noise(19, 2, D, seed=3)).sum().backward()
        result.append([xs.grad, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(result[0]) == len(result[1]) > 5
    for one, other in zip(*result, strict=True):
        scale = float(one.abs().max()) + 1e-12
        torch.testing.assert_close(one / scale, other / scale, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_a_corrected_latent_is_read_back_and_changes_what_comes_next(name: str) -> None:
    model = backbone(name)
    _, state = stepped(model, noise(90, 1, F), model.init_state(1))  # windows and caches are full
    corrected = state.z + noise(1, D, seed=4)
    written = model.write(state, corrected)
    assert torch.equal(model.read(written), corrected)
    x = noise(1, F, seed=5)
    (plain, after), (other, later) = model.step(x, state), model.step(x, written)
    assert float((plain - other).abs().max()) > 1e-3
    assert torch.equal(model.step(x, model.write(state, state.z))[0], plain), "writing what is there changes nothing"
    # and it is remembered: the step after next differs too
    assert float((model.step(x, after)[0] - model.step(x, later)[0]).abs().max()) > 1e-6


@pytest.mark.parametrize("name", BACKBONE_NAMES)
def test_every_backbone_keeps_the_contract(name: str) -> None:
    with torch.no_grad():
        check_backbone(backbone(name), 3, F, D)


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_state_is_of_constant_size_unless_it_is_a_cache(name: str) -> None:
    model = backbone(name)
    _, short = model.scan(noise(70, 1, F), model.init_state(1))
    _, long = model.scan(noise(200, 1, F), short)
    grew = state_bytes(long) - state_bytes(short)
    assert grew > 0 if name in GROWING_STATE else grew == 0


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_a_state_is_handed_on_to_the_last_bit(name: str, tmp_path: Path) -> None:
    model = backbone(name)
    xs = noise(12, 2, F)
    zs, _ = stepped(model, xs, model.init_state(2))
    first, state = stepped(model, xs[:5], model.init_state(2))
    save_state(state, tmp_path / "stream.safetensors")
    elsewhere = backbone(name)
    restored = load_state(tmp_path / "stream.safetensors", elsewhere)
    assert [type(part) for part in restored.layers] == [type(part) for part in state.layers]
    rest, _ = stepped(elsewhere, xs[5:], restored)
    assert torch.equal(torch.cat([first, rest]), zs)
    assert [file.name for file in tmp_path.iterdir()] == ["stream.safetensors"]


def test_a_state_of_another_backbone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stream.safetensors"
    save_state(backbone("rnn").init_state(1), path)
    with pytest.raises(ValueError, match="another backbone"):
        load_state(path, backbone("selective"))
    path.write_bytes(b"no state")
    with pytest.raises(ValueError, match="holds no state"):
        load_state(path, backbone("rnn"))


@pytest.mark.parametrize("name", BACKBONE_NAMES)
@torch.no_grad()
def test_same_seed_same_weights_and_the_global_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one, other = build_backbone(name, F, D, width=16, seed=3), build_backbone(name, F, D, width=16, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert any(
        not torch.equal(a, b)
        for a, b in zip(one.parameters(), build_backbone(name, F, D, width=16, seed=4).parameters(), strict=True)
    )


def test_unknown_name_and_wrong_latent_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        build_backbone("lstm", F, D)
    with pytest.raises(ValueError, match="latent of 4"):
        build_backbone("rnn", F, D, width=16).init_state(1, 4)
