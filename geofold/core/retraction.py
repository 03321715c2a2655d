"""Retraction: how a tangent step becomes a point, to first order, to second order, and (as reference) exactly.

For G = lambda I + J'WJ with constant W the Christoffel term has a closed form,
A[D, D] = -G^-1 J'W d2g[D, D], so one nested JVP, one VJP and one solve give
Retr(D) = z + D + A[D, D] / 2 with an error of order |D|^3 (GeoSSM, Appendix A, mended).
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
    """A[D, D] of a step D (B, d)."""
    return -factor.solve(at.pull(at.apply_weight(at.expansion.bend(step))))


def second_order(at: Linearisation, factor: Factor, step: Tensor, length: Tensor | None = None) -> Tensor:
    """The step D + A/2, or D alone where the correction is longer than half the step.

    Parameters
    ----------
    step : (B, d)
        First-order step, already within the trust region.
    length : (B,) or None
        Its true length, where it is known.

    Returns
    -------
    (B, d)
    """
    half = christoffel(at, factor, step) / 2
    squared = at.length_squared(step, factor.damping) if length is None else length.square()
    # what is not finite has no finite length, and is not taken
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
    """End of the geodesic that leaves z along a step, integrated: the reference for the retractions.

    z'' = -G^-1 J'W d2g[z', z'] by the classical Runge-Kutta method, the decoder expanded anew at every stage. Far
    too dear for a stream.

    Parameters
    ----------
    expand : callable
        Decoder around a latent (`AnalyticDecoder.expand`, or `differentiate`, with the state bound).
    z, step : (B, d)
        Base point and initial velocity; unit time is integrated.
    weight : (B, k)
        W, constant along the way.
    pieces : int
        Steps of the integrator, each with an error of order five.
    """

    def turn(point: Tensor, v: Tensor) -> Tensor:
        around = expand(point)
        factor = DenseFactor.of(around.gram(weight), torch.full_like(z[:, 0], damping))
        return -factor.solve(around.pull((weight * around.bend(v))[None])[0])

    h, v = 1.0 / pieces, step
    for _ in range(pieces):
        k1 = turn(z, v)
        k2 = turn(space.retract(z, h / 2 * v), v + h / 2 * k1)
        k3 = turn(space.retract(z, h / 2 * v + h * h / 4 * k1), v + h / 2 * k2)
        k4 = turn(space.retract(z, h * v + h * h / 2 * k2), v + h * k3)
        z = space.retract(z, h * v + h * h / 6 * (k1 + k2 + k3))
        v = v + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return z
