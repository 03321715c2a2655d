"""Moving atoms by turning torsions: batched, differentiable, log-depth.

Glossary: ``B`` batch, ``n`` torsions, ``m`` moving atoms; ``delta`` (B, n) increments in radian on the
torsions of the coordinates ``xyz``; a frame is a (4, 4) homogeneous matrix.

Each torsion turns what it carries about its own bond as it lies now. The frame of torsion j is the product
of the turns of all its ancestors and itself; the product over the whole tree takes log2(depth) batched
matrix products by pointer jumping (each frame absorbs the frame its pointer names, then the pointer jumps
twice as far), so nothing loops over residues.

No bond length, angle or omega can change: every atom is carried rigidly, nothing is rebuilt from ideal
geometry, and ``delta = 0`` gives the input back to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geofold.molecule.topology.torsion_tree import TorsionTree

MANY = 8
"""Rows from which frames are multiplied component by component."""


@dataclass(frozen=True)
class Kinematics:
    """A torsion tree as tensors over the moving atoms and the few fixed atoms that axes need.

    Attributes
    ----------
    near, far : (n,) int
        Axis atoms as rows of the local coordinates.
    body : (m,) int
        Torsion that carries each local atom; n for the atoms that stay (the identity frame).
    jumps : (levels, n + 1) int
        Pointers for the doubling, n standing for the identity.
    tree : TorsionTree
    dtype : torch.dtype
        Of coordinates.
    atoms : (m,) int
        Indices of the local atoms in the whole structure.
    """

    near: Tensor
    far: Tensor
    body: Tensor
    jumps: Tensor
    atoms: Tensor
    tree: TorsionTree
    dtype: torch.dtype

    @cached_property
    def influence(self) -> Tensor:
        """(n + 1, n) float: 1 where torsion j moves what torsion k carries; the last row (identity) is zero."""
        rows = np.concatenate([self.tree.influence, np.zeros((1, len(self.tree)), dtype=bool)])
        return torch.as_tensor(rows, dtype=self.dtype, device=self.near.device)

    @cached_property
    def moved_by(self) -> Tensor:
        """(m, n) float: 1 where torsion j moves atom a."""
        return self.influence[self.body]

    @cached_property
    def moves(self) -> Tensor:
        """(n, m): the transpose of `moved_by`, laid out for products from the left."""
        return self.moved_by.mT.contiguous()

    @cached_property
    def ancestors(self) -> Tensor:
        """(n, n): 1 where torsion i (row) moves, or is, torsion j (column)."""
        return self.influence[:-1].mT.contiguous()

    def pointers(self, rows: int) -> tuple[Tensor, ...]:
        """`jumps` in the flat list of the frames of so many rows, one tensor a level."""
        width = self.jumps.shape[1]
        start = width * torch.arange(rows, device=self.jumps.device)[:, None]
        return tuple((level + start).flatten() if rows > 1 else level for level in self._levels)

    @cached_property
    def _levels(self) -> tuple[Tensor, ...]:
        return self.jumps.unbind()

    @cached_property
    def generator(self) -> Tensor:
        """(3, 9): an axis times this is its cross-product matrix, row by row."""
        levi_civita = torch.zeros(3, 3, 3)
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            levi_civita[i, j, k], levi_civita[i, k, j] = -1.0, 1.0
        return levi_civita.reshape(3, 9).to(self.near.device, self.dtype)

    @cached_property
    def identity(self) -> Tensor:
        """(4, 4)."""
        return torch.eye(4).to(self.near.device, self.dtype)

    @classmethod
    def of(cls, tree: TorsionTree, *, dtype: torch.dtype = torch.float64, device: str = "cpu") -> Kinematics:
        """Tensors for a tree; the local atoms are the moving ones and the axis, anchor and link atoms."""
        anchor = tree.anchor or ()
        # the neighbours of a link hold its angles
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
        """Rows of the local coordinates for atoms of the structure (all must be local)."""
        wanted = torch.as_tensor(np.asarray(atoms, dtype=np.int64), device=self.atoms.device)
        return torch.searchsorted(self.atoms, wanted)

    def find_rows(self, atoms: Sequence[int | None]) -> Tensor:
        """Rows of the local coordinates for atoms of the structure, -1 for those that are none or not local."""
        place = {atom: row for row, atom in enumerate(self.atoms.tolist())}
        found = [-1 if atom is None else place.get(int(atom), -1) for atom in atoms]
        return torch.tensor(found, device=self.atoms.device)


def _jumps(parent: np.ndarray) -> np.ndarray:
    n = len(parent)
    pointer = np.append(np.where(parent < 0, n, parent), n)
    levels = []
    while (pointer[:-1] != n).any():
        levels.append(pointer)
        pointer = pointer[pointer]
    return np.array(levels, dtype=np.int64).reshape(len(levels), n + 1)


def axes(kinematics: Kinematics, xyz: Tensor) -> tuple[Tensor, Tensor]:
    """Unit axes (B, n, 3), from the near to the far atom, and a point on each (B, n, 3), in nm."""
    origin = xyz[:, kinematics.far]
    return torch.nn.functional.normalize(origin - xyz[:, kinematics.near], dim=-1), origin


def frames(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Frame of every torsion after turning all of them, (B, n + 1, 4, 4); the last one is the identity.

    The turn about one axis is I + sin(delta) K + (1 - cos(delta)) K^2 (Rodrigues' formula), with the cross-product
    matrix K of the axis and the translation -K o of a point o on it: what a zero turn adds is exactly zero.
    """
    if len(xyz) >= MANY:
        return _many_frames(kinematics, xyz, delta)
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


