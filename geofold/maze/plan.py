"""Latent of the maze: a chain of future moves, with its derivatives in closed form.

Glossary: ``B`` rows, ``n`` moves, latent (B, 2 n); observations (B, 3 n): for each move its x, y and rise.

The latent holds n moves in units of the longest step. The first move, which is made, is shortened to that length on
the surface; the others are free, and the loss draws them to the same length. The observations are the chords of the
moves on the surface, in sides of the world. On a plane of slope s, J'WJ is (I + s s') for each move, which is the
surface metric ds^2 = |d|^2 + (s . d)^2 in steps. On curved ground a move also changes the rise of the moves after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.core.domain import Expansion, Prediction
from geofold.maze.worlds.arcs import surface_length
from geofold.maze.worlds.fields import STEP_LENGTH
from geofold.maze.worlds.relief import Relief


class PlanOrigin(NamedTuple):
    """Origin of a plan: position (B, 2), height (B, 1) and slope (B, 2) of the ground there, scene (B,)."""

    position: Tensor
    height: Tensor
    slope: Tensor
    scene: Tensor


@dataclass(frozen=True)
class PlanDecoder:
    """Decoder of a plan of `moves` moves over a relief."""

    relief: Relief
    moves: int

    def decode(self, z: Tensor, origin: PlanOrigin) -> Prediction:
        """Prediction of plans z (B, 2 n) from their origins."""
        moves, positions = self._moves(z, origin)
        return self._predict(moves, self.relief.height(positions, origin.scene), origin)

    def _moves(self, z: Tensor, origin: PlanOrigin) -> tuple[Tensor, Tensor]:
        """Return moves and the positions they lead to, (B, n, 2) each, in sides of the world."""
        z = z.unflatten(-1, (self.moves, 2))
        first = z[:, :1] / surface_length(z[:, 0], origin.slope).clamp_min(1.0)[:, None, None]
        moves = STEP_LENGTH * torch.cat([first, z[:, 1:]], 1)
        return moves, origin.position[:, None] + moves.cumsum(1)

    def _predict(self, moves: Tensor, height: Tensor, origin: PlanOrigin) -> Prediction:
        rise = torch.cat([origin.height, height], 1).diff(dim=1)
        mean = torch.cat([moves, rise[..., None]], -1).flatten(1)
        weight = mean.new_full(mean.shape[1:], STEP_LENGTH**-2)
        return Prediction(mean, weight, torch.ones_like(origin.scene, dtype=torch.bool))

    def expand(self, z: Tensor, origin: PlanOrigin) -> Expansion:
        """Prediction as in `decode`, with its derivatives."""
        n = self.moves
        moves, positions = self._moves(z, origin)
        height, slope = self.relief.height_and_slope(positions, origin.scene)
        prediction = self._predict(moves, height, origin)
        first = z[:, :2]
        length = surface_length(first, origin.slope)
        is_shortened = (length > 1)[:, None]
        # The surface metric at the origin, applied to the first move.
        lowered = first + origin.slope * (origin.slope * first).sum(-1, keepdim=True)
        along = first / length.square()[:, None].clamp_min(1.0)
        shrunk = STEP_LENGTH / length.clamp_min(1.0)[:, None]

        def move(v: Tensor) -> Tensor:
            """Change (..., B, n, 2) of the moves for a change (..., B, 2 n) of the latent."""
            head, tail = v[..., :2], v[..., 2:].unflatten(-1, (n - 1, 2))
            head = shrunk * (head - is_shortened * along * (lowered * head).sum(-1, keepdim=True))
            return torch.cat([head[..., None, :], STEP_LENGTH * tail], -2)

        def push(v: Tensor) -> Tensor:
            moved = move(v)
            return torch.cat([moved, _rises((slope * moved.cumsum(-2)).sum(-1, keepdim=True))], -1).flatten(-2)

        def pull(c: Tensor) -> Tensor:
            c = c.unflatten(-1, (n, 3))
            # Each height ends one rise and starts the next.
            lift = c[..., 2:] - torch.cat([c[..., 1:, 2:], torch.zeros_like(c[..., :1, 2:])], -2)
            back = c[..., :2] + (slope * lift).flip(-2).cumsum(-2).flip(-2)
            head = back[..., 0, :]
            head = shrunk * (head - is_shortened * lowered * (along * head).sum(-1, keepdim=True))
            return torch.cat([head, STEP_LENGTH * back[..., 1:, :].flatten(-2)], -1)

        def bend(v: Tensor) -> Tensor:
            turn = STEP_LENGTH * is_shortened * _shortened_bend(first, v[:, :2], origin.slope, length)
            rise = self.relief.bend(positions, origin.scene, move(v).cumsum(1)) + (slope * turn[:, None]).sum(-1)
            turned = torch.cat([turn[:, None], torch.zeros_like(positions[:, 1:])], 1)
            return torch.cat([turned, _rises(rise[..., None])], -1).flatten(1)

        def gram(weight: Tensor) -> Tensor:
            basis = torch.eye(2 * n, dtype=z.dtype, device=z.device)[:, None].expand(-1, len(z), -1)
            columns = (push(basis) * weight.sqrt()).permute(1, 0, 2)
            return columns @ columns.mT

        return Expansion(prediction, push, pull, bend, gram)


def _rises(height: Tensor) -> Tensor:
    """Differences of heights (..., n, 1), the first from zero."""
    return torch.diff(height, dim=-2, prepend=torch.zeros_like(height[..., :1, :]))


def _shortened_bend(u: Tensor, v: Tensor, slope: Tensor, length: Tensor) -> Tensor:
    """Second derivative (B, 2) of u / |u| along v, with |u| the length on the surface."""
    size = length.clamp_min(1.0)
    pace = ((u * v).sum(-1) + (u * slope).sum(-1) * (v * slope).sum(-1)) / size
    turn = (surface_length(v, slope).square() - pace.square()) / size
    return (-2 * pace / size.square())[:, None] * v + ((2 * pace.square() / size - turn) / size.square())[:, None] * u
