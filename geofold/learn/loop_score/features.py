"""Features of the potential of loops: pairs of residues, and the torsions, burial and hydrogen bonds of each residue.

Features are invariant under rigid motions.

Glossary: ``K`` candidates of one loop, ``L`` residues, ``N`` residues of the protein, ``m`` neighbours, ``F`` features
of a pair, ``O`` of a residue. Lengths in A.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from geofold.learn.data.chains import PROLINE
from geofold.learn.loop_denoiser.batched_backbone import phi_psi, pseudo_beta
from geofold.learn.loop_denoiser.features import backbone_frames

MAX_NEIGHBOURS = 32
CUTOFF = 14.0
"""Distance (A) between CB atoms beyond which a neighbour is ignored."""
TYPICAL_NEIGHBOURS = 8.0
"""Typical number of neighbours within the cutoff, by which sums are divided."""
CENTRES = torch.arange(2.0, 15.0)
"""Centres (A) of the Gaussians that encode a distance, of width 1 A."""
OFFSETS = (-3, -2, -1, 1, 2, 3)
"""Sequence separations that have an indicator of their own."""
BURIAL_RADII = (8.0, 10.0, 14.0)
"""Radii (A) within which CB atoms are counted, with a smooth edge."""
PAIR_FEATURES = 4 * 3 + 9 + 4 * len(CENTRES) + len(OFFSETS) + 2 + 5
RESIDUE_FEATURES = 4 + len(BURIAL_RADII) + 2
N_H_LENGTH = 1.01
"""Length (A) of the N-H bond."""
COULOMB, WEAKEST, STRONGEST = 27.9, -0.5, -3.5
"""Prefactor and range (kcal/mol) of the hydrogen-bond energy (Kabsch and Sander, Biopolymers 22, 2577, 1983)."""


@dataclass(frozen=True)
class LoopEnvironment:
    """A protein with a loop to score.

    Attributes
    ----------
    xyz : (N, 4, 3)
        N, CA, C and O of all residues (A); those of the loop are ignored.
    letters : (N,) int
        Amino acids, below `geofold.learn.torsion_prior.model.ALPHABET_SIZE`.
    number : (N,) int
        Positions of residues along their chains: bonded neighbours differ by one, chains by more than any separation.
    first, length : int
        First residue and length of the loop, which has a residue on each side.
    """

    xyz: Tensor
    letters: Tensor
    number: Tensor
    first: int
    length: int

    @cached_property
    def donates(self) -> Tensor:
        """Whether the N-H of each residue can donate a hydrogen bond, (N,) bool."""
        return (torch.cat([self.number.new_zeros(1), self.number.diff()]) == 1) & (self.letters != PROLINE)

    @cached_property
    def residue_features(self) -> Tensor:
        """Burial, and sines and cosines of phi and psi, of each residue without the loop, (N, 5).

        The sines and cosines are zero next to the loop and at chain ends.
        """
        beta, inside = pseudo_beta(self.xyz), slice(self.first, self.first + self.length)
        close = torch.sigmoid(2 * (BURIAL_RADII[1] - torch.cdist(beta[None], beta[None])[0]))
        close[:, inside] = 0.0
        bonded = self.number.diff() == 1
        bonded[max(self.first - 1, 0) : self.first + self.length] = False
        circles = torch.zeros(len(beta), 4, dtype=beta.dtype, device=beta.device)
        circles[1:-1] = _circles(self.xyz[None])[0] * (bonded[:-1] & bonded[1:])[:, None]
        return torch.cat([(close.sum(-1, keepdim=True) - 1.0) / BURIAL_RADII[1], circles], -1)


class ScoreFeatures(NamedTuple):
    """Input of the networks.

    pairs : (K, L, m, F)
    letters : (K, L, m) amino acids of the neighbours.
    near : (K, L, m) 1 within the cutoff, 0 beyond.
    residues : (K, L, O) features of the residues.
    """

    pairs: Tensor
    letters: Tensor
    near: Tensor
    residues: Tensor


def featurise(candidates: Tensor, around: LoopEnvironment) -> ScoreFeatures:
    """Compute the features of candidates (K, L, 4, 3) of a loop in its environment."""
    count, length = candidates.shape[:2]
    inside = slice(around.first, around.first + length)
    xyz = around.xyz.to(candidates).expand(count, -1, -1, -1).clone()
    xyz[:, inside] = candidates
    beta, axes = pseudo_beta(xyz), backbone_frames(xyz)
    position = torch.arange(length, device=xyz.device)
    is_self = torch.zeros(length, xyz.shape[1], dtype=torch.bool, device=xyz.device)
    is_self[position, around.first + position] = True
    distance = torch.cdist(beta[:, inside], beta).masked_fill(is_self, torch.inf)
    gap, neighbour = distance.topk(min(MAX_NEIGHBOURS, distance.shape[-1] - 1), largest=False)
    # the order of the operations is that in which gradients are summed: another one changes their last bits
    geometry = _pair_geometry(xyz, beta, axes, inside, neighbour)
    offset = around.number[neighbour] - around.number[around.first + position][:, None]
    outside = (neighbour < around.first) | (neighbour >= around.first + length)
    flags = torch.stack([*(offset == k for k in OFFSETS), offset.abs() > OFFSETS[-1], outside], -1).to(xyz)
    circles = _circles(xyz[:, around.first - 1 : inside.stop + 1])
    residues = around.residue_features.to(xyz).expand(count, -1, -1).clone()
    burial = torch.stack([torch.sigmoid(2 * (radius - distance)).sum(-1) / radius for radius in BURIAL_RADII], -1)
    residues[:, inside] = torch.cat([burial[..., 1:2], circles], -1)
    pairs = torch.cat([geometry, flags, _at(residues, neighbour)], -1)
    by_residue = torch.cat([circles, burial, _hydrogen_bonds(xyz, around)], -1)
    return ScoreFeatures(pairs, around.letters[neighbour], (gap < CUTOFF).to(xyz), by_residue)


def _at(part: Tensor, neighbour: Tensor) -> Tensor:
    """Values (K, L, m, ...) of the neighbours (K, L, m) of residues, from those of all residues (K, N, ...)."""
    rows = torch.arange(len(part), device=part.device)[:, None, None]
    return part[rows, neighbour]


def _pair_geometry(xyz: Tensor, beta: Tensor, axes: Tensor, inside: slice, neighbour: Tensor) -> Tensor:
    """Directions, relative orientation and distances of pairs, (K, L, m, ...).

    Parameters
    ----------
    xyz, beta : (K, N, 4, 3) and (K, N, 3)
        N, CA, C and O, and CB, of all residues.
    axes : (K, N, 3, 3)
        Local frames.
    inside : slice
        Residues of the loop.
    neighbour : (K, L, m) int
        Their neighbours.
    """

    def at_loop(part: Tensor) -> Tensor:
        return part[:, inside, None]

    def at_neighbours(part: Tensor) -> Tensor:
        return _at(part, neighbour)

    def direction(start: Tensor, end: Tensor, frame: Tensor) -> Tensor:
        """Direction (..., 3) from start to end in a frame."""
        return (frame @ nn.functional.normalize(end - start, dim=-1)[..., None])[..., 0]

    ca, frame, neighbour_frame = xyz[:, :, 1], at_loop(axes), at_neighbours(axes)
    directions = [
        direction(at_loop(ca), at_neighbours(ca), frame),
        direction(at_loop(beta), at_neighbours(beta), frame),
        direction(at_neighbours(ca), at_loop(ca), neighbour_frame),
        direction(at_neighbours(beta), at_loop(beta), neighbour_frame),
    ]
    n, o = xyz[:, :, 0], xyz[:, :, 3]
    atoms = ((ca, ca), (beta, beta), (n, o), (o, n))
    distances = torch.stack([(at_loop(a) - at_neighbours(b)).norm(dim=-1) for a, b in atoms], -1)
    gaussians = (-(distances[..., None] - CENTRES.to(xyz)).square()).exp().flatten(-2)
    return torch.cat([*directions, (frame @ neighbour_frame.mT).flatten(-2), gaussians], -1)


def _circles(xyz: Tensor) -> Tensor:
    """Sines and cosines (K, L, 4) of phi and psi of the inner residues of backbones (K, L + 2, 4, 3)."""
    phi, psi = phi_psi(xyz).unbind(-1)
    return torch.stack([phi.sin(), phi.cos(), psi.sin(), psi.cos()], -1)


def _hydrogen_bonds(xyz: Tensor, around: LoopEnvironment) -> Tensor:
    """Strongest hydrogen bond donated by N-H and accepted by O of each residue of the loop, (K, L, 2), from 0 to 1."""
    n, ca, c, o = xyz.unbind(2)
    inside, number = slice(around.first, around.first + around.length), around.number
    c_before = torch.cat([c[:, :1], c[:, :-1]], 1)
    away = nn.functional.normalize(n - c_before, dim=-1) + nn.functional.normalize(n - ca, dim=-1)
    h = n + N_H_LENGTH * nn.functional.normalize(away, dim=-1)
    donates = around.donates

    def strongest(donors: slice, acceptors: slice, axis: int) -> Tensor:
        offset = number[acceptors] - number[donors][:, None]
        pairs = ((n, o), (h, c), (h, o), (n, c))
        inverse = [1 / torch.cdist(a[:, donors], b[:, acceptors]).clamp_min(0.8) for a, b in pairs]
        energy = COULOMB * (inverse[0] + inverse[1] - inverse[2] - inverse[3])
        allowed = donates[donors][:, None] & (offset != 0) & (offset != -1)
        strength = ((energy - WEAKEST) / (STRONGEST - WEAKEST)).clamp(0.0, 1.0) * allowed
        return strength.amax(axis)

    everything = slice(None)
    return torch.stack([strongest(inside, everything, 2), strongest(everything, inside, 1)], -1)
