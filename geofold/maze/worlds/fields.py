"""Fields of worlds as tensors: height, slope and signed distance at any point, differentiable and batched.

Glossary: ``S`` scenes (a world in its current state), ``n`` cells along a side; ``B`` rows, each in one scene; ``k``
points. Lengths are in sides of the world. Outside of the world the signed distance falls with the distance to its edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from geofold.maze.worlds.arcs import surface_length
from geofold.maze.worlds.layouts import CELLS
from geofold.maze.worlds.relief import Relief
from geofold.maze.worlds.world import World

STEP_LENGTH = 1 / 48
"""Maximum length (sides) of a step on the surface: two cells, less than the thinnest wall."""
PATH_SAMPLES = (0.25, 0.5, 0.75, 1.0)
"""Fractions of a move at which barriers are detected."""


def signed_distance(barriers: np.ndarray) -> np.ndarray:
    """Signed distance (n, n) in sides from the cell centres to the edge of the barriers, negative inside.

    The edge lies between cells, half a cell before the nearest centre on its other side.
    """
    outside = ndimage.distance_transform_edt(~barriers) - 0.5
    inside = ndimage.distance_transform_edt(barriers) - 0.5
    return np.where(barriers, -inside, outside) / len(barriers)


@lru_cache(maxsize=256)
def _signed_distance(world: World) -> np.ndarray:
    return signed_distance(world.barriers)


@dataclass(frozen=True, eq=False)
class Fields:
    """Ground and barriers of S scenes.

    Attributes
    ----------
    relief : Relief
    atlas : (1, 1, S n, n)
        Signed distances of all scenes, stacked along rows, so that one `grid_sample` serves rows of all scenes.
    """

    relief: Relief
    atlas: Tensor

    @classmethod
    def of(cls, worlds: list[World]) -> Fields:
        """Fields of worlds in their current state."""
        atlas = np.concatenate([_signed_distance(world) for world in worlds])
        return cls(Relief.stack([world.relief for world in worlds]), torch.as_tensor(atlas)[None, None])

    def distance(self, at: Tensor, scene: Tensor) -> Tensor:
        """Signed distances (B, k) at points (B, k, 2) of scenes (B,), bilinear between cell centres."""
        # Rows of the atlas beyond the first and last centre belong to other scenes.
        near = at.clamp(0.5 / CELLS, 1 - 0.5 / CELLS)
        scenes = self.atlas.shape[2] // CELLS
        row = (near[..., 1] + scene[:, None]) / scenes
        # -1 and 1 are the edges of the atlas, half a cell beyond the outermost centres.
        grid = 2 * torch.stack([near[..., 0], row], -1)[None] - 1
        distance = grid_sample(self.atlas, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
        return distance - (at - near).abs().sum(-1)

    def distance_slope(self, at: Tensor, scene: Tensor) -> Tensor:
        """Gradients (B, k, 2) of the signed distances at points (B, k, 2)."""
        leaf = at.detach().requires_grad_(True)
        with torch.enable_grad():
            total = self.distance(leaf, scene).sum()
        return torch.autograd.grad(total, leaf)[0]

    def free_fraction(self, at: Tensor, move: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """Fraction (B,) of a straight move up to the first barrier, and whether it is stopped, (B,) bool.

        A move ends at the last of four sample points before a barrier.

        Parameters
        ----------
        at, move : (B, 2)
            Start and move.
        scene : (B,) int
        """
        parts = move.new_tensor(PATH_SAMPLES)
        clear = self.distance(at[:, None] + parts[:, None] * move[:, None], scene) > 0
        free = clear.cumprod(-1).sum(-1)
        return torch.cat([parts.new_zeros(1), parts])[free], free < len(PATH_SAMPLES)


def cap_length(move: Tensor, slope: Tensor, cap: float = STEP_LENGTH) -> Tensor:
    """Return tangent vectors (B, 2), shortened to the length `cap` (sides) on the surface with slope (B, 2)."""
    return move * (cap / surface_length(move, slope).clamp_min(cap))[:, None]
