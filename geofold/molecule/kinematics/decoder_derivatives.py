"""Derivatives of the torsion decoder: latent -> projected -> capped -> closed torsions -> atoms.

Glossary: ``p`` probes, ``B`` rows, ``d`` latent, ``n`` torsions, ``m`` local atoms, ``r`` closure rows.

Each stage is a linear map that is applied forwards (J v) or backwards (J'c); only `gram` forms an (n, n) or (m, n)
matrix.
"""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.kinematics.differential import DifferentialKinematics, moved_axes
from geofold.molecule.kinematics.forward import Kinematics, axes
from geofold.molecule.kinematics.loop_closure import Closure
from geofold.molecule.topology.torsion_tree import TorsionTree


class DecoderParts(Protocol):
    """Parts of a decoder that its derivatives need; see `geofold.molecule.kinematics.decoder`."""

    @property
    def tree(self) -> TorsionTree:
        """Torsion tree."""

    @property
    def kinematics(self) -> Kinematics:
        """Kinematics of the tree."""

    @property
    def closure(self) -> Closure:
        """Conditions of closure."""

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent."""


class CappedIncrements:
    """Increments delta min(1, limit / max |delta|) of a latent (B, n), projected onto the tangent space of closure.

    With the mobility a and the normal directions N, delta = a (z - N N'z). `push` applies its derivative and that of
    the cap; `pull` applies the transposes in reverse order.
    """

    def __init__(self, latent: Tensor, state: DecoderState, limit: float) -> None:
        self._normal, self._reach = state.space.normal, state.mobility
        self._free = state.mobility * state.space.project(latent)
        self._largest, self._where = self._free.abs().max(dim=-1, keepdim=True)
        self._limit = limit

    @cached_property
    def _over(self) -> Tensor:
        """(B, 1) bool: whether the cap acts on a row."""
        return self._largest > self._limit

    @cached_property
    def acts(self) -> bool:
        """Whether the cap acts on any row."""
        return bool(self._over.any())

    @cached_property
    def _scale(self) -> Tensor:
        return self._limit / self._largest.clamp_min(self._limit)

    @cached_property
    def _unit(self) -> Tensor:
        """(B, n): increments divided by the largest one; zero if the cap does not act."""
        return torch.where(self._over, self._free / torch.where(self._over, self._largest, 1.0), 0.0)

    @cached_property
    def _leader(self) -> Tensor:
        """(B, n): sign of the largest increment at its index, zero elsewhere."""
        return torch.zeros_like(self._free).scatter(-1, self._where, torch.gather(self._free, -1, self._where).sign())

    @property
    def delta(self) -> Tensor:
        """The capped increments (B, n)."""
        return self._free * self._scale if self.acts else self._free

    def _project(self, v: Tensor) -> Tensor:
        """Compute V - N N'v for v (p, B, n)."""
        if not self._normal.shape[-1]:
            return v
        return v - (self._normal @ (self._normal.mT @ v[..., None]))[..., 0]

    def push(self, v: Tensor) -> Tensor:
        """Compute rates (p, B, n) of the capped increments from rates of the latent (p, B, n)."""
        rate = self._reach * self._project(v)
        if not self.acts:
            return rate
        return self._scale * (rate - self._unit * (self._leader * rate).sum(-1, keepdim=True))

    def pull(self, c: Tensor) -> Tensor:
        """Apply the transpose of `push`."""
        if self.acts:
            c = self._scale * c
            c = c - self._leader * (self._unit * c).sum(-1, keepdim=True)
        return self._project(self._reach * c)

    def bend(self, v: Tensor) -> Tensor:
        """Compute the second derivative (B, n) along v (B, n); it is zero where the cap does not act."""
        if not self.acts:
            return torch.zeros_like(v)
        rate = self._reach * self._project(v)
        lead = (self._leader * rate).sum(-1, keepdim=True)
        largest = torch.where(self._over, self._largest, 1.0)
        return 2 * self._scale * lead / largest * (self._unit * lead - torch.where(self._over, rate, 0.0))


class DecoderDerivatives:
    """Linear maps of one expansion of the decoder. Build with `TorsionDecoder.expand`.

    Parameters
    ----------
    decoder : DecoderParts
        Decoder.
    state : DecoderState
        State that is moved.
    capped : CappedIncrements
        Increments before loop closure.
    basis : (B, n, r)
        Directions in which Newton's method closes the loop.
    frame : (B, n + 1, 4, 4) or None
        Frames of the torsions; None if no torsion has turned.
    moved : (B, m, 3)
        Coordinates of the atoms after the move, nm.
    """

    def __init__(
        self,
        decoder: DecoderParts,
        state: DecoderState,
        capped: CappedIncrements,
        basis: Tensor,
        frame: Tensor | None,
        moved: Tensor,
    ) -> None:
        self._decoder, self._state, self._capped, self._basis = decoder, state, capped, basis
        self._given_frame, self._moved = frame, moved

    @cached_property
    def _differential(self) -> DifferentialKinematics:
        kinematics, xyz = self._decoder.kinematics, self._state.xyz
        torsion_axes = (
            axes(kinematics, xyz) if self._given_frame is None else moved_axes(kinematics, self._given_frame, xyz)
        )
        return DifferentialKinematics(kinematics, torsion_axes, self._moved)

    @cached_property
    def _frame(self) -> Tensor:
        if self._given_frame is not None:
            return self._given_frame
        kinematics = self._decoder.kinematics
        return kinematics.identity.expand(len(self._moved), len(kinematics.near) + 1, 4, 4)

    @cached_property
    def _closure_rates(self) -> Tensor:
        """(B, r, n): derivative of the closure residual by the torsions."""
        return self._decoder.closure.jacobian(self._decoder.kinematics, self._state.xyz, self._frame)

    @cached_property
    def _correction(self) -> Tensor:
        """(B, n, r): torsion rates that cancel a rate of the closure residual (implicit-function theorem)."""
        return self._basis @ torch.linalg.pinv(self._closure_rates @ self._basis, rtol=1e-9)

    def _rates(self, v: Tensor) -> Tensor:
        """Compute torsion rates (p, B, n) from latent rates (p, B, d)."""
        rate = self._capped.push(v[..., : len(self._decoder.tree)])
        if self._decoder.closure.rows:
            rate = rate - (self._correction @ (self._closure_rates @ rate[..., None]))[..., 0]
        return rate

    def push(self, v: Tensor) -> Tensor:
        """Compute J v: (p, B, d) -> (p, B, k)."""
        rate = self._rates(v)
        return torch.cat([rate, self._differential.velocities(rate).flatten(-2)], -1)

    def pull(self, c: Tensor) -> Tensor:
        """Compute J'c: (p, B, k) -> (p, B, d)."""
        n = len(self._decoder.tree)
        torque = c[..., :n] + self._differential.torques(c[..., n:].unflatten(-1, (-1, 3)))
        if self._decoder.closure.rows:
            torque = torque - (self._closure_rates.mT @ (self._correction.mT @ torque[..., None]))[..., 0]
        return torch.nn.functional.pad(self._capped.pull(torque), (0, self._decoder.latent_dim - n))

    def bend(self, v: Tensor) -> Tensor:
        """Compute the second derivative (B, k) of the observations along v (B, d)."""
        rate = self._rates(v[None])[0]
        increment = self._capped.bend(v[:, : len(self._decoder.tree)])
        acceleration = self._differential.acceleration(rate)
        closure = self._decoder.closure
        if closure.rows:
            residual = closure.acceleration(self._decoder.kinematics, self._state.xyz, self._frame, rate)
            residual = residual + (self._closure_rates @ increment[..., None])[..., 0]
            increment = increment - (self._correction @ residual[..., None])[..., 0]
        elif not self._capped.acts:  # the torsions are linear in the latent
            return torch.cat([increment, acceleration.flatten(1)], -1)
        return torch.cat([increment, (acceleration + self._differential.velocities(increment[None])[0]).flatten(1)], -1)

    def gram(self, weight: Tensor) -> Tensor:
        """Compute J'WJ (B, d, d) for W (B, k), from the inertia of the tree if W is isotropic for each atom."""
        n = len(self._decoder.tree)
        angles, atoms = weight[..., :n], weight[..., n:].unflatten(-1, (-1, 3))
        eye = torch.eye(n, dtype=weight.dtype, device=weight.device)
        if bool((atoms == atoms[..., :1]).all()):
            matrix = self._differential.gram(atoms[..., 0]) + torch.diag_embed(angles)
        else:
            columns = torch.cat(
                [
                    eye[:, None].expand(n, len(weight), n),
                    self._differential.velocities(eye[:, None].expand(n, len(weight), n)).flatten(-2),
                ],
                -1,
            )
            matrix = torch.einsum("ibk,bk,jbk->bij", columns, weight, columns)
        if self._decoder.closure.rows or self._capped.acts:
            slope = self._rates(eye[:, None].expand(n, len(weight), n)).permute(1, 2, 0)
            matrix = slope.mT @ matrix @ slope
        else:
            matrix = self._state.mobility[:, None] * matrix * self._state.mobility
        spare = self._decoder.latent_dim - n
        return torch.nn.functional.pad(matrix, (0, spare, 0, spare))
