"""Decoder of a segment: latent -> torsion increments -> coordinates with the loop closed.

Glossary: ``B`` rows, ``d`` latent, ``n`` torsions, ``m`` local atoms, ``k = n + 3m`` observations.

Observations are the torsion increments (von Mises weight) and the positions of the atoms that follow by forward
kinematics. Weights are normalised by their number, so a step of metric length 1 moves the backbone by about one
angstrom, or its torsions by ten degrees, root mean square; the trust radius is in this unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Expansion, Prediction
from geofold.kernels.library import usable
from geofold.kernels.structures import MAX_CONDITIONS
from geofold.molecule.kinematics.compiled_decoder import CompiledDerivatives, decode
from geofold.molecule.kinematics.decoder_derivatives import CappedIncrements, DecoderDerivatives
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.kinematics.loop_closure import Closure, Tangent, close, tangent
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

LATENT = 64
"""Smallest dimension of the latent."""
POSITION_SIGMA = 0.1
"""Standard deviation of the observed positions, nm."""
ANGLE_SIGMA = math.radians(10.0)
"""Standard deviation of the observed torsion increments, radian."""
HEADROOM = 0.9
"""Fraction of the cap for the increment before loop closure, which may use the rest."""


@dataclass(frozen=True)
class TorsionDecoder:
    """Decoder of one segment of residues. Build with `TorsionDecoder.of`.

    Attributes
    ----------
    tree, kinematics, closure
        Torsions, kinematics and closure of the segment.
    cap : float
        Largest change of one torsion in one step, radian.
    weight : (k,)
        Observation weights.
    """

    tree: TorsionTree
    kinematics: Kinematics
    closure: Closure
    cap: float
    weight: Tensor

    @classmethod
    def of(
        cls,
        structure: Structure,
        tree: TorsionTree,
        *,
        cap: float,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
    ) -> TorsionDecoder:
        """Build the decoder of a tree; the metric weights the positions of moving backbone and CB atoms.

        Parameters
        ----------
        structure : Structure
            Structure that the tree belongs to.
        tree : TorsionTree
            Torsions of the segment.
        cap : float
            Largest change of one torsion in one step, radian.
        dtype, device
            Type and device of all tensors.
        """
        kinematics = Kinematics.of(tree, dtype=dtype, device=device)
        atoms = kinematics.atoms.cpu().numpy()
        weighted = np.isin(structure.name[atoms], ("N", "CA", "C", "O", "CB")) & (
            kinematics.body.cpu().numpy() < len(tree)
        )
        count, n = max(int(weighted.sum()), 1), len(tree)
        weight = np.concatenate(
            [np.full(n, 1 / (n * ANGLE_SIGMA**2)), np.repeat(weighted / (count * POSITION_SIGMA**2), 3)]
        )
        return cls(
            tree, kinematics, Closure.of(tree, kinematics), cap, torch.as_tensor(weight, dtype=dtype, device=device)
        )

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent: the number of torsions, at least 64."""
        return max(LATENT, len(self.tree))

    def start(self, xyz: np.ndarray, mobility: Tensor, batch: int = 1) -> DecoderState:
        """Return the state at coordinates of the whole structure (n_atoms, 3) in nm, repeated `batch` times."""
        local = torch.as_tensor(xyz, dtype=self.weight.dtype)[self.kinematics.atoms.cpu()].to(self.weight.device)
        local = local.expand(batch, -1, -1).clone()
        return self.at(local, local.new_zeros(batch, len(self.tree)), mobility)

    def at(self, xyz: Tensor, angle: Tensor, mobility: Tensor) -> DecoderState:
        """Return the state at local coordinates (B, m, 3) and angles (B, n), with its tangent space."""
        xyz = xyz.contiguous()
        return DecoderState(xyz, angle, tangent(self.closure, self.kinematics, xyz, mobility), mobility)

    def decode(self, z: Tensor, state: DecoderState) -> Prediction:
        """Decode latents (B, d) to torsion increments and positions with the loop closed."""
        if self._compiles(z, state):
            decoded = decode(self, z.contiguous(), state, self._limit, self.cap)
            return Prediction(decoded.mean, self.weight, decoded.valid)
        delta = self._cap_increments(z, state).delta
        space = Tangent(state.mobility[:, None] * state.space.normal, state.space.freedom)
        theta, closed = close(self.closure, self.kinematics, state.xyz, delta, space)
        if torch.is_grad_enabled() or bool(theta.any()):
            moved = transform_atoms(self.kinematics, frames(self.kinematics, state.xyz, theta), state.xyz)
        else:  # no torsion turns, as when the loss of a zero increment is evaluated
            moved = state.xyz
        small = theta.detach().abs().amax(-1) <= self.cap * (1 + 1e-9)
        return Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)

    def expand(self, z: Tensor, state: DecoderState) -> Expansion:
        """Decode with first and second derivatives in closed form, each computed on demand."""
        if self._compiles(z, state):
            decoded = decode(self, z.contiguous(), state, self._limit, self.cap)
            derivatives = CompiledDerivatives(self, state, decoded, self._limit)
            prediction = Prediction(decoded.mean, self.weight, decoded.valid)
            return Expansion(prediction, derivatives.push, derivatives.pull, derivatives.bend, derivatives.gram)
        capped = self._cap_increments(z, state)
        basis = state.mobility[:, None] * state.space.normal
        with torch.no_grad():
            theta, closed = close(
                self.closure, self.kinematics, state.xyz, capped.delta, Tangent(basis, state.space.freedom)
            )
        # the first correction of a zero increment turns no torsion
        frame = frames(self.kinematics, state.xyz, theta) if bool(theta.any()) else None
        moved = state.xyz if frame is None else transform_atoms(self.kinematics, frame, state.xyz)
        small = theta.abs().amax(-1) <= self.cap * (1 + 1e-9)
        prediction = Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)
        maps = DecoderDerivatives(self, state, capped, basis, frame, moved)
        return Expansion(prediction, maps.push, maps.pull, maps.bend, maps.gram)

    def can_move(self, state: DecoderState) -> bool:
        """Return whether loop closure leaves a torsional degree of freedom in a state."""
        return len(self.tree) > 0 and int(state.space.freedom[0]) > 0

    def commit(self, prediction: Prediction, state: DecoderState, mobility: Tensor) -> DecoderState:
        """Apply a predicted move, except to rows that did not close; `mobility` (n,) is that of the next step."""
        theta, moved = self.split(prediction.mean)
        keep = prediction.valid[:, None]
        xyz = torch.where(keep[..., None] & (theta != 0).any(-1)[:, None, None], moved, state.xyz)
        return self.at(xyz, torch.where(keep, state.angle + theta, state.angle), mobility)

    def select(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """Rearrange the rows of a state."""
        space = Tangent(state.space.normal[rows], state.space.freedom[rows])
        return DecoderState(state.xyz[rows], state.angle[rows], space, state.mobility)

    def split(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Split observations (B, k) into increments (B, n) and local coordinates (B, m, 3)."""
        n = len(self.tree)
        return mean[:, :n], mean[:, n:].unflatten(-1, (-1, 3))

    def _cap_increments(self, z: Tensor, state: DecoderState) -> CappedIncrements:
        """Project latents onto increments that keep the loop closed to first order, scaled down to the cap."""
        return CappedIncrements(z[:, : len(self.tree)], state, self._limit)

    @property
    def _limit(self) -> float:
        """Largest increment before loop closure, radian."""
        return HEADROOM * self.cap if self.closure.rows else self.cap

    def _compiles(self, z: Tensor, state: DecoderState) -> bool:
        """Whether the kernels decode."""
        return self.closure.rows <= MAX_CONDITIONS and usable(z, state.xyz, state.space.normal)


def focus_mobility(tree: TorsionTree, centre: int, width: float, floor: float = 0.0) -> np.ndarray:
    """Compute the mobility (n,) of a step centred on a residue: a Gaussian above a floor.

    Parameters
    ----------
    tree : TorsionTree
        Torsions.
    centre : int
        Index of the residue.
    width : float
        Standard deviation of the Gaussian, residues.
    floor : float
        Mobility far from the centre.
    """
    bump = np.exp(-0.5 * ((tree.residue - centre) / width) ** 2)
    return floor + (1 - floor) * bump
