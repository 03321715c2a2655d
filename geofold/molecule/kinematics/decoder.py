"""A stretch of backbone as a latent decoder: latent -> torsion increments -> closed coordinates.

Glossary: ``B`` rows, ``d`` latent, ``n`` torsions, ``m`` local atoms, ``k = n + 3m`` observations.

Observations are the torsion increments (von Mises weight) and the Cartesian positions that real kinematics
gives them. Weights are normalised by their number, so a step of metric length 1 moves the backbone by about
one Angstrom, or its torsions by ten degrees, root mean square; the trust radius can be read in that unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geofold.core.domain import Expansion, Prediction
from geofold.molecule.kinematics.decoder_derivatives import CappedIncrements, DecoderDerivatives
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.kinematics.loop_closure import Closure, Tangent, close, tangent
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

LATENT = 64
POSITION_SIGMA = 0.1
ANGLE_SIGMA = math.radians(10.0)
HEADROOM = 0.9
"""Share of the cap for the increment before closing; closing may add the rest."""


@dataclass(frozen=True)
class TorsionDecoder:
    """Decoder of one stretch of residues.

    Parameters
    ----------
    tree, kinematics, closure
        Torsions, kinematics and closure of the stretch.
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
        """Decoder of a tree; the backbone and CB atoms are the positions that the metric weighs."""
        kinematics = Kinematics.of(tree, dtype=dtype, device=device)
        atoms = kinematics.atoms.cpu().numpy()
        seen = np.isin(structure.name[atoms], ("N", "CA", "C", "O", "CB")) & (kinematics.body.cpu().numpy() < len(tree))
        count, n = max(int(seen.sum()), 1), len(tree)
        weight = np.concatenate(
            [np.full(n, 1 / (n * ANGLE_SIGMA**2)), np.repeat(seen / (count * POSITION_SIGMA**2), 3)]
        )
        return cls(
            tree, kinematics, Closure.of(tree, kinematics), cap, torch.as_tensor(weight, dtype=dtype, device=device)
        )

    @property
    def latent_dim(self) -> int:
        """64, or as many as there are torsions."""
        return max(LATENT, len(self.tree))

    def start(self, xyz: np.ndarray, mobility: Tensor, batch: int = 1) -> DecoderState:
        """State of coordinates of the whole structure (n_atoms, 3) in nm, repeated `batch` times."""
        local = torch.as_tensor(xyz, dtype=self.weight.dtype)[self.kinematics.atoms.cpu()].to(self.weight.device)
        local = local.expand(batch, -1, -1).clone()
        return self.at(local, local.new_zeros(batch, len(self.tree)), mobility)

    def at(self, xyz: Tensor, angle: Tensor, mobility: Tensor) -> DecoderState:
        """State at local coordinates, its tangent space under the reach of the coming step."""
        return DecoderState(xyz, angle, tangent(self.closure, self.kinematics, xyz, mobility), mobility)

    def decode(self, z: Tensor, state: DecoderState) -> Prediction:
        """Torsion increments and closed positions of latents (B, d)."""
        delta = self._cap_increments(z, state).delta
        space = Tangent(state.mobility[:, None] * state.space.normal, state.space.freedom)
        theta, closed = close(self.closure, self.kinematics, state.xyz, delta, space)
        if torch.is_grad_enabled() or bool(theta.any()):
            moved = transform_atoms(self.kinematics, frames(self.kinematics, state.xyz, theta), state.xyz)
        else:  # nothing turns: the judge's look at a proposal that holds still
            moved = state.xyz
        small = theta.detach().abs().amax(-1) <= self.cap * (1 + 1e-9)
        return Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)

    def expand(self, z: Tensor, state: DecoderState) -> Expansion:
        """Prediction with first and second derivative in closed form, each computed when it is asked for."""
        capped = self._cap_increments(z, state)
        basis = state.mobility[:, None] * state.space.normal
        with torch.no_grad():
            theta, closed = close(
                self.closure, self.kinematics, state.xyz, capped.delta, Tangent(basis, state.space.freedom)
            )
        # the first correction of a proposal that holds still turns nothing
        frame = frames(self.kinematics, state.xyz, theta) if bool(theta.any()) else None
        moved = state.xyz if frame is None else transform_atoms(self.kinematics, frame, state.xyz)
        small = theta.abs().amax(-1) <= self.cap * (1 + 1e-9)
        prediction = Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)
        maps = DecoderDerivatives(self, state, capped, basis, frame, moved)
        return Expansion(prediction, maps.push, maps.pull, maps.bend, maps.gram)

    def can_move(self, state: DecoderState) -> bool:
        """Whether closure leaves the torsions any freedom in a state."""
        return len(self.tree) > 0 and int(state.space.freedom[0]) > 0

    def commit(self, prediction: Prediction, state: DecoderState, mobility: Tensor) -> DecoderState:
        """The predicted move applied; `mobility` is that of the next step. Rows that did not close stay."""
        theta, moved = self.split(prediction.mean)
        keep = prediction.valid[:, None]
        xyz = torch.where(keep[..., None] & (theta != 0).any(-1)[:, None, None], moved, state.xyz)
        return self.at(xyz, torch.where(keep, state.angle + theta, state.angle), mobility)

    def select(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """The state with its rows rearranged."""
        space = Tangent(state.space.normal[rows], state.space.freedom[rows])
        return DecoderState(state.xyz[rows], state.angle[rows], space, state.mobility)

    def split(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Increments (B, n) and local coordinates (B, m, 3) of observations."""
        n = len(self.tree)
        return mean[:, :n], mean[:, n:].unflatten(-1, (-1, 3))

    def _cap_increments(self, z: Tensor, state: DecoderState) -> CappedIncrements:
        """Increments that keep the loop closed to first order, scaled down as a whole to the cap."""
        limit = HEADROOM * self.cap if self.closure.rows else self.cap
        return CappedIncrements(z[:, : len(self.tree)], state, limit)


def focus_mobility(tree: TorsionTree, centre: int, width: float, floor: float = 0.0) -> np.ndarray:
    """Reach (n,) of a step centred on a residue: a bump of the given width in residues above a floor."""
    bump = np.exp(-0.5 * ((tree.residue - centre) / width) ** 2)
    return floor + (1 - floor) * bump
