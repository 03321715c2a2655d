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
    warp : 'exponential' or 'hyperbolic'
    blend : bool
        See `recurrence`.
    """

    def __init__(self, channels: int, states: int = 16, warp: str = "exponential", *, blend: bool = False) -> None:
        super().__init__(channels, states, complex_states=False)
        self.warp: Warp = Exponential() if warp == "exponential" else Hyperbolic()
        self.blend = blend
        self.c = nn.Parameter(torch.randn(channels, states) / states**0.5)

    def recurrence(self) -> DenseRecurrence:
        """Recurrence of the current weights."""
        return DenseRecurrence(*recurrence(self.warp, self.log_step.exp(), self.c.shape[1], blend=self.blend), self.c)
