"""Each model against its other form: convolution, quadratic, masked attention, full attention."""

from __future__ import annotations

import pytest
import torch

from geofold.backbone.attention import Attention
from geofold.backbone.convolution import fft_convolve
from geofold.backbone.hippo import bilinear, legs
from geofold.backbone.hybrid import Experts, jamba
from geofold.backbone.hyena import Hyena
from geofold.backbone.registry import build_backbone
from geofold.backbone.rwkv import Rwkv, RwkvChannelMixing
from geofold.backbone.s4 import S4
from geofold.backbone.s4d import S4D
from geofold.backbone.scan import associative_scan, linear_scan
from geofold.backbone.selective import Selective
from geofold.backbone.ssd import ScalarDecay, chunk_outputs


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("length", [1, 2, 3, 8, 31, 100])
def test_associative_scan_is_the_loop(length: int) -> None:
    """Matrices do not commute: the order counts."""
    matrices = 0.5 * noise(length, 3, 3)
    (result,) = associative_scan(lambda a, b: (b[0] @ a[0],), (matrices,))
    product, expected = torch.eye(3, dtype=torch.float64), []
    for matrix in matrices:
        product = matrix @ product
        expected.append(product)
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("length", [1, 5, 16, 31, 32, 50, 600])
def test_linear_scan_and_its_gradient(length: int, shared: bool, kind: torch.dtype) -> None:
    """Against the loop; decays of each row, or shared by all."""
    turn = torch.polar(torch.ones(4), torch.linspace(0, 1, 4)).to(kind) if kind.is_complex else torch.ones(4)
    a = (torch.sigmoid(noise(length, 1 if shared else 3, 4)) * turn).to(kind).requires_grad_(True)
    b, start, weight = (
        torch.view_as_complex(noise(*shape, 2, seed=k)) if kind.is_complex else noise(*shape, seed=k)
        for k, shape in enumerate([(length, 3, 4), (3, 4), (length, 3, 4)])
    )
    b, start = b.clone().requires_grad_(True), start.clone().requires_grad_(True)
    h, expected = start, []
    for k in range(length):
        h = a[k] * h + b[k]
        expected.append(h)
    result = linear_scan(a, b, start)
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-10, atol=1e-12)
    one = torch.autograd.grad((result * weight).sum().abs(), (a, b, start))
    other = torch.autograd.grad((torch.stack(expected) * weight).sum().abs(), (a, b, start))
    for x, y in zip(one, other, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-9, atol=1e-10)


def test_rounds_of_a_scan_are_logarithmic() -> None:
    calls = []

    def combine(a, b):
        calls.append(len(a[0]))
        return (a[0] + b[0],)

    associative_scan(combine, (torch.ones(4096),))
    assert len(calls) <= 2 * 12 and sum(calls) <= 2 * 4096


@pytest.mark.parametrize("length", [1, 2, 64, 101])
@torch.no_grad()
def test_s4_kernel_is_its_recurrence(length: int) -> None:
    """Even lengths have a root of unity at -1, where the textbook formula divides by zero."""
    recurrence = S4(3, 8).double().recurrence()
    kernel = recurrence.kernel(length)
    h, expected = torch.zeros(1, 3, 8, dtype=torch.complex128), []
    for k in range(length):
        y, h = recurrence.step(torch.full((1, 3), float(k == 0), dtype=torch.float64), h)
        expected.append(y[0])
    torch.testing.assert_close(kernel, torch.stack(expected), rtol=1e-9, atol=1e-10)
    assert float(torch.as_tensor(h.abs().max())) > 0


