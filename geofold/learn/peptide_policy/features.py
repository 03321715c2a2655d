"""What the peptide policy sees at each residue: itself and its neighbours, and the contacts that are wanted.

Glossary: ``B`` rows, ``L`` residues, ``c = 2`` contacts at most (the worst first), ``F`` features. Lengths in A.
Everything is told in the frame of the residue, so that turning and shifting the peptide changes nothing; its pose, by
which residues see one another, goes along.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.learn.loop_denoiser.features import backbone_frames
from geofold.learn.torsion_prior.model import ALPHABET_SIZE

CONTACTS = 2
SCALE = 10.0
"""A: what lengths are divided by."""
HALF_WINDOW = 1
"""Residues on either side that are seen."""
MIN_SEPARATION = 3
"""Residues from which another is in the way."""
TORSIONS = 4
"""Torsions of a residue that are led: phi, psi, chi1, chi2."""
PUSH_SIZE = 7
MEMORY_SIZE = TORSIONS + 1
OWN = (2 * HALF_WINDOW + 1) * (ALPHABET_SIZE + 5) + 2 * (TORSIONS - 2) + PUSH_SIZE + 3 + 4
FEATURE_COUNT = OWN + CONTACTS * 16 + MEMORY_SIZE
"""The last ones: the last moves, and the time since the goal changed."""
POSE_SIZE = 12
"""CA and the axes of the residue's frame."""


class ContactTargets(NamedTuple):
    """Contacts as the policy takes them.

    place : (B, c, 2, 3) of their atoms; residue : (B, c, 2) counted from the first; excess : (B, c) in A, above the
    bound; sign : (B, c), 1 for upper and -1 for lower bounds; there : (B, c), whether there is one.
    """

    place: Tensor
    residue: Tensor
    excess: Tensor
    sign: Tensor
    there: Tensor


def featurise(
    letters: Tensor, xyz: Tensor, angle: Tensor, push: Tensor, wanted: ContactTargets
) -> tuple[Tensor, Tensor]:
    """Features (B, L, F), those of the last moves and the time zero, and poses (B, L, 12).

    Parameters
    ----------
    letters : (L,)
        See `geofold.learn.torsion_prior.model.ALPHABET_SIZE`.
    xyz : (B, L, 3, 3)
        N, CA, C.
    angle : (B, L, 4)
        Phi, psi, chi1 and chi2, radian; NaN where there is none.
    push : (B, L, 7)
        What overlaps cost the residue, and how they push its backbone and its side chain.
    """
    rows, length = xyz.shape[:2]
    known = torch.nn.functional.one_hot(letters, ALPHABET_SIZE).to(xyz).expand(rows, -1, -1)
    circles = torch.stack([angle.sin(), angle.cos()], -1).nan_to_num(0.0)
    own = torch.cat([known, circles[:, :, :2].flatten(2), torch.ones_like(known[..., :1])], -1)
    wide = torch.nn.functional.pad(own, (0, 0, HALF_WINDOW, HALF_WINDOW)).unfold(1, 2 * HALF_WINDOW + 1, 1).flatten(2)
    at = torch.arange(length, device=xyz.device).to(xyz)
    place = torch.stack([at / length, (length - 1 - at) / length, torch.full_like(at, length / SCALE)], -1)
    axes, ca = backbone_frames(xyz), xyz[:, :, 1]
    gap = torch.cdist(ca, ca) + 1e3 * ((at[:, None] - at).abs() < MIN_SEPARATION)
    close, who = gap.min(-1)
    arm = torch.gather(ca, 1, who[..., None].expand(-1, -1, 3)) - ca
    near = torch.cat([(axes @ arm[..., None])[..., 0], close[..., None]], -1) / SCALE
    near = torch.where(close[..., None] < 1e3, near, 0.0)
    told = [_contact(xyz, axes, at, ContactTargets(*(part[:, k] for part in wanted))) for k in range(CONTACTS)]
    memory = xyz.new_zeros(rows, length, MEMORY_SIZE)
    pushed = torch.cat([push[..., :1], *((axes @ part[..., None])[..., 0] for part in push[..., 1:].split(3, -1))], -1)
    pushed = pushed / (1 + pushed.abs())
    chi = circles[:, :, 2:].flatten(2)
    features = torch.cat([wide, chi, pushed, place.expand(rows, -1, -1), near, *told, memory], -1)
    return features, torch.cat([ca / SCALE, axes.flatten(2)], -1)


def _contact(xyz: Tensor, axes: Tensor, at: Tensor, wanted: ContactTargets) -> Tensor:
    """Features (B, L, 16) of one contact."""
    ca, one, two = xyz[:, :, 1], wanted.place[:, None, 0], wanted.place[:, None, 1]
    low, high = wanted.residue[:, :1].to(xyz), wanted.residue[:, 1:].to(xyz)
    between = (at >= low) & (at <= high)
    ends = (two - one).norm(dim=-1, keepdim=True).clamp_min(1e-3)
    unit = (two - one) / ends
    # how fast turning phi and psi brings the second atom away from the first, all that comes behind it following
    along, beyond = axes[:, :, 0], ca - xyz[:, :, 0]
    phi = torch.nn.functional.normalize(beyond, dim=-1)
    slopes = [(unit * torch.linalg.cross(axis, two - ca)).sum(-1) for axis in (phi, along)]
    local = [(axes @ (point - ca)[..., None])[..., 0] for point in (one, two)]
    whole = torch.stack([wanted.excess, wanted.excess.clamp(-1.0, 1.0) * SCALE, wanted.sign * SCALE], -1)
    flags = [at - low, high - at, between * SCALE, (at == low) * SCALE, (at == high) * SCALE]
    rows = len(xyz)
    parts = torch.cat(
        [
            whole[:, None].expand(rows, len(at), 3), torch.stack([f.to(xyz).expand(rows, -1) for f in flags], -1),
            *local, torch.stack(slopes, -1) * between[..., None],
        ], -1,
    )  # fmt: skip
    return parts / SCALE * wanted.there[:, None, None]
