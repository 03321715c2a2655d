"""What worlds are to tensors: height, slope and signed distance at any point, differentiable, many worlds at once.

Glossary: ``S`` scenes (a world as it stands), ``n`` cells along a side; ``B`` rows, each in one scene; ``k`` points.
Lengths are in sides of the world. A point outside of the world is further in the wall the further it is out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from geofold.maze.layouts import CELLS
from geofold.maze.relief import Relief
from geofold.maze.world import World

STEP_LENGTH = 1 / 48
"""Longest move of a step on the surface: two cells, less than the thinnest wall."""
PATH_SAMPLES = (0.25, 0.5, 0.75, 1.0)
"""Where on a move it is looked whether a barrier is in the way."""


def signed_distance(barriers: np.ndarray) -> np.ndarray:
    """Distance (n, n) of cells' middles to the edge of the barriers, in sides; negative inside.

    The edge runs between cells, half a cell short of the nearest middle on its other side.
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
    relief
    atlas : (1, 1, S n, n)
        Signed distances of all scenes, one below the other: one `grid_sample` serves rows of different scenes.
    """

    relief: Relief
    atlas: Tensor

    @classmethod
    def of(cls, worlds: list[World]) -> Fields:
        """Fields of worlds as they stand."""
        atlas = np.concatenate([_signed_distance(world) for world in worlds])
        return cls(Relief.stack([world.relief for world in worlds]), torch.as_tensor(atlas)[None, None])

    def distance(self, at: Tensor, scene: Tensor) -> Tensor:
        """Signed distances (B, k) at points (B, k, 2) of the scenes (B,): bilinear between cells' middles."""
        # rows of the atlas beyond the first and last middle belong to other scenes
        near = at.clamp(0.5 / CELLS, 1 - 0.5 / CELLS)
        scenes = self.atlas.shape[2] // CELLS
        row = (near[..., 1] + scene[:, None]) / scenes
        # -1 and 1 are the edges of the atlas, half a cell beyond the outermost middles
        grid = 2 * torch.stack([near[..., 0], row], -1)[None] - 1
        found = grid_sample(self.atlas, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
        return found - (at - near).abs().sum(-1)

    def distance_slope(self, at: Tensor, scene: Tensor) -> Tensor:
        """Gradients (B, k, 2) of the distances."""
        leaf = at.detach().requires_grad_(True)
        with torch.enable_grad():
            found = self.distance(leaf, scene).sum()
        return torch.autograd.grad(found, leaf)[0]

    def free_fraction(self, at: Tensor, move: Tensor, scene: Tensor) -> tuple[Tensor, Tensor]:
        """How far a straight move (B, 2) from points (B, 2) gets, as the share (B,) of it, and whether it is stopped.

        It ends at the last of four places on the way before which there is no barrier.
        """
        parts = move.new_tensor(PATH_SAMPLES)
        clear = self.distance(at[:, None] + parts[:, None] * move[:, None], scene) > 0
        free = clear.cumprod(-1).sum(-1)
        return torch.cat([parts.new_zeros(1), parts])[free], free < len(PATH_SAMPLES)


def cap_length(move: Tensor, slope: Tensor, cap: float = STEP_LENGTH) -> Tensor:
    """Moves (B, 2), shortened where they are longer than a cap on the surface of the given slope (B, 2)."""
    length = (move.square().sum(-1) + (move * slope).sum(-1).square()).sqrt()
    return move * (cap / length.clamp_min(cap))[:, None]
