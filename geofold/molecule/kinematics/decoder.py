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
from geofold.molecule.kinematics.decoder_derivatives import Capped, ClosedMotion
from geofold.molecule.kinematics.decoder_state import FoldState
from geofold.molecule.kinematics.forward import Kinematics, carry, frames
from geofold.molecule.kinematics.loop_closure import Closure, Tangent, close, tangent
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

LATENT = 64
POSITION_SIGMA = 0.1
ANGLE_SIGMA = math.radians(10.0)
HEADROOM = 0.9
"""Share of the cap for the increment before closing; closing may add the rest."""


@dataclass(frozen=True)
class Fold:
    """Decoder of one stretch of residues.

    Parameters
    ----------
    tree, kin, closure
        Torsions, kinematics and closure of the stretch.
    cap : float
        Largest change of one torsion in one step, radian.
    weight : (k,)
        Observation weights.
    """

    tree: TorsionTree
    kin: Kinematics
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
    ) -> Fold:
        """Decoder of a tree; the backbone and CB atoms are the positions that the metric weighs."""
        kin = Kinematics.of(tree, dtype=dtype, device=device)
        atoms = kin.atoms.cpu().numpy()
        seen = np.isin(structure.name[atoms], ("N", "CA", "C", "O", "CB")) & (kin.carrier.cpu().numpy() < len(tree))
        count, n = max(int(seen.sum()), 1), len(tree)
        weight = np.concatenate(
            [np.full(n, 1 / (n * ANGLE_SIGMA**2)), np.repeat(seen / (count * POSITION_SIGMA**2), 3)]
        )
        return cls(tree, kin, Closure.of(tree, kin), cap, torch.as_tensor(weight, dtype=dtype, device=device))

    @property
    def latent_dim(self) -> int:
        """64, or as many as there are torsions."""
        return max(LATENT, len(self.tree))

    def start(self, xyz: np.ndarray, reach: Tensor, batch: int = 1) -> FoldState:
        """State of coordinates of the whole structure (n_atoms, 3) in nm, repeated `batch` times."""
        local = torch.as_tensor(xyz, dtype=self.weight.dtype)[self.kin.atoms.cpu()].to(self.weight.device)
        local = local.expand(batch, -1, -1).clone()
        return self.at(local, local.new_zeros(batch, len(self.tree)), reach)

    def at(self, xyz: Tensor, angle: Tensor, reach: Tensor) -> FoldState:
        """State at local coordinates, its tangent space under the reach of the coming step."""
        return FoldState(xyz, angle, tangent(self.closure, self.kin, xyz, reach), reach)

    def decode(self, z: Tensor, state: FoldState) -> Prediction:
        """Torsion increments and closed positions of latents (B, d)."""
        delta = self._capped(z, state).delta
        space = Tangent(state.reach[:, None] * state.space.normal, state.space.freedom)
        theta, closed = close(self.closure, self.kin, state.xyz, delta, space)
        if torch.is_grad_enabled() or bool(theta.any()):
            moved = carry(self.kin, frames(self.kin, state.xyz, theta), state.xyz)
        else:  # nothing turns: the judge's look at a proposal that holds still
            moved = state.xyz
        small = theta.detach().abs().amax(-1) <= self.cap * (1 + 1e-9)
        return Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)

    def expand(self, z: Tensor, state: FoldState) -> Expansion:
        """Prediction with first and second derivative in closed form, each computed when it is asked for."""
        capped = self._capped(z, state)
        basis = state.reach[:, None] * state.space.normal
        with torch.no_grad():
            theta, closed = close(self.closure, self.kin, state.xyz, capped.delta, Tangent(basis, state.space.freedom))
        # the first correction of a proposal that holds still turns nothing
        frame = frames(self.kin, state.xyz, theta) if bool(theta.any()) else None
        moved = state.xyz if frame is None else carry(self.kin, frame, state.xyz)
        small = theta.abs().amax(-1) <= self.cap * (1 + 1e-9)
        prediction = Prediction(torch.cat([theta, moved.flatten(1)], dim=-1), self.weight, closed & small)
        maps = ClosedMotion(self, state, capped, basis, frame, moved)
        return Expansion(prediction, maps.push, maps.pull, maps.bend, maps.gram)

    def can_move(self, state: FoldState) -> bool:
        """Whether closure leaves the torsions any freedom in a state."""
        return len(self.tree) > 0 and int(state.space.freedom[0]) > 0

    def commit(self, prediction: Prediction, state: FoldState, reach: Tensor) -> FoldState:
        """The predicted move applied; `reach` is that of the next step. Rows that did not close stay."""
        theta, moved = self.split(prediction.mean)
        keep = prediction.valid[:, None]
        xyz = torch.where(keep[..., None] & (theta != 0).any(-1)[:, None, None], moved, state.xyz)
        return self.at(xyz, torch.where(keep, state.angle + theta, state.angle), reach)

    def select(self, state: FoldState, rows: Tensor) -> FoldState:
        """The state with its rows rearranged."""
        space = Tangent(state.space.normal[rows], state.space.freedom[rows])
        return FoldState(state.xyz[rows], state.angle[rows], space, state.reach)

    def split(self, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Increments (B, n) and local coordinates (B, m, 3) of observations."""
        n = len(self.tree)
        return mean[:, :n], mean[:, n:].unflatten(-1, (-1, 3))

    def _capped(self, z: Tensor, state: FoldState) -> Capped:
        """Increments that keep the loop closed to first order, scaled down as a whole to the cap."""
        limit = HEADROOM * self.cap if self.closure.rows else self.cap
        return Capped(z[:, : len(self.tree)], state, limit)


def window(tree: TorsionTree, centre: int, width: float, floor: float = 0.0) -> np.ndarray:
    """Reach (n,) of a step centred on a residue: a bump of the given width in residues above a floor."""
    bump = np.exp(-0.5 * ((tree.residue - centre) / width) ** 2)
    return floor + (1 - floor) * bump
