"""Arcs on the ground: their lengths, and the move whose arc is as long as a tangent vector.

Glossary: ``B`` rows. An arc is the curve on the surface above a straight line of the map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.maze.worlds.relief import Relief

ARC_CHORDS = 8
"""Number of chords by which the arc of a step is measured; its error is 0.3 % where the ground bends most."""
WALK_ITERATIONS = 3
"""Newton iterations of `walk`; the last one changes a step by less than 1e-5 of its length at slopes of 4."""


def surface_length(move: Tensor, slope: Tensor) -> Tensor:
    """Length (B,) of moves (B, 2) on a surface with slope (B, 2)."""
    return (move.square().sum(-1) + (move * slope).sum(-1).square()).sqrt()


def arc_length(relief: Relief, at: Tensor, move: Tensor, scene: Tensor, chords: int = ARC_CHORDS) -> Tensor:
    """Lengths (B,) of arcs.

    Parameters
    ----------
    relief : Relief
    at, move : (B, 2)
        Start of the arc, and its end relative to the start.
    scene : (B,) int
    chords : int
        Number of chords into which the arc is divided.
    """
    return _chord_lengths(relief.height(_points(at, move, chords), scene), move)


def _points(at: Tensor, move: Tensor, chords: int) -> Tensor:
    """Divide arcs into chords with ends (B, c + 1, 2)."""
    share = torch.linspace(0, 1, chords + 1, dtype=at.dtype, device=at.device)
    return at[:, None] + share[:, None] * move[:, None]


def _chord_lengths(height: Tensor, move: Tensor) -> Tensor:
    """Lengths (B,) of arcs from the heights (B, c + 1) of the ends of their chords."""
    flat = move.square().sum(-1, keepdim=True) / (height.shape[1] - 1) ** 2
    return (flat + height.diff(dim=-1).square()).sqrt().sum(-1)


def walk(relief: Relief, at: Tensor, tangent: Tensor, slope: Tensor, scene: Tensor) -> Tensor:
    """Walk from points in the directions of tangent vectors, over arcs of their lengths; returns the moves (B, 2).

    The length of a tangent vector is that on the plane that touches the surface at the start, so that on a plane the
    move is the vector itself.

    Parameters
    ----------
    relief : Relief
    at, tangent, slope : (B, 2)
        Start, tangent vector, and slope of the ground at the start.
    scene : (B,) int
    """
    length = surface_length(tangent, slope)
    map_length = tangent.norm(dim=-1).clamp_min(torch.finfo(tangent.dtype).tiny)
    # No arc is shorter than its line on the map.
    longest = length / map_length
    share = torch.ones_like(length)
    for _ in range(WALK_ITERATIONS):
        move = share[:, None] * tangent
        height, slopes = relief.height_and_slope(_points(at, move, ARC_CHORDS), scene)
        excess = _chord_lengths(height, move) - length
        pace = surface_length(tangent, slopes[:, -1]).clamp_min(torch.finfo(tangent.dtype).tiny)
        share = (share - excess / pace).clamp_min(0).minimum(longest)
    return share[:, None] * tangent
