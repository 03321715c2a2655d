"""Forward kinematics: atoms from torsion increments, batched, differentiable and of logarithmic depth.

Glossary: ``B`` rows of a batch, ``n`` torsions, ``m`` local atoms; ``delta`` (B, n) increments in radian relative to
the coordinates ``xyz``; a frame is a (4, 4) homogeneous matrix.

Each torsion rotates the atoms that it moves about its bond in the present coordinates. The frame of torsion j is the
product of the rotations of its ancestors and its own. The frames of the whole tree take log2(depth) batched matrix
products by pointer jumping (each frame is multiplied by the frame at its pointer, then the pointer jumps twice as
far), without a loop over residues.

Bond lengths, angles and omega cannot change: atoms move as rigid bodies, no ideal geometry is used, and ``delta = 0``
reproduces the input exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geofold.kernels.structures import Tree
from geofold.molecule.topology.torsion_tree import TorsionTree

MIN_ROWS_BY_COMPONENT = 8
"""Number of rows from which frames are multiplied by components."""


@dataclass(frozen=True)
class Kinematics:
    """A torsion tree as tensors over its local atoms: moving atoms, and the fixed atoms that axes and closure need.

    Attributes
    ----------
    near, far : (n,) int
        Axis atoms as rows of the local coordinates.
    body : (m,) int
        Rigid body of each local atom: its last torsion, or n for fixed atoms (the identity frame).
    jumps : (levels, n + 1) int
        Pointers of the pointer jumping; n is the identity.
    atoms : (m,) int
        Indices of the local atoms in the whole structure.
    tree : TorsionTree
        Torsion tree.
    dtype : torch.dtype
        Type of coordinates.
    """

    near: Tensor
    far: Tensor
    body: Tensor
    jumps: Tensor
    atoms: Tensor
    tree: TorsionTree
    dtype: torch.dtype

    @cached_property
    def c_struct(self) -> Tree:
        """The tree for kernels."""
        parent = torch.as_tensor(self.tree.parent, dtype=torch.long)
        return Tree.of(len(self.near), len(self.body), self.near, self.far, self.body, parent)

    @cached_property
    def influence(self) -> Tensor:
        """(n + 1, n) float: 1 if torsion j moves the rigid body of torsion k; the last row (identity) is zero."""
        rows = np.concatenate([self.tree.influence, np.zeros((1, len(self.tree)), dtype=bool)])
        return torch.as_tensor(rows, dtype=self.dtype, device=self.near.device)

    @cached_property
    def moved_by(self) -> Tensor:
        """(m, n) float: 1 if torsion j moves atom a."""
        return self.influence[self.body]

    @cached_property
    def moves(self) -> Tensor:
        """(n, m) float: 1 if torsion j moves atom a, contiguous for products from the left."""
        return self.moved_by.mT.contiguous()

    @cached_property
    def ancestors(self) -> Tensor:
        """(n, n) float: 1 if torsion i (row) is torsion j (column) or one of its ancestors."""
        return self.influence[:-1].mT.contiguous()

    def pointers(self, rows: int) -> tuple[Tensor, ...]:
        """Compute the pointers into the flat list of the frames of `rows` rows, one tensor per level."""
        width = self.jumps.shape[1]
        start = width * torch.arange(rows, device=self.jumps.device)[:, None]
        return tuple((level + start).flatten() if rows > 1 else level for level in self._levels)

    @cached_property
    def _levels(self) -> tuple[Tensor, ...]:
        return self.jumps.unbind()

    @cached_property
    def generator(self) -> Tensor:
        """(3, 9): matrix that maps an axis to its cross-product matrix, row by row."""
        levi_civita = torch.zeros(3, 3, 3)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            levi_civita[i, j, k], levi_civita[i, k, j] = -1.0, 1.0
        return levi_civita.reshape(3, 9).to(self.near.device, self.dtype)

    @cached_property
    def identity(self) -> Tensor:
        """(4, 4): identity frame."""
        return torch.eye(4).to(self.near.device, self.dtype)

    @classmethod
    def of(cls, tree: TorsionTree, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Kinematics:
        """Build the tensors of a tree; local atoms are moving atoms, and those of axes, anchor and links."""
        anchor = tree.anchor or ()
        # the neighbours of a link define its angles
        linked = [a for link in tree.links for end in link for a in (end, *tree.adjacency[end])]
        atoms = np.unique(np.concatenate([tree.atoms, tree.near, tree.far, anchor, linked]).astype(np.int64))
        body = np.full(len(atoms), len(tree), dtype=np.int64)
        body[np.searchsorted(atoms, tree.atoms)] = tree.body

        def integers(values: np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=torch.long, device=device)

        return cls(
            near=integers(np.searchsorted(atoms, tree.near)),
            far=integers(np.searchsorted(atoms, tree.far)),
            body=integers(body),
            jumps=integers(_jumps(tree.parent)),
            atoms=integers(atoms),
            tree=tree,
            dtype=dtype,
        )

    def local_rows(self, atoms: np.ndarray | tuple[int, ...] | list[int]) -> Tensor:
        """Find the rows in the local coordinates of atoms of the structure, which must all be local."""
        indices = torch.as_tensor(np.asarray(atoms, dtype=np.int64), device=self.atoms.device)
        return torch.searchsorted(self.atoms, indices)

    def find_rows(self, atoms: Sequence[int | None]) -> Tensor:
        """Find the rows in the local coordinates of atoms of the structure; -1 if None or not local."""
        row_of = {atom: row for row, atom in enumerate(self.atoms.tolist())}
        rows = [-1 if atom is None else row_of.get(int(atom), -1) for atom in atoms]
        return torch.tensor(rows, device=self.atoms.device)


def _jumps(parent: np.ndarray) -> np.ndarray:
    n = len(parent)
    pointer = np.append(np.where(parent < 0, n, parent), n)
    levels = []
    while (pointer[:-1] != n).any():
        levels.append(pointer)
        pointer = pointer[pointer]
    return np.array(levels, dtype=np.int64).reshape(len(levels), n + 1)


def axes(kinematics: Kinematics, xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Compute unit axes (B, n, 3), from the near to the far atom, and a point on each (B, n, 3), in nm."""
    origin = xyz[:, kinematics.far]
    return torch.nn.functional.normalize(origin - xyz[:, kinematics.near], dim=-1), origin