def _many_frames(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """`frames` with the components first: thousands of products of 4 x 4 matrices are faster as twelve long rows."""
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
    """Local coordinates (B, m, 3) carried by their frames; `rows` selects some of the local atoms."""
    body = kinematics.body if rows is None else kinematics.body[rows]
    points = xyz if rows is None else xyz[:, rows]
    # multiplied and summed by hand: thousands of products of tiny matrices are slow
    if len(points) >= MANY:
        turn, (x, y, z) = (
            frame.permute(2, 3, 0, 1)[:3].index_select(3, body).unbind(1),
            points.permute(2, 0, 1).unbind(0),
        )
        return torch.addcmul(torch.addcmul(torch.addcmul(turn[3], turn[0], x), turn[1], y), turn[2], z).permute(1, 2, 0)
    return (frame[:, body, :3] * torch.nn.functional.pad(points, (0, 1), value=1.0)[..., None, :]).sum(-1)


def positions(kinematics: Kinematics, xyz: Tensor, delta: Tensor) -> Tensor:
    """Local coordinates (B, m, 3) in nm after turning the torsions by delta (B, n) radian."""
    return transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz)


TorsionAxes = tuple[Tensor, Tensor]
"""Unit axes and a point on each, (B, n, 3)."""


def moved_axes(kinematics: Kinematics, frame: Tensor, xyz: Tensor) -> TorsionAxes:
    """Axes and origins (B, n, 3) where the frames have brought them."""
    axis, origin = axes(kinematics, xyz)
    own = frame[:, :-1]
    turned = (own[..., :3, :3] @ axis[..., None])[..., 0]
    return turned, (own[..., :3, :3] @ origin[..., None])[..., 0] + own[..., :3, 3]


def jacobian(
    kinematics: Kinematics,
    frame: Tensor,
    xyz: Tensor,
    moved: Tensor,
    rows: Tensor | None = None,
    torsion_axes: TorsionAxes | None = None,
) -> Tensor:
    """Analytic derivative of positions by torsions: axis x lever, (B, m, 3, n) in nm per radian.

    Parameters
    ----------
    frame, moved
        As `frames` and `transform_atoms` returned them, so that the derivative is taken where the atoms are now.
    rows
        Some of the local atoms; `moved` then holds these only.
    torsion_axes
        `moved_axes` of the same frames, where they are at hand.
    """
    body = kinematics.body if rows is None else kinematics.body[rows]
    axis, origin = torsion_axes or moved_axes(kinematics, frame, xyz)
    lever = moved[:, :, None, :] - origin[:, None, :, :]
    column = torch.linalg.cross(axis[:, None].expand_as(lever), lever)
    return (column * kinematics.influence[body][..., None]).transpose(-1, -2)


def acceleration(
    kinematics: Kinematics,
    frame: Tensor,
    xyz: Tensor,
    moved: Tensor,
    rate: Tensor,
    body: Tensor,
    torsion_axes: TorsionAxes | None = None,
) -> Tensor:
    """Second derivative of positions while the torsions turn at constant rates, (B, m, 3).

    For torsions i before j on the way to an atom, d2x / di dj = a_i x (a_j x lever_j), so each torsion adds
    its own turn and twice those of its ancestors: (2 omega_before + omega_j) x (omega_j x lever_j).

    Parameters
    ----------
    moved : (B, m, 3)
        Where the atoms are now.
    rate : (B, n)
        Radian per unit.
    body : (m,) int
        Torsion that carries each of these atoms.
    torsion_axes
        `moved_axes` of the same frames, where they are at hand.
    """
    axis, origin = torsion_axes or moved_axes(kinematics, frame, xyz)
    omega = rate[..., None] * axis
    before = kinematics.influence[:-1] @ omega - omega
    lever = moved[:, :, None, :] - origin[:, None, :, :]
    speed = torch.linalg.cross(omega[:, None].expand_as(lever), lever)
    bend = torch.linalg.cross((2 * before + omega)[:, None].expand_as(lever), speed)
    return (bend * kinematics.influence[body][..., None]).sum(2)
