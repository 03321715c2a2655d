"""Lag-operator state space: recurrence of a warped memory from one inner product, without an ODE.

Glossary: ``N`` coefficients, ``z`` in (0, 1] the warped past (1 is now), ``s`` <= 0 the past as it was, ``D`` channels.

Tomonaga, Doya and Murata, Lag Operator SSMs. A warp f maps the past (-inf, 0] to (0, 1]; the memory at time t is
c_n = <u, phi_n o f(. - t)> in the measure f'(s - t) ds. After a lag D the point z has moved to l(z) = f(g(z) - D), with
g the inverse of f, so the old memory contributes to the new coefficients by the inner product

    A_D[n, m] = int_0^1 phi_n(l(z)) l'(z) phi_m(z) dz = int_0^l(1) phi_n(y) phi_m(l^-1(y)) dy,

where the second form, the basis shifted backward, needs no derivative. The input during the lag fills the rest of the
interval, (l(1), 1], and is projected there. The derivatives with respect to D at zero are the generators (propositions
1 and 2). The exponential warp gives exp(-D A) of time-invariant LegS, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from geofold.backbone.convolution import DenseRecurrence
from geofold.backbone.hippo import legendre
from geofold.backbone.linear_memory import LinearMemory

QUADRATURE_NODES = 64
"""Nodes of the Gauss-Legendre quadrature, exact for the polynomial orders in use."""
NEWTON_ITERATIONS = 30
"""Iterations of the inverse of a `MultiResolution` warp; a dozen are enough for scales that differ by a hundred."""


class Warp(Protocol):
    """Stationary warp f: increasing, with f(0) = 1 and f(-inf) = 0."""

    def forward(self, s: Tensor) -> Tensor:
        """f(s) of the past s <= 0."""

    def inverse(self, z: Tensor) -> Tensor:
        """g(z), the inverse of f."""

    def slope(self, z: Tensor) -> Tensor:
        """f'(g(z)), the velocity of z in time."""


@dataclass(frozen=True)
class Exponential:
    """Warp f(s) = exp(s / scale), with a constant rate of forgetting; it gives HiPPO-LegS."""

    scale: float = 1.0

    def forward(self, s: Tensor) -> Tensor:
        """f(s), elementwise."""
        return torch.exp(s / self.scale)

    def inverse(self, z: Tensor) -> Tensor:
        """g(z), elementwise."""
        return self.scale * torch.log(z)

    def slope(self, z: Tensor) -> Tensor:
        """f'(g(z)), elementwise."""
        return z / self.scale


@dataclass(frozen=True)
class Hyperbolic:
    """Warp f(s) = 1 / (1 - s / scale), whose weight of the past falls like 1 / s."""

    scale: float = 1.0

    def forward(self, s: Tensor) -> Tensor:
        """f(s), elementwise."""
        return 1 / (1 - s / self.scale)

    def inverse(self, z: Tensor) -> Tensor:
        """g(z), elementwise."""
        return self.scale * (1 - 1 / z)

    def slope(self, z: Tensor) -> Tensor:
        """f'(g(z)), elementwise."""
        return z * z / self.scale


@dataclass(frozen=True)
class MultiResolution:
    """Warp f(s) = sum_k w_k exp(s / scale_k): part of the interval for each scale, from the newest past to the oldest.

    Attributes
    ----------
    scales : tuple of float
        Positive.
    weights : tuple of float
        Share of the interval that each scale gets; they add up to one.

    Raises
    ------
    ValueError
        If a scale or a weight is not positive, their numbers differ, or the weights do not add up to one.
    """

    scales: tuple[float, ...] = (0.25, 1.0, 4.0)
    weights: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3)

    def __post_init__(self) -> None:
        if len(self.scales) != len(self.weights) or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(f"weights {self.weights} of scales {self.scales}; expected one each, with sum one")
        if min(*self.scales, *self.weights) <= 0:
            raise ValueError(f"scales {self.scales} and weights {self.weights}; expected positive numbers")

    def forward(self, s: Tensor) -> Tensor:
        """f(s), elementwise."""
        return self._parts(s).sum(0)

    def inverse(self, z: Tensor) -> Tensor:
        """g(z), elementwise, by Newton's method on log f.

        log f is increasing and convex, so the iterates come down from 0 to the root without overshooting. The last one
        records gradients, which makes them exact.
        """
        with torch.no_grad():
            s = torch.zeros_like(z)
            for _ in range(NEWTON_ITERATIONS - 1):
                s = self._newton_step(s, z)
        return self._newton_step(s, z)

    def slope(self, z: Tensor) -> Tensor:
        """f'(g(z)), elementwise."""
        return self._slope_at(self._parts(self.inverse(z)))

    def _parts(self, s: Tensor) -> Tensor:
        """Terms of the sum, (K, ...)."""
        return torch.stack([w * torch.exp(s / scale) for w, scale in zip(self.weights, self.scales, strict=True)])

    def _slope_at(self, parts: Tensor) -> Tensor:
        rates = parts.new_tensor(self.scales).reciprocal()
        return (parts * rates.view(-1, *[1] * (parts.dim() - 1))).sum(0)

    def _newton_step(self, s: Tensor, z: Tensor) -> Tensor:
        parts = self._parts(s)
        value = parts.sum(0)
        return s - value * torch.log(value / z) / self._slope_at(parts)


