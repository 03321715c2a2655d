"""What the loop model sees at one residue: sequence and torsions nearby, the anchors, and what is in the way.

Glossary: see `loop_pieces`; ``F`` features. Everything is told in the frame of the residue (N, CA, C), so that turning
and shifting the whole protein changes nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.geometry import frames
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch, phi_psi, pseudo_beta
from geofold.learn.torsion_prior.model import ALPHABET_SIZE

ATOMS = 5
"""N, CA, C, O and a pseudo CB."""
TOUCH = (3.1, 3.6, 3.6, 3.1, 3.6)
"""A: distances below which an atom around is in the way of N, CA, C, O, CB."""
SHELLS = (5.0, 8.0, 11.0)
"""A: of CB; atoms around are counted within."""
CROWDED = (12.0, 60.0, 150.0)
"""What counts are divided by."""
HALF_WINDOW = 2
SCALE = 10.0
"""A: what lengths are divided by."""
INNOVATION_SIZE = 2 * (2 * HALF_WINDOW + 1)
FEATURE_COUNT = (
    (2 * HALF_WINDOW + 1) * (ALPHABET_SIZE + 4 + 2 + 3)
    + ATOMS * 4 + 4 * len(SHELLS) + 2 * 12 + 5 + INNOVATION_SIZE
)  # fmt: skip
TIME_COLUMN = FEATURE_COUNT - INNOVATION_SIZE - 2
"""Column of the time."""


def backbone_frames(xyz: Tensor) -> Tensor:
    """Local axes of residues as rows (..., 3, 3), from backbones (..., >= 3, 3) that begin with N, CA and C."""
    n, ca, c = (xyz[..., k, :] for k in range(3))
    return frames(ca, c, n)


def featurise(pieces: BackboneBatch, cursor: int, time: float, innovation: Tensor) -> Tensor:
    """Features (B, F) at a residue of the loop.

    Parameters
    ----------
    cursor : int
        Residue of the loop.
    time : float
        Share of the stream that is over.
    innovation : (B, INNOVATION)
        What a corrector added to the last proposal around the cursor, radian.
    """
    centre, xyz = FLANK + cursor, pieces.xyz
    near = slice(centre - HALF_WINDOW, centre + HALF_WINDOW + 1)
    axes, origin = backbone_frames(xyz[:, centre]), xyz[:, centre, 1]

    def local(points: Tensor) -> Tensor:
        """Points (B, m, 3) in the frame of the residue, in units of `SCALE`."""
        return (points - origin[:, None]) @ axes.mT / SCALE

    there = pieces.there[:, near]
    told = torch.nn.functional.one_hot(pieces.letters[:, near], ALPHABET_SIZE).to(xyz)
    circles = torch.nn.functional.pad(_circles(pieces), (0, 0, 1, 1))[:, near]
    inside = torch.arange(centre - HALF_WINDOW, centre + HALF_WINDOW + 1, device=xyz.device)
    inside = ((inside >= FLANK) & (inside < xyz.shape[1] - FLANK)).to(xyz).expand(len(xyz), -1)
    flags = torch.stack([inside, there.to(xyz)], -1)
    depth, push = _in_the_way(pieces, centre)
    window = torch.cat([told, circles, flags, local(xyz[:, near, 1])], -1) * there[..., None]
    counts, directions = _around(pieces, pseudo_beta(xyz[:, centre]))
    sides = [*range(FLANK - 1, FLANK), *range(xyz.shape[1] - FLANK, xyz.shape[1] - FLANK + 1)]
    anchors = torch.cat([local(xyz[:, side]).flatten(1) for side in sides], 1)
    length = pieces.length
    place = xyz.new_tensor([cursor / length, (length - 1 - cursor) / length, length / SCALE, time, 1.0])
    return torch.cat(
        [
            window.flatten(1), depth, (push @ axes.mT).flatten(1), counts, (directions @ axes.mT).flatten(1), anchors,
            place.expand(len(xyz), -1), innovation,
        ], 1,
    )  # fmt: skip


def _circles(pieces: BackboneBatch) -> Tensor:
    """Sine and cosine of phi and psi (B, S - 2, 4); zero where the residue that one leans on is not there."""
    angle = phi_psi(pieces.xyz)
    known = torch.stack([pieces.there[:, :-2], pieces.there[:, 2:]], -1).to(angle)
    return torch.cat([angle.sin() * known, angle.cos() * known], -1)


def _in_the_way(pieces: BackboneBatch, centre: int) -> tuple[Tensor, Tensor]:
    """How deep the atoms (B, 5) of a residue are in others, and where they are pushed (B, 5, 3)."""
    others = torch.cat([pieces.xyz, pseudo_beta(pieces.xyz)[:, :, None]], 2)
    residue = torch.arange(others.shape[1], device=others.device)
    apart = ((centre - residue).abs() > 1).to(others) * pieces.there
    points = torch.cat([others.flatten(1, 2), pieces.around], 1)
    counted = torch.cat([apart.repeat_interleave(ATOMS, 1), pieces.weight], 1)
    arm = others[:, centre, :, None] - points[:, None]
    between = arm.norm(dim=-1)
    overlap = torch.relu(others.new_tensor(TOUCH)[:, None] - between) * counted[:, None]
    far = overlap / between.clamp_min(0.1)
    return overlap.sum(-1), (far[:, :, None] @ arm)[:, :, 0]


def _around(pieces: BackboneBatch, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Atoms around (B, shells) within shells of CB (B, 3), scaled, and the mean directions to them (B, shells, 3)."""
    arm = pieces.around - beta[:, None]
    length = arm.norm(dim=-1).clamp_min(0.1)
    unit = arm / length[..., None]
    inside = torch.sigmoid(2.0 * (arm.new_tensor(SHELLS)[:, None] - length[:, None])) * pieces.weight[:, None]
    counts = inside.sum(-1)
    directions = inside @ unit / counts[..., None].clamp_min(1.0)
    return counts / arm.new_tensor(CROWDED), directions
