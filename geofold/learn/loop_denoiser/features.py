"""Features of the loop model at one residue: sequence and torsions nearby, anchors, and overlaps with other atoms.

All vectors are in the local frame of the residue (N, CA, C), so features are invariant under rigid motions.

Glossary: see `geofold.learn.loop_denoiser.batched_backbone`; ``F`` features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.geometry import frames
from geofold.kernels.library import call, usable
from geofold.kernels.structures import Window
from geofold.learn.loop_denoiser.batched_backbone import CB, FLANK, BackboneBatch, phi_psi, pseudo_beta
from geofold.learn.torsion_prior.model import ALPHABET_SIZE

ATOMS = 5
"""Atoms per residue: N, CA, C, O and an ideal CB."""
CONTACT_DISTANCE = (3.1, 3.6, 3.6, 3.1, 3.6)
"""Distance (A) of N, CA, C, O, CB from another atom below which the two overlap."""
SHELLS = (5.0, 8.0, 11.0)
"""Radii (A) around CB within which atoms of the environment are counted."""
COUNT_SCALE = (12.0, 60.0, 150.0)
"""Typical counts within the shells, by which counts are divided."""
HALF_WINDOW = 2
"""Residues on either side of the cursor in the window."""
SCALE = 10.0
"""Length (A) by which lengths are divided."""
INNOVATION_SIZE = 2 * (2 * HALF_WINDOW + 1)
FEATURE_COUNT = (
    (2 * HALF_WINDOW + 1) * (ALPHABET_SIZE + 4 + 2 + 3) + ATOMS * 4 + 4 * len(SHELLS) + 2 * 12 + 5 + INNOVATION_SIZE
)
KERNELS = {torch.float32: "window_single", torch.float64: "window_double"}
BETA = torch.tensor(CB, dtype=torch.float64)
TIME_COLUMN = FEATURE_COUNT - INNOVATION_SIZE - 2


def backbone_frames(xyz: Tensor) -> Tensor:
    """Local axes of residues as rows (..., 3, 3), from backbones (..., >= 3, 3) that begin with N, CA and C."""
    return frames(xyz[..., 2, :] - xyz[..., 1, :], xyz[..., 0, :] - xyz[..., 1, :])


def featurise(loops: BackboneBatch, cursor: int, time: float, innovation: Tensor) -> Tensor:
    """Compute the features at one residue of each loop.

    Parameters
    ----------
    loops : BackboneBatch
        The loops.
    cursor : int
        Residue of the loop, counted from its first.
    time : float
        Fraction of the stream that is over.
    innovation : (B, INNOVATION_SIZE)
        Correction of the last proposal in the window around the cursor (radian).

    Returns
    -------
    (B, F)
    """
    if loops.xyz.dtype in KERNELS and usable(loops.xyz, loops.environment, innovation, dtype=loops.xyz.dtype):
        return _compiled(loops, cursor, time, innovation)
    centre, xyz = FLANK + cursor, loops.xyz
    near = slice(centre - HALF_WINDOW, centre + HALF_WINDOW + 1)
    axes, origin = backbone_frames(xyz[:, centre]), xyz[:, centre, 1]

    def local(points: Tensor) -> Tensor:
        """Points (B, m, 3) in the frame of the residue, in units of `SCALE`."""
        return (points - origin[:, None]) @ axes.mT / SCALE

    present = loops.present[:, near]
    sequence = torch.nn.functional.one_hot(loops.letters[:, near], ALPHABET_SIZE).to(xyz)
    circles = torch.nn.functional.pad(_circles(loops), (0, 0, 1, 1))[:, near]
    inside = torch.arange(centre - HALF_WINDOW, centre + HALF_WINDOW + 1, device=xyz.device)
    inside = ((inside >= FLANK) & (inside < xyz.shape[1] - FLANK)).to(xyz).expand(len(xyz), -1)
    flags = torch.stack([inside, present.to(xyz)], -1)
    depth, push = _overlaps(loops, centre)
    window = torch.cat([sequence, circles, flags, local(xyz[:, near, 1])], -1) * present[..., None]
    counts, directions = _density(loops, pseudo_beta(xyz[:, centre]))
    sides = [*range(FLANK - 1, FLANK), *range(xyz.shape[1] - FLANK, xyz.shape[1] - FLANK + 1)]
    anchors = torch.cat([local(xyz[:, side]).flatten(1) for side in sides], 1)
    length = loops.length
    place = xyz.new_tensor([cursor / length, (length - 1 - cursor) / length, length / SCALE, time, 1.0])
    parts = [
        window.flatten(1),
        depth,
        (push @ axes.mT).flatten(1),
        counts,
        (directions @ axes.mT).flatten(1),
        anchors,
        place.expand(len(xyz), -1),
        innovation,
    ]
    return torch.cat(parts, 1)


def _compiled(loops: BackboneBatch, cursor: int, time: float, innovation: Tensor) -> Tensor:
    """Features (B, F) by the kernel; a part that all rows share is not copied."""
    parts = [loops.xyz, loops.letters, loops.present, loops.environment, loops.weight, innovation]
    parts = [part if part[:1].is_contiguous() else part.contiguous() for part in parts]
    steps = torch.tensor([part.stride(0) for part in parts])
    sizes = (loops.xyz.shape[1], FLANK, HALF_WINDOW, ALPHABET_SIZE, loops.environment.shape[1], INNOVATION_SIZE)
    window = Window.of(*sizes, FEATURE_COUNT, BETA)
    rows = len(loops.xyz)
    features = loops.xyz.new_empty(rows, FEATURE_COUNT)
    call(KERNELS[loops.xyz.dtype], window, rows, cursor, time, steps, *parts, features)
    return features


def _circles(loops: BackboneBatch) -> Tensor:
    """Sine and cosine of phi and psi (B, S - 2, 4); zero if the neighbouring residue is missing."""
    angle = phi_psi(loops.xyz)
    known = torch.stack([loops.present[:, :-2], loops.present[:, 2:]], -1).to(angle)
    return torch.cat([angle.sin() * known, angle.cos() * known], -1)


def _overlaps(loops: BackboneBatch, centre: int) -> tuple[Tensor, Tensor]:
    """Return summed overlap (B, 5) of the atoms of a residue with others (A), and the summed repulsions (B, 5, 3)."""
    atoms = torch.cat([loops.xyz, pseudo_beta(loops.xyz)[:, :, None]], 2)
    residue = torch.arange(atoms.shape[1], device=atoms.device)
    counted = ((centre - residue).abs() > 1).to(atoms) * loops.present
    points = torch.cat([atoms.flatten(1, 2), loops.environment], 1)
    weight = torch.cat([counted.repeat_interleave(ATOMS, 1), loops.weight], 1)
    arm = atoms[:, centre, :, None] - points[:, None]
    distance = arm.norm(dim=-1)
    overlap = torch.relu(atoms.new_tensor(CONTACT_DISTANCE)[:, None] - distance) * weight[:, None]
    share = overlap / distance.clamp_min(0.1)
    return overlap.sum(-1), (share[:, :, None] @ arm)[:, :, 0]


def _density(loops: BackboneBatch, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Scaled counts (B, shells) of atoms within shells of CB (B, 3), and mean directions to them (B, shells, 3)."""
    arm = loops.environment - beta[:, None]
    length = arm.norm(dim=-1).clamp_min(0.1)
    unit = arm / length[..., None]
    inside = torch.sigmoid(2.0 * (arm.new_tensor(SHELLS)[:, None] - length[:, None])) * loops.weight[:, None]
    counts = inside.sum(-1)
    directions = inside @ unit / counts[..., None].clamp_min(1.0)
    return counts / arm.new_tensor(COUNT_SCALE), directions
