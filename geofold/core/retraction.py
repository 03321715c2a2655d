"""Retraction of a tangent step to a point: of first order, of second order, and (for reference) the exact geodesic.

For G = lambda I + J'WJ with constant W the Christoffel term has a closed form,
A[D, D] = -G^-1 J'W d2g[D, D], so one nested JVP, one VJP and one solve give
Retr(D) = z + D + A[D, D] / 2 with an error of order |D|^3 (GeoSSM, Appendix A, corrected).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from geofold.core.domain import Expansion
from geofold.core.linearise import Linearisation
from geofold.core.metric import DenseFactor, Factor
from geofold.core.tangent import Space


def christoffel(at: Linearisation, factor: Factor, step: Tensor) -> Tensor:
    """Christoffel term A[D, D], (B, d), of a step D (B, d)."""
    return -factor.solve(at.pull(at.apply_weight(at.expansion.bend(step))))


def second_order(at: Linearisation, factor: Factor, step: Tensor, length: Tensor | None = None) -> Tensor:
    """Second-order step D + A/2, or D in rows where the correction is longer than half the step.

    Parameters
    ----------
    at : Linearisation
    factor : Factor
    step : (B, d)
        First-order step D, within the trust region.
    length : (B,) or None
        Exact length of the step if it is known; None: it is computed.

    Returns
    -------
    (B, d)
    """
    half = christoffel(at, factor, step) / 2
    squared = at.length_squared(step, factor.damping) if length is None else length.square()
    # A correction that is not finite fails this comparison and is dropped.
    small = at.length_squared(half, factor.damping) <= squared / 4
    return torch.where(small[:, None], step + half, step)


def geodesic(
    expand: Callable[[Tensor], Expansion],
    space: Space,
    z: Tensor,
    step: Tensor,
    weight: Tensor,
    damping: float,
    *,
    pieces: int = 32,
) -> Tensor:
    """End point of the geodesic from z along a step, by numerical integration: the reference for the retractions.

    Integrates z'' = -G^-1 J'W d2g[z', z'] with the classical Runge-Kutta method and expands the decoder at every stage,
    which is too expensive for a stream.

    Parameters
    ----------
    expand : callable
        Expansion of the decoder at a latent (`AnalyticDecoder.expand` or `differentiate`, with the state bound).
    space : Space
    z, step : (B, d)
        Base point and initial velocity; unit time is integrated.
    weight : (B, k)
        W, constant along the geodesic.
    damping : float
        lambda.
    pieces : int
        Number of integration steps, each with an error of fifth order.

    Returns
    -------
    (B, d)
    """

    def acceleration(point: Tensor, v: Tensor) -> Tensor:
        around = expand(point)
        factor = DenseFactor.of(around.gram(weight), torch.full_like(z[:, 0], damping))
        return -factor.solve(around.pull((weight * around.bend(v))[None])[0])

    h, v = 1.0 / pieces, step
    for _ in range(pieces):
        k1 = acceleration(z, v)
        k2 = acceleration(space.retract(z, h / 2 * v), v + h / 2 * k1)
        k3 = acceleration(space.retract(z, h / 2 * v + h * h / 4 * k1), v + h / 2 * k2)
        k4 = acceleration(space.retract(z, h * v + h * h / 2 * k2), v + h * k3)
        z = space.retract(z, h * v + h * h / 6 * (k1 + k2 + k3))
        v = v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return z
