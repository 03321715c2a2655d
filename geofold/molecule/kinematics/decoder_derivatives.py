"""Derivatives of a fold's decoder: latent -> projected -> capped -> closed torsions -> atoms.

Glossary: ``p`` probes, ``B`` rows, ``d`` latent, ``n`` torsions, ``m`` local atoms, ``r`` closure rows.

Each stage is a linear map that is applied forwards (J v) or backwards (J'c); no (n, n) or (m, n) matrix is formed
but in `gram`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from geofold.molecule.kinematics.decoder_state import FoldState
from geofold.molecule.kinematics.differential import Motion
from geofold.molecule.kinematics.forward import Kinematics, axes, moved_axes
from geofold.molecule.kinematics.loop_closure import Closure
from geofold.molecule.topology.torsion_tree import TorsionTree


class DecoderParts(Protocol):
    """Parts of a decoder that its derivatives need; see `geofold.molecule.kinematics.decoder`."""

    @property
    def tree(self) -> TorsionTree: ...
    @property
    def kin(self) -> Kinematics: ...
    @property
    def closure(self) -> Closure: ...
    @property
    def latent_dim(self) -> int: ...


class Capped:
    """Increments delta min(1, limit / max |delta|) of a latent (B, n), projected on the closed tangent under the reach.

    Forwards: reach * (v - N N'v), then the derivative of the cap; backwards the transposes in turn.
    """

    def __init__(self, latent: Tensor, state: FoldState, limit: float) -> None:
        self._normal, self._reach = state.space.normal, state.reach
        self._free = state.reach * state.space.project(latent)
        self._largest, self._where = self._free.abs().max(dim=-1, keepdim=True)
        self._limit = limit

    @cached_property
    def _over(self) -> Tensor:
        """(B, 1) bool: rows in which the cap acts."""
        return self._largest > self._limit

    @cached_property
    def acts(self) -> bool:
        """Whether the cap acts in any row."""
        return bool(self._over.any())

    @cached_property
    def _scale(self) -> Tensor:
        return self._limit / self._largest.clamp_min(self._limit)

    @cached_property
    def _unit(self) -> Tensor:
        """Increments over their largest, (B, n); zero where the cap does not act."""
        return torch.where(self._over, self._free / torch.where(self._over, self._largest, 1.0), 0.0)

    @cached_property
    def _leader(self) -> Tensor:
        """(B, n): sign of the largest increment at its place, zero elsewhere."""
        return torch.zeros_like(self._free).scatter(-1, self._where, torch.gather(self._free, -1, self._where).sign())

    @property
    def delta(self) -> Tensor:
        """The capped increments (B, n)."""
        return self._free * self._scale if self.acts else self._free

    def _projected(self, v: Tensor) -> Tensor:
        """V - N N'v for v (p, B, n)."""
        if not self._normal.shape[-1]:
            return v
        return v - (self._normal @ (self._normal.mT @ v[..., None]))[..., 0]

    def forwards(self, v: Tensor) -> Tensor:
        """Rates (p, B, n) of the capped increments for rates of the latent."""
        rate = self._reach * self._projected(v)
        if not self.acts:
            return rate
        return self._scale * (rate - self._unit * (self._leader * rate).sum(-1, keepdim=True))

    def backwards(self, c: Tensor) -> Tensor:
        """The transpose of `forwards`."""
        if self.acts:
            c = self._scale * c
            c = c - self._leader * (self._unit * c).sum(-1, keepdim=True)
        return self._projected(self._reach * c)

    def bend(self, v: Tensor) -> Tensor:
        """Second derivative along v, (B, n): zero where the cap does not act."""
        if not self.acts:
            return torch.zeros_like(v)
        rate = self._reach * self._projected(v)
        lead = (self._leader * rate).sum(-1, keepdim=True)
        largest = torch.where(self._over, self._largest, 1.0)
        return 2 * self._scale * lead / largest * (self._unit * lead - torch.where(self._over, rate, 0.0))


class ClosedMotion:
    """The linear maps of one expansion. Built by `Fold.expand`.

    Parameters
    ----------
    basis : (B, n, r)
        Directions that Newton's method closes the loop in.
    frame : (B, n + 1, 4, 4) or None
        Frames of the torsions; None: nothing has turned.
    moved : (B, m, 3)
        Atoms where they are.
    """

    def __init__(
        self, fold: DecoderParts, state: FoldState, capped: Capped, basis: Tensor, frame: Tensor | None, moved: Tensor
    ) -> None:
        self._fold, self._state, self._capped, self._basis = fold, state, capped, basis
        self._given, self._moved = frame, moved

    @cached_property
    def _motion(self) -> Motion:
        kin, xyz = self._fold.kin, self._state.xyz
        hinges = axes(kin, xyz) if self._given is None else moved_axes(kin, self._given, xyz)
        return Motion(kin, hinges, self._moved)

    @cached_property
    def _frame(self) -> Tensor:
        if self._given is not None:
            return self._given
        kin = self._fold.kin
        return kin.identity.expand(len(self._moved), len(kin.near) + 1, 4, 4)

    @cached_property
    def _opening(self) -> Tensor:
        """(B, r, n): rates of the closure rows."""
        return self._fold.closure.jacobian(self._fold.kin, self._state.xyz, self._frame)

    @cached_property
    def _lift(self) -> Tensor:
        """(B, n, r): what closes again what an increment opened (implicit-function theorem)."""
        return self._basis @ torch.linalg.pinv(self._opening @ self._basis, rtol=1e-9)

    def _rates(self, v: Tensor) -> Tensor:
        """Torsion rates (p, B, n) of latent rates (p, B, d)."""
        rate = self._capped.forwards(v[..., : len(self._fold.tree)])
        if self._fold.closure.rows:
            rate = rate - (self._lift @ (self._opening @ rate[..., None]))[..., 0]
        return rate

    def push(self, v: Tensor) -> Tensor:
        """J v: (p, B, d) -> (p, B, k)."""
        rate = self._rates(v)
        return torch.cat([rate, self._motion.velocities(rate).flatten(-2)], -1)

    def pull(self, c: Tensor) -> Tensor:
        """J'c: (p, B, k) -> (p, B, d)."""
        n = len(self._fold.tree)
        torque = c[..., :n] + self._motion.torques(c[..., n:].unflatten(-1, (-1, 3)))
        if self._fold.closure.rows:
            torque = torque - (self._opening.mT @ (self._lift.mT @ torque[..., None]))[..., 0]
        return torch.nn.functional.pad(self._capped.backwards(torque), (0, self._fold.latent_dim - n))

    def bend(self, v: Tensor) -> Tensor:
        """Second derivative of the observations along v (B, d), (B, k)."""
        rate = self._rates(v[None])[0]
        turn = self._capped.bend(v[:, : len(self._fold.tree)])
        swing = self._motion.acceleration(rate)
        closure = self._fold.closure
        if closure.rows:
            again = closure.acceleration(self._fold.kin, self._state.xyz, self._frame, rate)
            again = again + (self._opening @ turn[..., None])[..., 0]
            turn = turn - (self._lift @ again[..., None])[..., 0]
        elif not self._capped.acts:  # the torsions are linear in the latent
            return torch.cat([turn, swing.flatten(1)], -1)
        return torch.cat([turn, (swing + self._motion.velocities(turn[None])[0]).flatten(1)], -1)

    def gram(self, weight: Tensor) -> Tensor:
        """J'WJ (B, d, d) for W (B, k): through the inertia of the tree where W is one number per atom."""
        n = len(self._fold.tree)
        own, atoms = weight[..., :n], weight[..., n:].unflatten(-1, (-1, 3))
        eye = torch.eye(n, dtype=weight.dtype, device=weight.device)
        if bool((atoms == atoms[..., :1]).all()):
            matrix = self._motion.gram(atoms[..., 0]) + torch.diag_embed(own)
        else:
            columns = torch.cat(
                [
                    eye[:, None].expand(n, len(weight), n),
                    self._motion.velocities(eye[:, None].expand(n, len(weight), n)).flatten(-2),
                ],
                -1,
            )
            matrix = torch.einsum("ibk,bk,jbk->bij", columns, weight, columns)
        if self._fold.closure.rows or self._capped.acts:
            slope = self._rates(eye[:, None].expand(n, len(weight), n)).permute(1, 2, 0)
            matrix = slope.mT @ matrix @ slope
        else:
            matrix = self._state.reach[:, None] * matrix * self._state.reach
        spare = self._fold.latent_dim - n
        return torch.nn.functional.pad(matrix, (0, spare, 0, spare))
