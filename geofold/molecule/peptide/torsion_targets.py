"""Targets of single torsions: values that a peptide bond or a residue is to turn to, and their cost.

Glossary: ``B`` rows, ``n`` torsions. Torsions are total increments, relative to the input and not wrapped, so that a
target also fixes the direction in which a torsion turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

SCALE = math.radians(10.0)
"""Distance (radian) from the target that costs one unit."""
SOFTENING = 5.0
"""Distance, in units of the scale, beyond which the cost is linear."""


class TorsionTarget(NamedTuple):
    """Target of one torsion.

    Attributes
    ----------
    torsion : int
        Index of the torsion.
    value : float
        Total increment (radian) to reach.
    """

    torsion: int
    value: float


def torsion_cost(angle: Tensor, targets: tuple[TorsionTarget, ...]) -> Tensor:
    """Cost (B,) of the distances of total increments (B, n) from their targets, linear at large distance."""
    x = _distance(angle, targets)
    return ((1 + (x / SOFTENING).square()).sqrt() * (2 * SOFTENING**2) - 2 * SOFTENING**2).sum(-1)


def with_torsion_slope(
    slope: Callable[[], Tensor], angle: Tensor, targets: tuple[TorsionTarget, ...]
) -> Callable[[], Tensor]:
    """Return the gradient (B, k) of a loss by the observations with that of `torsion_cost` added.

    Parameters
    ----------
    slope : callable
        Gradient of the other terms; the first observations are the increments.
    angle : (B, n)
        Total increments (radian).
    targets : tuple of TorsionTarget
    """
    x = _distance(angle, targets)
    index = torch.tensor([target.torsion for target in targets], device=angle.device)
    return lambda: slope().index_add(1, index, 2 * x / (1 + (x / SOFTENING).square()).sqrt() / SCALE)


def _distance(angle: Tensor, targets: tuple[TorsionTarget, ...]) -> Tensor:
    index = torch.tensor([target.torsion for target in targets], device=angle.device)
    return (angle[:, index] - angle.new_tensor([target.value for target in targets])) / SCALE
