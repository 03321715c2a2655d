"""An RMP-style reactive controller (Cheng et al., RMPflow, 2018).

It adds up an attraction and repulsions, each weighted by a metric of its own. It has the features of the predictors
(`geofold.maze.features`), no memory and no plan.

Glossary: ``B`` rows, ``r`` rays, ``n`` moves of a plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.maze.features import decode_features, ray_directions


@dataclass(frozen=True)
class Reactive:
    """Replaces a backbone; its plan repeats a single move.

    Parameters
    ----------
    margin : float
        Distance (steps) between a barrier and the end of a ray within which the barrier repels.
    push, weight : float
        Length (steps) of a repulsion at the barrier, and weight of its metric relative to that of the attraction.
    """

    margin: float = 0.7
    push: float = 0.5
    weight: float = 4.0
    name: str = "rmp"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """Make the initial plan, zero."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Plan (sum M)^-1 sum M a, with sums over the attraction and one repulsion for each ray."""
        features, ray = decode_features(x), ray_directions(x)
        eye = torch.eye(2, dtype=x.dtype, device=x.device)
        ground = eye + features.slope[:, :, None] * features.slope[:, None]
        near = (1 - features.gap / self.margin).clamp(0, 1)
        wall = self.weight * near.square()
        metric = ground + torch.einsum("br,ri,rj->bij", wall, ray, ray)
        force = (ground @ features.aim[..., None])[..., 0] - self.push * torch.einsum("br,ri->bi", wall * near, ray)
        move = torch.linalg.solve(metric, force)
        plan = (move / move.norm(dim=-1, keepdim=True).clamp_min(1.0)).repeat(1, state.shape[1] // 2)
        return plan, plan

    def read(self, state: Tensor) -> Tensor:
        """Return the current plan."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Store a corrected plan."""
        return z
