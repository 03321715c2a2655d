"""Features of the peptide policy at each residue: the residue, its neighbours in sequence, and the contacts asked for.

All vectors are in the local frame of the residue, so features are invariant under rigid motions. The pose of a residue,
by which residues see one another, is not.

Glossary: ``B`` rows, ``L`` residues, ``c = 2`` contacts at most (worst first), ``F`` features. Lengths in A.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from geofold.geometry import cross
from geofold.learn.loop_denoiser.features import backbone_frames
from geofold.learn.torsion_prior.model import ALPHABET_SIZE

CONTACTS = 2
SCALE = 10.0
"""Length (A) by which lengths are divided."""
HALF_WINDOW = 1
"""Residues on either side in the window."""
MIN_SEPARATION = 3
"""Separation in sequence from which another residue counts as spatially near."""
TORSIONS = 4
"""Torsions of a residue that the policy moves: phi, psi, chi1, chi2."""
PUSH_SIZE = 7
MEMORY_SIZE = TORSIONS + 1
OWN = (2 * HALF_WINDOW + 1) * (ALPHABET_SIZE + 5) + 2 * (TORSIONS - 2) + PUSH_SIZE + 3 + 4
FEATURE_COUNT = OWN + CONTACTS * 16 + MEMORY_SIZE
"""The last ones are the last moves, and the time since the goal changed."""
POSE_SIZE = 12
"""CA and the axes of the local frame."""


class ContactTargets(NamedTuple):
    """Contacts asked for.

    place : (B, c, 2, 3) positions of their atoms.
    residue : (B, c, 2) their residues, counted from the first.
    excess : (B, c) distance beyond the bound (A).
    sign : (B, c) 1 for upper and -1 for lower bounds.
    present : (B, c) 0 for padding.
    """

    place: Tensor
    residue: Tensor
    excess: Tensor
    sign: Tensor
    present: Tensor


def featurise(
    letters: Tensor, xyz: Tensor, angle: Tensor, push: Tensor, targets: ContactTargets
) -> tuple[Tensor, Tensor]:
    """Compute the features of all residues; those of the last moves and the time are zero.

    Parameters
    ----------
    letters : (L,)
        Amino acids, below `geofold.learn.torsion_prior.model.ALPHABET_SIZE`.
    xyz : (B, L, 3, 3)
        N, CA, C.
    angle : (B, L, 4)
        phi, psi, chi1 and chi2 (radian), NaN for missing ones.
    push : (B, L, 7)
        Cost of the residue's overlaps, and the forces of these on its backbone and its side chain.
    targets : ContactTargets
        Contacts asked for.

    Returns
    -------
    (B, L, F), (B, L, 12)
        Features and poses.
    """
    rows, length = xyz.shape[:2]
    sequence = torch.nn.functional.one_hot(letters, ALPHABET_SIZE).to(xyz).expand(rows, -1, -1)
    circles = torch.stack([angle.sin(), angle.cos()], -1).nan_to_num(0.0)
    own = torch.cat([sequence, circles[:, :, :2].flatten(2), torch.ones_like(sequence[..., :1])], -1)
    window = torch.nn.functional.pad(own, (0, 0, HALF_WINDOW, HALF_WINDOW))
    window = window.unfold(1, 2 * HALF_WINDOW + 1, 1).flatten(2)
    at = torch.arange(length, device=xyz.device).to(xyz)
    place = torch.stack([at / length, (length - 1 - at) / length, torch.full_like(at, length / SCALE)], -1)
    axes, ca = backbone_frames(xyz), xyz[:, :, 1]
    gap = torch.cdist(ca, ca) + 1e3 * ((at[:, None] - at).abs() < MIN_SEPARATION)
    distance, nearest = gap.min(-1)
    arm = torch.gather(ca, 1, nearest[..., None].expand(-1, -1, 3)) - ca
    near = torch.cat([(axes @ arm[..., None])[..., 0], distance[..., None]], -1) / SCALE
    near = torch.where(distance[..., None] < 1e3, near, 0.0)
    contacts = [_contact(xyz, axes, at, ContactTargets(*(part[:, k] for part in targets))) for k in range(CONTACTS)]
    memory = xyz.new_zeros(rows, length, MEMORY_SIZE)
    forces = [(axes @ part[..., None])[..., 0] for part in push[..., 1:].split(3, -1)]
    pushed = torch.cat([push[..., :1], *forces], -1)
    pushed = pushed / (1 + pushed.abs())
    chi = circles[:, :, 2:].flatten(2)
    features = torch.cat([window, chi, pushed, place.expand(rows, -1, -1), near, *contacts, memory], -1)
    return features, torch.cat([ca / SCALE, axes.flatten(2)], -1)


def _contact(xyz: Tensor, axes: Tensor, at: Tensor, target: ContactTargets) -> Tensor:
    """Features (B, L, 16) of one contact.

    Parameters
    ----------
    xyz : (B, L, 3, 3)
        N, CA, C.
    axes : (B, L, 3, 3)
        Local frames.
    at : (L,)
        Residue numbers, from zero.
    target : ContactTargets
        The contact, fields (B, ...).
    """
    ca, first, second = xyz[:, :, 1], target.place[:, None, 0], target.place[:, None, 1]
    low, high = target.residue[:, :1].to(xyz), target.residue[:, 1:].to(xyz)
    between = (at >= low) & (at <= high)
    distance = (second - first).norm(dim=-1, keepdim=True).clamp_min(1e-3)
    unit = (second - first) / distance
    # rates at which phi and psi move the second atom away from the first, with everything after the axis
    psi_axis = axes[:, :, 0]
    phi_axis = torch.nn.functional.normalize(ca - xyz[:, :, 0], dim=-1)
    slopes = [(unit * cross(axis, second - ca)).sum(-1) for axis in (phi_axis, psi_axis)]
    local = [(axes @ (point - ca)[..., None])[..., 0] for point in (first, second)]
    bounds = torch.stack([target.excess, target.excess.clamp(-1.0, 1.0) * SCALE, target.sign * SCALE], -1)
    flags = [at - low, high - at, between * SCALE, (at == low) * SCALE, (at == high) * SCALE]
    rows = len(xyz)
    parts = torch.cat(
        [
            bounds[:, None].expand(rows, len(at), 3),
            torch.stack([flag.to(xyz).expand(rows, -1) for flag in flags], -1),
            *local,
            torch.stack(slopes, -1) * between[..., None],
        ],
        -1,
    )
    return parts / SCALE * target.present[:, None, None]
