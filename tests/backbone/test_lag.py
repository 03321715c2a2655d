"""The lag operator: HiPPO-LegS from an inner product."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import expm

from geofold.backbone.hippo import legendre, legs, reconstruct
from geofold.backbone.lag import (
    Exponential,
    Hyperbolic,
    MultiResolution,
    backward_shift,
    forward_shift,
    generators,
    held_input_coefficients,
    recurrence,
)

WARPS = [
    Exponential(),
    Exponential(0.4),
    Hyperbolic(),
    Hyperbolic(2.5),
    MultiResolution(),
    MultiResolution((1.0, 9.0), (0.3, 0.7)),
]
N = 12


def lag(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("step", [1e-3, 0.05, 0.5, 3.0])
@pytest.mark.parametrize("count", [2, 8, 16])
def test_exponential_warp_gives_the_matrix_exponential_of_legs(step: float, count: int) -> None:
    """Matrix by matrix, to 1e-12 of the largest entry; the bilinear step is not that."""
    a, b = legs(count)
    result, drive = recurrence(Exponential(), lag(step), count)
    expected = torch.as_tensor(expm(-step * a.numpy()))  # torch's own is off by 3e-12 for small matrices
    # held inputs: A^-1 (1 - exp(-D A)) B
    held = torch.linalg.solve(a, (torch.eye(count, dtype=torch.float64) - expected) @ b)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))
    torch.testing.assert_close(drive, held, rtol=0, atol=1e-12 * float(held.abs().max()) * 10)
    eye = torch.eye(count, dtype=torch.float64)
    tustin = torch.linalg.solve(eye + step / 2 * a, eye - step / 2 * a)
    if step > 0.01:
        assert float((tustin - expected).abs().max()) > 1e-4


def test_memory_of_a_signal_side_by_side() -> None:
    """The paper's figure 4: the lag operator and LegS hold the same memory of a noisy signal."""
    noise = torch.Generator().manual_seed(0)
    signal = torch.sin(torch.arange(400, dtype=torch.float64) / 15) + 0.3 * torch.randn(400, generator=noise).double()
    a, b = legs(24)
    step, drive = recurrence(Exponential(), lag(0.01), 24)
    exact = torch.as_tensor(expm(-0.01 * a.numpy()))
    held = torch.linalg.solve(a, (torch.eye(24, dtype=torch.float64) - exact) @ b)
    one = other = torch.zeros(24, dtype=torch.float64)
    for value in signal:
        one, other = step @ one + drive * value, exact @ other + held * value
    torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
    z = torch.linspace(0.05, 1.0, 40, dtype=torch.float64)
    torch.testing.assert_close(reconstruct(one, z), reconstruct(other, z), rtol=0, atol=1e-10)