@torch.no_grad()
def test_s4_starts_as_legs() -> None:
    """Its kernel is that of the dense bilinear LegS with the same read-out."""
    layer = S4(2, 8).double()
    r = layer.recurrence()
    from geofold.backbone.hippo import legs_nplr

    form = legs_nplr(8)
    half = form.eigenvalues.imag > 0
    basis = torch.cat([form.basis[:, half], form.basis[:, half].conj()], -1)
    a, b = legs(8)
    step, drive = bilinear(-a[None].expand(2, 8, 8), b.expand(2, 8), layer.log_step.exp())
    c = (r.c @ basis.mH.to(r.c)).real
    expected = [(c * drive).sum(-1)]
    for _ in range(39):
        drive = (step @ drive[..., None])[..., 0]
        expected.append((c * drive).sum(-1))
    torch.testing.assert_close(r.kernel(40), torch.stack(expected), rtol=1e-5, atol=1e-6)  # weights start in float32


@pytest.mark.parametrize("layer", [S4, S4D, Hyena])
@torch.no_grad()
def test_what_comes_later_changes_nothing_before(layer) -> None:
    model = layer(4).double()
    us = noise(40, 2, 4)
    other = us.clone()
    other[25:] += 1.0
    state = model.init_state(2, us)
    one, two = model.scan(us, state)[0], model.scan(other, state)[0]
    torch.testing.assert_close(one[:25], two[:25], rtol=0, atol=1e-10)
    assert float((one[25:] - two[25:]).abs().max()) > 1e-3


