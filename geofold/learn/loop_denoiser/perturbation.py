"""Perturbed, closed loops that the denoiser learns to restore.

Glossary: see `geofold.learn.loop_denoiser.batched_backbone`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.geometry import wrap
from geofold.learn.loop_denoiser.batched_backbone import BackboneBatch, loop_rmsd, loop_torsions, move_closed

KINDS = ("many", "few", "flips", "swap")
"""Many torsions by small angles, few by large ones, crankshafts (a psi against the next phi), and the torsions of
another loop."""
MOVES = 60
"""Largest number of moves."""
DRIFT = 0.15
"""Standard deviation (rad) of the part of a move of the first kind that is the same in all moves."""
NATIVE_SHARE = 0.15
"""Fraction of the loops that are left native."""


def perturb(loops: BackboneBatch, target: Tensor, noise: torch.Generator) -> BackboneBatch:
    """Perturb loops, each by a random kind of moves, until their RMSD reaches the target (B,) in A or moves run out."""
    count, torsions = loops.free.shape
    kind = torch.randint(len(KINDS), (count,), generator=noise)[:, None]
    native = torch.rand(count, generator=noise) < NATIVE_SHARE

    def normal() -> Tensor:
        return torch.randn(count, torsions, generator=noise).to(loops.xyz)

    many = DRIFT * normal()
    few = torch.zeros_like(many)
    few.scatter_(1, torch.randint(torsions, (count, 4), generator=noise), normal()[:, :4])
    angle = normal()
    flips = torch.zeros_like(many)
    flips[:, 1:-1:2], flips[:, 2::2] = angle[:, 1:-1:2], -angle[:, 1:-1:2]
    flipped = torch.rand(count, torsions // 2, generator=noise) < 0.3
    flips = flips * flipped.repeat_interleave(2, 1).roll(1, 1)
    swapped = loop_torsions(loops.xyz)[torch.randperm(count, generator=noise)]
    state = loops
    for _ in range(MOVES):
        moving = ~native & (loop_rmsd(state.xyz, loops.xyz) < target)
        if not bool(moving.any()):
            break
        swap = wrap(swapped - loop_torsions(state.xyz))
        options = torch.stack([many + 2 / 3 * DRIFT * normal(), few, flips, swap], 1)
        step = options.gather(1, kind[..., None].expand(-1, 1, torsions))[:, 0] * moving[:, None]
        state, _ = move_closed(state, step)
    return state
