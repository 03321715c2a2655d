"""Second-order retraction: the step bent along the geodesic of the pullback metric.

For G = lambda I + J'WJ with constant W the Christoffel term has a closed form,
A[D, D] = -G^-1 J'W d2g[D, D], so one nested JVP, one VJP and one solve give
Retr(D) = z + D + A[D, D] / 2 with an error of order |D|^3 (GeoSSM, Appendix A, mended).
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.core.linearise import Linearisation
from geofold.core.metric import Factor


def christoffel(at: Linearisation, factor: Factor, step: Tensor) -> Tensor:
    """A[D, D] of a step D (B, d)."""
    bend = at.expansion.bend(step)
    return -factor.solve(at.pull(at.weight * bend))


def second_order(at: Linearisation, factor: Factor, step: Tensor, damping: float) -> Tensor:
    """The step D + A/2, or D alone where the correction is longer than half the step.

    Parameters
    ----------
    step : (B, d)
        First-order step, already within the trust region.

    Returns
    -------
    (B, d)
    """
    half = christoffel(at, factor, step) / 2
    small = at.length_squared(half, damping) <= at.length_squared(step, damping) / 4
    return torch.where((small & half.isfinite().all(-1))[:, None], step + half, step)