def test_fft_convolution_is_the_sum() -> None:
    us, kernel = noise(30, 2, 3), noise(30, 3, seed=1)
    expected = torch.stack([sum(kernel[s] * us[t - s] for s in range(t + 1)) for t in range(30)])  # type: ignore[misc]
    torch.testing.assert_close(fft_convolve(us, kernel), expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_rwkv_is_its_quadratic_form() -> None:
    """Weights e^(-(t-1-i) w + k_i) of all that came before, e^(u + k_t) of the present, as the paper writes them."""
    layer = Rwkv(5).double()
    us = 3 * noise(24, 2, 5)
    state = layer.init_state(2, us)
    k, v, r = layer._mix(us, torch.cat([state.last[None], us[:-1]]))
    w, expected = layer.log_decay.exp(), []
    for t in range(24):
        age = (t - 1 - torch.arange(t, dtype=torch.float64))[:, None, None]
        past, now = torch.exp(k[:t] - age * w), torch.exp(k[t] + layer.bonus)
        expected.append(((past * v[:t]).sum(0) + now * v[t]) / (past.sum(0) + now))
    torch.testing.assert_close(layer.scan(us, state)[0], layer.leave(r * torch.stack(expected)), rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_rwkv_channel_mixing_is_its_formula() -> None:
    """Equations 17 and 18, step by step: squared rectifier, a gate, both on inputs blended with the last one."""
    layer = RwkvChannelMixing(6).double()
    us = noise(9, 2, 6)
    last, expected = torch.zeros(2, 6, dtype=torch.float64), []
    for u in us:
        k = (layer.mix[0] * u + (1 - layer.mix[0]) * last) @ layer.key.weight.T
        r = (layer.mix[1] * u + (1 - layer.mix[1]) * last) @ layer.receptance.weight.T
        expected.append(1 / (1 + torch.exp(-r)) * ((k * (k > 0)) ** 2 @ layer.value.weight.T))
        last = u
    ys, state = layer.scan(us, layer.init_state(2, us))
    torch.testing.assert_close(ys, torch.stack(expected), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, us[-1], rtol=0, atol=0)


def test_every_second_layer_of_rwkv_mixes_channels() -> None:
    kinds = [type(layer) for layer in build_backbone("rwkv", 3, 4, width=8).layers]
    assert kinds == [Rwkv, RwkvChannelMixing] * 2


@torch.no_grad()
def test_rwkv_survives_large_keys() -> None:
    layer = Rwkv(4).double()
    us = 1e4 * noise(50, 1, 4)
    assert bool(layer.scan(us, layer.init_state(1, us))[0].isfinite().all())


@torch.no_grad()
def test_mamba_2_is_its_masked_attention() -> None:
    """Y = (L o C B') U over the whole sequence at once, whatever the chunks."""
    t, rows, heads, p, n = 150, 2, 3, 4, 5
    drive, b, c = noise(t, rows, heads, p), noise(t, rows, n, seed=1), noise(t, rows, n, seed=2)
    log_decay = -torch.rand(t, rows, heads, dtype=torch.float64)
    h, expected = torch.zeros(rows, heads, n, p, dtype=torch.float64), []
    for k in range(t):
        h = log_decay[k].exp()[..., None, None] * h + torch.einsum("bn,bhp->bhnp", b[k], drive[k])
        expected.append(torch.einsum("bn,bhnp->bhp", c[k], h))
    whole, last = chunk_outputs(drive, b, c, log_decay, torch.zeros_like(h))
    torch.testing.assert_close(whole, torch.stack(expected), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(last, h, rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_selection_lets_an_input_be_ignored() -> None:
    """A step that goes to zero leaves the state alone: what a fixed memory cannot do."""
    layer = Selective(4).double()
    state = layer.init_state(1, noise(1))
    _, state = layer.step(noise(1, 4), state)
    layer.pace.bias.fill_(-60.0)
    layer.pace.weight.zero_()
    _, after = layer.step(noise(1, 4, seed=1), state)
    torch.testing.assert_close(after.h, state.h, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("window", [None, 1, 6])
@torch.no_grad()
def test_attention_with_a_cache_is_full_attention(window: int | None) -> None:
    """Queries over all keys under a mask, by hand."""
    layer = Attention(16, heads=2, window=window).double()
    us = noise(20, 3, 16)
    q, k, v = layer.enter(us).transpose(0, 1).unflatten(-1, (3, 2, -1)).unbind(2)
    place = torch.arange(20).expand(3, 20)
    q, k = layer._rotate(q, place), layer._rotate(k, place)
    scores = torch.einsum("bthp,bshp->bhts", q, k) / 8**0.5
    age = torch.arange(20)[:, None] - torch.arange(20)
    scores = scores.masked_fill((age < 0) | (age >= (window or 20)), -torch.inf)
    expected = layer.leave(torch.einsum("bhts,bshp->tbhp", scores.softmax(-1), v).flatten(2))
    state, result = layer.init_state(3, us), []
    for part in us.split([3, 1, 9, 1, 6]):
        y, state = layer.scan(part, state)
        result.append(y)
    torch.testing.assert_close(torch.cat(result), expected, rtol=1e-10, atol=1e-11)


@torch.no_grad()
def test_only_distances_count_for_attention() -> None:
    layer = Attention(16, heads=2).double()
    us = noise(9, 1, 16)
    state = layer.init_state(1, us)
    late = state._replace(n_steps=state.n_steps + 1000)
    torch.testing.assert_close(layer.scan(us, state)[0], layer.scan(us, late)[0], rtol=1e-8, atol=1e-9)


@torch.no_grad()
def test_experts_are_routed_to_the_best_few() -> None:
    layer = Experts(6, experts=5, active=2).double()
    us = noise(40, 6)
    shares = layer.expert_weights(us)
    assert bool(((shares > 0).sum(-1) == 2).all())
    torch.testing.assert_close(shares.sum(-1), torch.ones(40, dtype=torch.float64))
    assert torch.equal(shares.argmax(-1), layer.route(us).argmax(-1))
    assert len(shares.argmax(-1).unique()) > 1
    # experts that are not chosen have no say
    unused = shares[0] == 0
    layer.up.data[unused] += 1.0
    y = layer.step(us[:1], ())[0]
    layer.up.data[unused] -= 1.0
    torch.testing.assert_close(y, layer.step(us[:1], ())[0], rtol=1e-9, atol=1e-10)


def test_jamba_has_one_attention_in_eight_and_experts_in_every_second_feed_forward() -> None:
    kinds = [type(layer).__name__ for layer in jamba(16, periods=2)]
    assert kinds.count("Attention") == 2 and kinds.count("Selective") == 14
    assert kinds.count("Experts") == kinds.count("FeedForward") == 8


def test_heads_have_to_fit() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Attention(18, heads=4)
    with pytest.raises(ValueError, match="multiple"):
        ScalarDecay(5, head=16)
