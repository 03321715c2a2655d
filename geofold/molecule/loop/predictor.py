"""A loop of a structure as the loop model sees it, and the model as the predictor of the loop domain.

Glossary: ``B`` rows, ``n`` torsions of the tree, ``h`` hinges (phi and psi of each residue in turn), ``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from geofold.geometry import wrap
from geofold.learn.data.chains import PROLINE
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch
from geofold.learn.loop_denoiser.features import FEATURE_COUNT, INNOVATION_SIZE, TIME_COLUMN, featurise
from geofold.learn.loop_denoiser.inference import stream_time, update_belief, window_values
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.learn.torsion_prior.model import ALPHABET_SIZE
from geofold.molecule.energy.prior_term import letters_of
from geofold.molecule.energy.vdw_radii import radius_of
from geofold.molecule.kinematics.decoder import Fold, FoldState
from geofold.molecule.structure import WATER, Structure

RADIUS = 1.4
"""nm: atoms around within this of the loop's backbone as it comes in; two more than in training, for it moves."""
NAMES = ("N", "CA", "C", "O")


@dataclass(frozen=True)
class LoopSense:
    """What is needed to see a loop.

    Attributes
    ----------
    pieces : Pieces
        Of one row, as it came in (A).
    local : (L, 4) int
        Local rows of the loop's N, CA, C, O; -1 where there is none.
    hinge : (h,) int
        Torsion of each hinge; -1 where it is fixed.
    """

    pieces: BackboneBatch
    local: Tensor
    hinge: Tensor

    @classmethod
    def of(cls, structure: Structure, fold: Fold) -> LoopSense:
        """Of the stretch that a fold moves; float32."""
        tree, device = fold.tree, fold.weight.device
        atoms = [structure.atom(k, name, tree.steering) for k in range(tree.first, tree.last + 1) for name in NAMES]
        torsion = {(int(k), kind): j for j, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
        hinge = [torsion.get((k, kind), -1) for k in range(tree.first, tree.last + 1) for kind in ("phi", "psi")]
        pieces = BackboneBatch(
            *(part.to(device) for part in pieces_of(structure, tree.first, tree.last, tree.steering))
        )
        pieces = pieces._replace(free=torch.tensor([hinge], device=device) >= 0)
        return cls(pieces, fold.kin.rows(atoms).view(-1, len(NAMES)), torch.tensor(hinge, device=device))

    def at(self, xyz: Tensor) -> BackboneBatch:
        """Pieces of local coordinates (B, m, 3) in nm."""
        rows = len(xyz)
        moved = self.pieces.xyz.repeat(rows, 1, 1, 1)
        loop = 10 * xyz[:, self.local.clamp_min(0)].to(moved)
        moved[:, FLANK:-FLANK] = torch.where(self.local[..., None] >= 0, loop, moved[:, FLANK:-FLANK])
        return BackboneBatch(moved, *(part.expand(rows, *part.shape[1:]) for part in self.pieces[1:]))

    def seen(self, state: FoldState, cursor: int) -> Tensor:
        """What the predictor is told (B, F + n + 1): features, torsions so far, the cursor."""
        rows = len(state.angle)
        features = featurise(self.at(state.xyz), cursor, 0.0, state.xyz.new_zeros(rows, INNOVATION_SIZE).float())
        place = state.angle.new_full((rows, 1), cursor)
        return torch.cat([features.to(state.angle), state.angle, place], -1)


def pieces_of(structure: Structure, first: int, last: int, steering: np.ndarray) -> BackboneBatch:
    """Residues `first` to `last` of a structure as a piece of one row; every hinge counts as free but proline's phi."""
    size = len(structure.residues)
    span = range(first - FLANK, last + FLANK + 1)
    xyz, there = np.zeros((len(span), 4, 3), np.float32), np.zeros(len(span), dtype=bool)
    for row, k in enumerate(span):
        atoms = [structure.atom(k, name, steering) for name in NAMES] if 0 <= k < size else [None]
        if None in atoms[:3]:
            continue
        there[row] = first <= k <= last or _joined(structure, k, first, last)
        # a missing O stands on its C, where it is in the way of nothing that C is not
        found = [a if a is not None else atoms[2] for a in atoms]
        xyz[row] = 10 * structure.xyz[np.array(found, dtype=np.int64)]
    letters = np.full(len(span), ALPHABET_SIZE - 1)
    rows = np.flatnonzero(there)
    letters[rows] = [int(letters_of(structure, span[row], span[row])) for row in rows]
    around = _around(structure, first, last, steering, there)
    free = np.ones((last - first + 1, 2), dtype=bool)
    free[:, 0] = letters[FLANK:-FLANK] != PROLINE
    return BackboneBatch(*(torch.as_tensor(part)[None] for part in (
        xyz, letters, there, free.ravel(), around, np.ones(len(around), np.float32),
    )))  # fmt: skip


def _joined(structure: Structure, k: int, first: int, last: int) -> bool:
    """Whether a residue beside the loop is bonded to it, through those between."""
    low, high = (k, first) if k < first else (last, k)
    return all(structure.bonded(one, one + 1) for one in range(low, high))


def _around(structure: Structure, first: int, last: int, steering: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Heavy atoms (E, 3) in A around a loop: not its own, nor the backbone of its flanks."""
    own = np.arange(first, last + 1)
    flanks = np.setdiff1d(np.arange(first - FLANK, last + FLANK + 1)[there], own)
    heavy = np.isin(structure.element, _heavy(structure)) & steering
    heavy &= ~np.isin(structure.resname, list(WATER)) & ~np.isin(structure.residue_of, own)
    heavy &= ~(np.isin(structure.residue_of, flanks) & np.isin(structure.name, (*NAMES, "CB")))
    loop = np.isin(structure.residue_of, own) & np.isin(structure.name, NAMES)
    far = cKDTree(structure.xyz[loop]).query(structure.xyz[heavy], distance_upper_bound=RADIUS)[0]
    return np.asarray(10 * structure.xyz[heavy][np.isfinite(far)], dtype=np.float32).reshape(-1, 3)


def _heavy(structure: Structure) -> list[str]:
    return [element for element in np.unique(structure.element).tolist() if radius_of(str(element)) > 0]


class Memory(NamedTuple):
    """Of the predictor: the model's, where hinges (B, h) are believed to belong, latent and proposal (B, d), steps."""

    stream: Any
    belief: Tensor
    z: Tensor
    proposal: Tensor
    steps: int


@dataclass(frozen=True)
class LoopPredictor:
    """The loop model as a backbone of the controller: it proposes what leads from here to where hinges are believed
    to belong, and reads what a corrector made of its last proposal.

    Parameters
    ----------
    model
    hinge : (h,) int
        See `LoopSense`.
    fading : int or None
        Sweeps after which it holds still, so that the corrector can settle what is left; None: never.
    """

    model: LoopModel
    hinge: Tensor
    fading: int | None = None
    name: str = "loop-denoiser"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Memory:
        """Nothing was seen."""
        z = like.new_zeros(batch, dim)
        belief = like.new_full((batch, len(self.hinge)), torch.nan)
        return Memory(self.model.stream.init_state(batch), belief, z, z, 0)

    @torch.no_grad()
    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Proposal (B, d) for what was seen (see `LoopSense.seen`)."""
        length, cursor = len(self.hinge) // 2, int(x[0, -1])
        sweep = state.steps // length
        angle = self._of_hinges(x[:, FEATURE_COUNT:-1])
        features = x[:, :FEATURE_COUNT].to(self.model.stream.enter.weight)
        features[:, TIME_COLUMN] = stream_time(sweep)
        features[:, -INNOVATION_SIZE:] = window_values(self._of_hinges(state.z - state.proposal), cursor).flatten(1)
        z, stream = self.model.stream.step(features, state.stream)
        mean, _ = self.model.decode(z).increments.circular_mean()
        belief = update_belief(torch.where(state.belief.isnan(), angle, state.belief), angle, mean.to(angle), cursor)
        proposal = torch.zeros_like(state.z)
        if self.fading is None or sweep < self.fading:
            free = self.hinge >= 0
            proposal[:, self.hinge[free]] = wrap(belief - angle)[:, free]
        return proposal, Memory(stream, belief, proposal, proposal, state.steps + 1)

    def read(self, state: Memory) -> Tensor:
        """The latent as it stands."""
        return state.z

    def write(self, state: Memory, z: Tensor) -> Memory:
        """The corrected latent; what was added to the proposal is told to the model at the next step."""
        return state._replace(z=z)

    def _of_hinges(self, values: Tensor) -> Tensor:
        """Values (B, h) of the hinges out of those (B, >= n) of the torsions, zero where a hinge is fixed."""
        return torch.where(self.hinge >= 0, values[:, self.hinge.clamp_min(0)], 0.0)
