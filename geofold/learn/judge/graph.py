"""Neighbour graphs of protein backbones, and the invariant features of their edges and nodes.

Glossary: ``N`` residues, ``M`` residues that receive messages, ``k`` neighbours of each, ``F`` features of an edge.
Coordinates and lengths are in A. All features are distances, angles or vectors in local frames, so they do not change
when the protein is moved as a rigid body.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from geofold.geometry import dihedral, frames
from geofold.learn.loop_denoiser.batched_backbone import pseudo_beta

ATOMS = 5
"""N, CA, C, O and a virtual CB."""
CENTRES = 12
NEAREST, FARTHEST = 2.5, 16.0
"""Centres (A) of the first and the last radial basis function."""
HALF_WIDTH = 2.0 * (FARTHEST - NEAREST) / (CENTRES - 1)
"""Distance (A) from its centre at which a radial basis function vanishes."""
FEATURES = ATOMS * ATOMS * CENTRES + 3 + 3 + 9
MAX_OFFSET = 16
"""Sequence separation from which all residues count as equally far."""
OFFSETS = 2 * MAX_OFFSET + 1
NODE_FEATURES = 3 * 3
UNIT = 10.0
"""Unit (A) of the vectors between CA atoms."""


class Sites(NamedTuple):
    """Residues, as needed for edge features.

    Attributes
    ----------
    atoms : Tensor, shape=(N, 15)
        Coordinates (A) of N, CA, C, O and the virtual CB.
    frames : Tensor, shape=(N, 9)
        Rows of the local axes.
    number : Tensor, shape=(N,)
        Integers; residues that differ by one are bonded.
    """

    atoms: Tensor
    frames: Tensor
    number: Tensor

    @classmethod
    def of(cls, xyz: Tensor, number: Tensor) -> Sites:
        """Sites of backbones (N, 4, 3)."""
        atoms = torch.cat([xyz, pseudo_beta(xyz)[..., None, :]], -2)
        return cls(
            atoms.flatten(-2),
            frames(xyz[..., 2, :] - xyz[..., 1, :], xyz[..., 0, :] - xyz[..., 1, :]).flatten(-2),
            number,
        )

    @property
    def beta(self) -> Tensor:
        """Virtual CB (N, 3), in A."""
        return self.atoms[..., -3:]

    def followed_by(self, others: Sites) -> Sites:
        """Concatenate with other residues."""
        return Sites(*(torch.cat([a, b]) for a, b in zip(self, others, strict=True)))


class Graph(NamedTuple):
    """Directed edges from ``k`` neighbours to each of ``M`` residues.

    Attributes
    ----------
    neighbours : Tensor, shape=(M, k)
        Index of the sending residue; zero if there is none.
    present : Tensor, shape=(M, k)
        1.0 if there is an edge, else 0.0.
    edges : Tensor, shape=(M, k, F)
        Features of the edges.
    offsets : Tensor, shape=(M, k)
        Sequence separation as an index, below `OFFSETS`.
    nodes : Tensor, shape=(M, NODE_FEATURES)
        Features of the receiving residues.
    """

    neighbours: Tensor
    present: Tensor
    edges: Tensor
    offsets: Tensor
    nodes: Tensor


def build_graph(receivers: Sites, senders: Sites, neighbours: Tensor, present: Tensor, nodes: Tensor) -> Graph:
    """Build a graph with the features of its edges.

    Parameters
    ----------
    receivers, senders : Sites
        ``M`` and ``N`` residues.
    neighbours, present : Tensor, shape=(M, k)
        See `Graph`; `present` may be boolean.
    nodes : Tensor, shape=(M, NODE_FEATURES)
        See `torsion_features`.
    """
    atoms = nn.functional.embedding(neighbours, senders.atoms)
    axes = nn.functional.embedding(neighbours, senders.frames)
    edges = _edge_features(receivers, atoms, axes)
    offset = senders.number[neighbours] - receivers.number[:, None]
    return Graph(neighbours, present.to(edges), edges, offset.clamp(-MAX_OFFSET, MAX_OFFSET) + MAX_OFFSET, nodes)


def _edge_features(receivers: Sites, atoms: Tensor, axes: Tensor) -> Tensor:
    """Features (M, k, F) of edges from residues with atoms (M, k, 15) and frames (M, k, 9)."""
    receiver_atoms = receivers.atoms.unflatten(-1, (ATOMS, 3))[:, None]
    sender_atoms = atoms.unflatten(-1, (ATOMS, 3))
    squares = [(receiver_atoms[..., :, None, axis] - sender_atoms[..., None, :, axis]).square() for axis in range(3)]
    distances = (squares[0] + squares[1] + squares[2] + 1e-6).sqrt().flatten(-2)
    receiver_frames = receivers.frames.unflatten(-1, (3, 3))[:, None]
    sender_frames = axes.unflatten(-1, (3, 3))
    offset = (sender_atoms[..., 1, :] - receiver_atoms[..., 1, :]) / UNIT
    forward = (receiver_frames * offset[..., None, :]).sum(-1)
    backward = -(sender_frames * offset[..., None, :]).sum(-1)
    rotation = (receiver_frames[..., :, None, :] * sender_frames[..., None, :, :]).sum(-1).flatten(-2)
    return torch.cat([radial_basis(distances).flatten(-2), forward, backward, rotation], -1)


def radial_basis(distances: Tensor) -> Tensor:
    """Smooth bumps (..., CENTRES) of distances (...), in A; each is a biweight kernel about its centre.

    A Gaussian performs the same at three times the cost.
    """
    centres = torch.linspace(NEAREST, FARTHEST, CENTRES, device=distances.device, dtype=distances.dtype)
    bumps = (distances[..., None] - centres).div_(HALF_WIDTH).square_()
    return bumps.neg_().add_(1.0).clamp_min_(0.0).square_()


def torsion_features(xyz: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Backbone torsions of residues in sequence order, as node features.

    Parameters
    ----------
    xyz : Tensor, shape=(..., N, 4, 3)
        N, CA, C and O (A).
    before, after : Tensor, shape=(N,)
        Whether the residue is bonded to the one before and after it in `xyz`, and may use its coordinates.

    Returns
    -------
    Tensor, shape=(..., N, NODE_FEATURES)
        Sine, cosine and presence of phi, psi and omega (that of the bond before the residue); zero where unknown.
    """
    n, ca, c = xyz[..., 0, :], xyz[..., 1, :], xyz[..., 2, :]
    phi = dihedral(c[..., :-1, :], n[..., 1:, :], ca[..., 1:, :], c[..., 1:, :])
    psi = dihedral(n[..., :-1, :], ca[..., :-1, :], c[..., :-1, :], n[..., 1:, :])
    omega = dihedral(ca[..., :-1, :], c[..., :-1, :], n[..., 1:, :], ca[..., 1:, :])
    pad = nn.functional.pad
    columns = []
    for angle, known in ((pad(phi, (1, 0)), before), (pad(psi, (0, 1)), after), (pad(omega, (1, 0)), before)):
        mask = known.to(xyz).expand(angle.shape)
        columns += [angle.sin() * mask, angle.cos() * mask, mask]
    return torch.stack(columns, -1)


def nearest_neighbours(distances: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return indices (..., count) of the columns with the smallest distances, and which of these exist.

    If fewer than `count` columns have a finite distance, the index is zero and the mask false.
    """
    gap, index = distances.topk(min(count, distances.shape[-1]), largest=False)
    present = gap.isfinite()
    padding = (0, count - gap.shape[-1])
    return nn.functional.pad(index.masked_fill(~present, 0), padding), nn.functional.pad(present, padding)
