"""An RMP-style reactive controller (Cheng et al., RMPflow, 2018): an attraction and repulsions, each with a metric of
its own, added up as metrics add up. It sees what the predictors see (`geofold.maze.features`), remembers nothing and
plans nothing.

Glossary: ``B`` rows, ``r`` rays, ``n`` moves of a plan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.maze.features import decode_features, ray_directions


@dataclass(frozen=True)
class Reactive:
    """Stands where a backbone does: its plan is one move, again and again.

    Parameters
    ----------
    margin : float
        Steps between a barrier and the end of a ray within which it repels.
    push, weight : float
        Length of a repulsion at the barrier, in steps, and weight of its metric beside that of the attraction.
    """

    margin: float = 0.7
    push: float = 0.5
    weight: float = 4.0
    name: str = "rmp"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Tensor:
        """The last plan."""
        return like.new_zeros(batch, dim)

    def step(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """(sum M)^-1 sum M a over the attraction and one repulsion for each ray."""
        seen, ray = decode_features(x), ray_directions(x)
        eye = torch.eye(2, dtype=x.dtype, device=x.device)
        ground = eye + seen.slope[:, :, None] * seen.slope[:, None]
        near = (1 - seen.gap / self.margin).clamp(0, 1)
        wall = self.weight * near.square()
        metric = ground + torch.einsum("br,ri,rj->bij", wall, ray, ray)
        force = (ground @ seen.aim[..., None])[..., 0] - self.push * torch.einsum("br,ri->bi", wall * near, ray)
        move = torch.linalg.solve(metric, force)
        plan = (move / move.norm(dim=-1, keepdim=True).clamp_min(1.0)).repeat(1, state.shape[1] // 2)
        return plan, plan

    def read(self, state: Tensor) -> Tensor:
        """The plan as it stands."""
        return state

    def write(self, state: Tensor, z: Tensor) -> Tensor:
        """Nothing is made of a correction but that it is remembered."""
        return z