WARPS: dict[str, Callable[[], Warp]] = {
    "exponential": Exponential,
    "hyperbolic": Hyperbolic,
    "multi_resolution": MultiResolution,
}
"""Warps of `LagOperator` by name."""


@cache
def _quadrature(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss-Legendre quadrature on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(count)
    return torch.as_tensor((x + 1) / 2), torch.as_tensor(w / 2)


def backward_shift(warp: Warp, lag: Tensor, count: int, nodes: int = QUADRATURE_NODES) -> Tensor:
    """A_D (..., N, N) for lags D (...), from old to new coefficients, with zero input during the lag.

    Parameters
    ----------
    warp : Warp
    lag : (...)
    count : int
        Number of coefficients N.
    nodes : int
        Nodes of the quadrature.
    """
    x, w = (v.to(lag) for v in _quadrature(nodes))
    edge = warp.forward(-lag)[..., None]  # position of the present after the lag
    y = x * edge
    before = warp.forward((warp.inverse(y) + lag[..., None]).clamp_max(0.0))
    return torch.einsum("...qn,...q,...qm->...nm", legendre(y, count), w * edge, legendre(before, count))


def forward_shift(warp: Warp, lag: Tensor, count: int, nodes: int = QUADRATURE_NODES) -> Tensor:
    """Adjoint (..., N, N) of the backward shift: coefficients of the past before the lag, as of that time.

    Parameters
    ----------
    warp : Warp
        Scale of the window.
    lag : (...)
        Lag D.
    count : int
        Number N of coefficients.
    nodes : int
        Nodes of the quadrature.
    """
    return backward_shift(warp, lag, count, nodes).mT


def held_input_coefficients(warp: Warp, lag: Tensor, count: int, nodes: int = QUADRATURE_NODES) -> Tensor:
    """B_D (..., N), the coefficients of an input that is one during the lag D (...).

    Parameters
    ----------
    warp : Warp
        Scale of the window.
    lag : (...)
        Lag D.
    count : int
        Number N of coefficients.
    nodes : int
        Nodes of the quadrature.
    """
    return _project_newest(warp, lag, count, nodes, blend=False)


def _project_newest(warp: Warp, lag: Tensor, count: int, nodes: int, *, blend: bool) -> Tensor:
    """Projection of the newest interval: of the constant one, or (`blend`) of a ramp from 0 to 1."""
    x, w = (v.to(lag) for v in _quadrature(nodes))
    edge = warp.forward(-lag)[..., None]
    y = edge + (1 - edge) * x
    share = 1 + warp.inverse(y) / lag[..., None] if blend else torch.ones_like(y)
    return torch.einsum("...qn,...q->...n", legendre(y, count), share * w * (1 - edge))


def recurrence(
    warp: Warp, lag: Tensor, count: int, *, blend: bool = False, nodes: int = QUADRATURE_NODES
) -> tuple[Tensor, Tensor]:
    """Return A (..., N, N) and B (..., N) of c(t + D) = A c(t) + B u(t + D).

    Parameters
    ----------
    warp : Warp
    lag : (...)
        Lags D.
    count : int
        Number of coefficients N.
    blend : bool
        Signal during the lag: the new input held (False), or a line from the reconstructed present,
        sum_n c_n phi_n(1), to the new input (True).
    nodes : int
        Nodes of the quadrature.
    """
    a, b = backward_shift(warp, lag, count, nodes), held_input_coefficients(warp, lag, count, nodes)
    if not blend:
        return a, b
    ramp = _project_newest(warp, lag, count, nodes, blend=True)
    present = legendre(lag.new_ones(()), count)
    return a + (b - ramp)[..., None] * present, ramp


def generators(warp: Warp, count: int, nodes: int = QUADRATURE_NODES) -> tuple[Tensor, Tensor]:
    """A_gen (N, N) and B_gen (N,) of dc/dt = A_gen c + B_gen u (propositions 1 and 2).

    A_gen[n, m] = -[phi_n w phi_m]_0^1 + int phi_n w phi_m' dz and B_gen[n] = w(1) phi_n(1) with w = f' o g.
    """
    x, w = _quadrature(nodes)
    one = torch.ones((), dtype=x.dtype)
    now, flow = legendre(one, count), warp.slope(one)
    slopes = torch.func.vmap(torch.func.jacfwd(lambda z: legendre(z, count)))(x)
    inner = torch.einsum("qn,q,qm->nm", legendre(x, count), w * warp.slope(x), slopes)
    return inner - flow * torch.outer(now, now), flow * now


class LagOperator(LinearMemory):
    """Lag-operator layer: D channels with a lag of their own, all under one warp.

    Parameters
    ----------
    warp : str
        One of `WARPS`.
    blend : bool
        See `recurrence`.
    """

    def __init__(self, channels: int, states: int = 16, warp: str = "exponential", *, blend: bool = False) -> None:
        super().__init__(channels, states, complex_states=False)
        self.warp = WARPS[warp]()
        self.blend = blend
        self.c = nn.Parameter(torch.randn(channels, states) / states**0.5)

    def recurrence(self) -> DenseRecurrence:
        """Recurrence of the current weights."""
        return DenseRecurrence(*recurrence(self.warp, self.log_step.exp(), self.c.shape[1], blend=self.blend), self.c)