def test_generators_of_the_exponential_warp_are_legs() -> None:
    a, b = legs(N)
    result, drive = generators(Exponential(), N)
    torch.testing.assert_close(result, -a, rtol=0, atol=1e-11)
    torch.testing.assert_close(drive, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("warp", WARPS)
def test_generators_are_the_derivatives_of_the_recurrence(warp) -> None:
    """Propositions 1 and 2 against finite differences in the lag."""
    a, b = generators(warp, N)
    h = 1e-6
    shift = (backward_shift(warp, lag(h), N) - torch.eye(N, dtype=torch.float64)) / h
    torch.testing.assert_close(shift, a, rtol=0, atol=1e-3 * float(a.abs().max()))
    torch.testing.assert_close(held_input_coefficients(warp, lag(h), N) / h, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("warp", WARPS)
def test_shift_is_the_projection_of_the_shifted_memory(warp) -> None:
    """Independent of the formula: project u_hat(s) and the held input on the new basis by brute force."""
    c = torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    d, u = lag(0.3), 1.7
    a, b = recurrence(warp, d, 6)
    grid = 400_000
    z = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid  # new warped past
    s = warp.inverse(z)  # time before the new present
    old = s <= -d
    signal = torch.full_like(z, u)
    signal[old] = reconstruct(c, warp.forward(s[old] + d))
    expected = legendre(z, 6).mT @ signal / grid
    torch.testing.assert_close(a @ c + b * u, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("warp", WARPS)
def test_blended_input_starts_from_what_is_remembered(warp) -> None:
    """Continuing the remembered present costs nothing: the extended signal has no jump, and constants persist."""
    a, b = recurrence(warp, lag(0.2), 6, blend=True)
    constant = torch.zeros(6, dtype=torch.float64)
    constant[0] = 1.0  # the memory of the signal 1
    torch.testing.assert_close(a @ constant + b * 1.0, constant, rtol=0, atol=1e-12)
    plain, held = recurrence(warp, lag(0.2), 6)
    torch.testing.assert_close(plain @ constant + held, constant, rtol=0, atol=1e-12)
    assert float((a - plain).abs().max()) > 1e-3


def test_shifts_compose_and_the_forward_one_undoes_what_it_can() -> None:
    """Under the exponential warp polynomials stay polynomials: A_D A_E = A_(D+E); shifts are adjoint to each other."""
    warp = Exponential()
    one, two, both = (backward_shift(warp, lag(d), N) for d in (0.2, 0.5, 0.7))
    torch.testing.assert_close(one @ two, both, rtol=0, atol=1e-11)
    torch.testing.assert_close(forward_shift(warp, lag(0.2), N), one.mT, rtol=0, atol=0)
    for other in (Hyperbolic(), Exponential()):
        size = torch.linalg.matrix_norm(backward_shift(other, lag(0.5), N), 2)
        assert float(size) < 1.0, "a shift into the past only forgets"


def test_the_hyperbolic_warp_keeps_an_old_pulse_longer() -> None:
    """Modular memory: with equal forgetting of the recent past, 1 / s outlives exp(-s)."""
    left = []
    for warp in (Exponential(), Hyperbolic()):
        step, drive = recurrence(warp, lag(0.1), N)
        c = drive.clone()
        for _ in range(100):
            c = step @ c
        left.append(float(c.norm()))
    assert left[1] > 10 * left[0]


@pytest.mark.parametrize("warp", WARPS)
def test_a_warp_and_its_inverse(warp) -> None:
    z = torch.logspace(-8, 0, 50, dtype=torch.float64)
    s = warp.inverse(z)
    assert bool((s <= 1e-12).all()) and bool((s.diff() > 0).all())
    torch.testing.assert_close(warp.forward(s), z, rtol=1e-12, atol=0)
    slope = torch.func.vmap(torch.func.grad(warp.forward))(s)
    torch.testing.assert_close(warp.slope(z), slope, rtol=1e-9, atol=0)


def test_the_inverse_of_a_multi_resolution_warp_has_exact_gradients() -> None:
    z = torch.tensor([0.02, 0.3, 0.8, 0.99], dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(MultiResolution((0.1, 1.0, 20.0), (0.2, 0.3, 0.5)).inverse, z)


def test_one_resolution_is_the_exponential_warp() -> None:
    for one, other in zip(
        recurrence(MultiResolution((0.7,), (1.0,)), lag(0.2), N), recurrence(Exponential(0.7), lag(0.2), N), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_several_resolutions_see_both_a_fast_present_and_a_slow_past() -> None:
    """Reconstruction errors of a chirp, fast now and slow long ago, where a single scale has to choose."""
    past = -torch.arange(2000, dtype=torch.float64).flip(0) * 0.01
    signal = torch.sin(10 * torch.log(0.1 - past))
    errors = []
    for warp in (Exponential(0.25), Exponential(4.0), MultiResolution((0.25, 1.0, 4.0))):
        step, drive = recurrence(warp, lag(0.01), 32)
        c = torch.zeros(32, dtype=torch.float64)
        for value in signal:
            c = step @ c + drive * value
        miss = (reconstruct(c, warp.forward(past)) - signal).square()
        errors.append([float(miss[past > -0.25].mean()), float(miss[(past < -4) & (past > -10)].mean())])
    fast, slow, several = errors
    assert several[0] < 0.25 * slow[0] and several[1] < 0.05 * fast[1], errors


@pytest.mark.parametrize(
    ("scales", "weights"), [((1.0,), (0.5, 0.5)), ((1.0, 2.0), (0.5, 0.6)), ((1.0, -2.0), (0.5, 0.5))]
)
def test_scales_and_weights_have_to_fit(scales, weights) -> None:
    with pytest.raises(ValueError, match="expected"):
        MultiResolution(scales, weights)
