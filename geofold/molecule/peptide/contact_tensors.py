"""Contacts as tensors: which atoms, how near, and along which moves a bound resists.

Glossary: ``B`` rows, ``c`` contacts, ``m`` local atoms, ``n`` torsions; observations are torsions, then coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.molecule.energy.clash_cost import DISTANCE_OFFSET
from geofold.molecule.peptide.contacts import cost_curvature


class Bounds(NamedTuple):
    """Contacts: rows of their atoms, places of those that stay, bounds (nm), aims within them, 1 for upper, else -1."""

    i: Tensor
    j: Tensor
    still: Tensor
    bound: Tensor
    aim: Tensor
    sign: Tensor


def beyond(distance: Tensor, bounds: Bounds) -> Tensor:
    """Largest violation (B,) of bounds by distances (B, c), zero where all are kept."""
    return torch.relu(((distance - bounds.bound) * bounds.sign).amax(-1))


def stiff(bounds: Bounds, ends: Tensor, weight: float, torsions: int, local: int) -> Tensor | None:
    """Directions (c, B, n + 3 m) along which contacts are stiff: each distance, near its bound or beyond it.

    Parameters
    ----------
    ends : (B, c, 3)
        From the second to the first atom of each contact, nm.
    weight
        Of the contacts in the loss.
    torsions, local
        n and m.
    """
    gap = (ends.square().sum(-1) + DISTANCE_OFFSET).sqrt()
    size = (weight * cost_curvature((gap - bounds.aim) * bounds.sign)).sqrt()
    if not bool((size > 0).any()):
        return None
    along = ((size / gap)[..., None] * ends).transpose(0, 1)
    rows = along.new_zeros(len(bounds.i), len(ends), local + len(bounds.still), 3)
    each = torch.arange(len(bounds.i), device=rows.device)
    rows[each, :, bounds.i] = along
    rows[each, :, bounds.j] = -along
    return torch.nn.functional.pad(rows[:, :, :local].flatten(2), (torsions, 0))