def frames(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Compute the frames of all torsions after increments delta (B, n), (B, n + 1, 4, 4); the last is the identity.

    The rotation about one axis is I + sin(delta) K + (1 - cos(delta)) K^2 (Rodrigues' formula), with the cross-product
    matrix K of the axis and the translation -K o of a point o on it: a zero increment adds exactly zero.
    """
    if len(xyz) >= MIN_ROWS_BY_COMPONENT:
        return _frames_by_component(kinematics, xyz, delta)
    axis, origin = axes(kinematics, xyz)
    cross = (axis @ kinematics.generator.to(axis)).unflatten(-1, (3, 3))
    identity = kinematics.identity.to(axis)
    square = axis[..., :, None] * axis[..., None, :] - identity[:3, :3]
    sine, versine = torch.sin(delta), 2 * torch.sin(delta / 2).square()
    departure = sine[..., None, None] * cross + versine[..., None, None] * square
    shift = -(departure * origin[..., None, :]).sum(-1, keepdim=True)
    turn = torch.nn.functional.pad(torch.cat([departure, shift], -1), (0, 0, 0, 1, 0, 1)) + identity
    rows, width = turn.shape[:2]
    flat = turn.flatten(0, 1)
    for pointer in kinematics.pointers(rows):
        flat = torch.bmm(flat[pointer], flat)
    return flat.unflatten(0, (rows, width))


def _frames_by_component(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Compute `frames` with components first: twelve long rows are faster than thousands of 4 x 4 matrices."""
    points = xyz.permute(2, 0, 1).contiguous()
    origin = points.index_select(2, kinematics.far)
    axis = torch.nn.functional.normalize(origin - points.index_select(2, kinematics.near), dim=0)
    sine, versine = torch.sin(delta) * axis, 2 * torch.sin(delta / 2).square()
    turn = (versine * axis)[:, None] * axis
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turn[i, j] -= sine[k]
        turn[j, i] += sine[k]
        turn[i, i] -= versine
    shift = -(turn * origin).sum(1, keepdim=True)
    wide = (
        torch.nn.functional.pad(torch.cat([turn, shift], 1), (0, 1)) + kinematics.identity.to(axis)[:3, :, None, None]
    )
    for pointer in kinematics.jumps:
        before = wide.index_select(3, pointer)
        after = before[:, 0, None] * wide[0]
        after.addcmul_(before[:, 1, None], wide[1]).addcmul_(before[:, 2, None], wide[2])
        after[:, 3] += before[:, 3]
        wide = after
    last = kinematics.identity.to(axis)[3, None, :, None, None].expand(1, 4, *wide.shape[2:])
    return torch.cat([wide, last]).permute(2, 3, 0, 1)


def transform_atoms(kinematics: Kinematics, frame: Tensor, xyz: Tensor, rows: Tensor | None = None) -> Tensor:
    """Transform local coordinates by the frames of their rigid bodies.

    Parameters
    ----------
    kinematics : Kinematics
        Kinematics of the segment.
    frame : (B, n + 1, 4, 4)
        Frames (see `frames`).
    xyz : (B, m, 3)
        Local coordinates, nm.
    rows : (r,) int or None
        Local atoms to transform; None for all.

    Returns
    -------
    (B, m, 3) or (B, r, 3)
        New coordinates, nm.
    """
    body = kinematics.body if rows is None else kinematics.body[rows]
    points = xyz if rows is None else xyz[:, rows]
    # element by element, since thousands of products of small matrices are slow
    if len(points) >= MIN_ROWS_BY_COMPONENT:
        turn, (x, y, z) = (
            frame.permute(2, 3, 0, 1)[:3].index_select(3, body).unbind(1),
            points.permute(2, 0, 1).unbind(0),
        )
        return torch.addcmul(torch.addcmul(torch.addcmul(turn[3], turn[0], x), turn[1], y), turn[2], z).permute(1, 2, 0)
    return (frame[:, body, :3] * torch.nn.functional.pad(points, (0, 1), value=1.0)[..., None, :]).sum(-1)


def positions(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Compute local coordinates (B, m, 3) in nm after increments delta (B, n) in radian."""
    return transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz)
