"""Loops bent closed, of several kinds: what a denoiser learns to undo.

Glossary: see `loop_pieces`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.geometry import wrap
from geofold.learn.loop_denoiser.batched_backbone import BackboneBatch, loop_rmsd, loop_torsions, move_closed

KINDS = ("many", "few", "flips", "swap")
"""Many torsions by little, few by much, crankshafts (a psi against the next phi), another loop's torsions."""
MOVES = 60
LASTING = 0.15
"""rad: standard deviation of the lasting part of a move of the first kind."""
NONE = 0.15
"""Share of loops that are left as they are."""


def perturb(pieces: BackboneBatch, target: Tensor, noise: torch.Generator) -> BackboneBatch:
    """The loops bent, each by a kind of its own, until their RMSD reaches the target (B,) in A or moves run out."""
    count, hinges = pieces.free.shape
    kind = torch.randint(len(KINDS), (count,), generator=noise)[:, None]
    still = torch.rand(count, generator=noise) < NONE

    def normal() -> Tensor:
        return torch.randn(count, hinges, generator=noise).to(pieces.xyz)

    many = LASTING * normal()
    few = torch.zeros_like(many)
    few.scatter_(1, torch.randint(hinges, (count, 4), generator=noise), normal()[:, :4])
    angle = normal()
    flips = torch.zeros_like(many)
    flips[:, 1:-1:2], flips[:, 2::2] = angle[:, 1:-1:2], -angle[:, 1:-1:2]
    chosen = torch.rand(count, hinges // 2, generator=noise) < 0.3
    flips = flips * chosen.repeat_interleave(2, 1).roll(1, 1)
    wanted = loop_torsions(pieces.xyz)[torch.randperm(count, generator=noise)]
    now = pieces
    for _ in range(MOVES):
        going = ~still & (loop_rmsd(now.xyz, pieces.xyz) < target)
        if not bool(going.any()):
            break
        swap = wrap(wanted - loop_torsions(now.xyz))
        options = torch.stack([many + 2 / 3 * LASTING * normal(), few, flips, swap], 1)
        step = options.gather(1, kind[..., None].expand(-1, 1, hinges))[:, 0] * going[:, None]
        now, _ = move_closed(now, step)
    return now
