"""Features of a loop for the loop model, and the loop model as the predictor of the loop domain.

Glossary: ``B`` rows, ``n`` torsions of the tree, ``h`` phi and psi of the residues of the loop, interleaved,
``F`` features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from geofold.geometry import wrap
from geofold.learn.data.chains import PROLINE
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch
from geofold.learn.loop_denoiser.features import FEATURE_COUNT, INNOVATION_SIZE, featurise
from geofold.learn.loop_denoiser.inference import model_input, update_belief, window_values
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.learn.torsion_prior.model import ALPHABET_SIZE
from geofold.molecule.encoding import encode_residues
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.structure import WATER, Structure
from geofold.molecule.vdw_radii import radius_of

RADIUS = 1.4
"""Cutoff of the surrounding atoms from the input backbone (nm); 0.2 larger than in training because the loop moves."""
NAMES = ("N", "CA", "C", "O")


@dataclass(frozen=True)
class LoopFeatures:
    """Feature extraction of a loop for the loop model.

    Attributes
    ----------
    backbone : BackboneBatch
        Input loop and its surroundings as one row (angstrom).
    local : (L, 4) int
        Local rows of the N, CA, C, O of the loop; -1 for missing atoms.
    torsion_index : (h,) int
        Index of each phi and psi in the tree; -1 if fixed.
    """

    backbone: BackboneBatch
    local: Tensor
    torsion_index: Tensor

    @classmethod
    def of(cls, structure: Structure, decoder: TorsionDecoder) -> LoopFeatures:
        """Features of the segment that a decoder moves; float32."""
        tree, device = decoder.tree, decoder.weight.device
        atoms = [structure.atom(k, name, tree.conformer) for k in range(tree.first, tree.last + 1) for name in NAMES]
        torsion = {(int(k), kind): j for j, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
        torsion_index = [
            torsion.get((k, kind), -1) for k in range(tree.first, tree.last + 1) for kind in ("phi", "psi")
        ]
        backbone = BackboneBatch(
            *(part.to(device) for part in extract_backbone(structure, tree.first, tree.last, tree.conformer))
        )
        backbone = backbone._replace(free=torch.tensor([torsion_index], device=device) >= 0)
        return cls(
            backbone,
            decoder.kinematics.find_rows(atoms).view(-1, len(NAMES)),
            torch.tensor(torsion_index, device=device),
        )

    def at(self, xyz: Tensor) -> BackboneBatch:
        """Backbones with local coordinates (B, m, 3) in nm."""
        rows = len(xyz)
        moved = self.backbone.xyz.repeat(rows, 1, 1, 1)
        loop = 10 * xyz[:, self.local.clamp_min(0)].to(moved)
        moved[:, FLANK:-FLANK] = torch.where(self.local[..., None] >= 0, loop, moved[:, FLANK:-FLANK])
        return BackboneBatch(moved, *(part.expand(rows, *part.shape[1:]) for part in self.backbone[1:]))

    def observe(self, state: DecoderState, cursor: int) -> Tensor:
        """Input (B, F + n + 1) of the predictor: features, total increments, cursor."""
        rows = len(state.angle)
        features = featurise(self.at(state.xyz), cursor, 0.0, state.xyz.new_zeros(rows, INNOVATION_SIZE).float())
        position = state.angle.new_full((rows, 1), cursor)
        return torch.cat([features.to(state.angle), state.angle, position], -1)


def select_torsions(torsion_index: Tensor, values: Tensor) -> Tensor:
    """Select the values (B, h) of phi and psi from those (B, >= n) of the tree; zero for fixed ones.

    `torsion_index` (h,) is that of `LoopFeatures`.
    """
    return torch.where(torsion_index >= 0, values[:, torsion_index.clamp_min(0)], 0.0)


class HeavyAtoms(NamedTuple):
    """Heavy atoms of a conformer without waters, for the surroundings of many loops of a structure.

    Attributes
    ----------
    atoms : (h,) int
        Their indices.
    tree : scipy.spatial.cKDTree
        Of their coordinates (nm).
    backbone, placed : (n_atoms,) bool
        Atoms N, CA, C and O; these and CB, which the backbone determines.
    """

    atoms: NDArray[np.int64]
    tree: Any
    backbone: NDArray[np.bool_]
    placed: NDArray[np.bool_]

    @classmethod
    def of(cls, structure: Structure, conformer: NDArray[np.bool_]) -> HeavyAtoms:
        """Heavy atoms of a conformer, (n_atoms,) bool, of a structure."""
        heavy = np.isin(structure.element, _heavy(structure)) & conformer
        atoms = np.flatnonzero(heavy & ~np.isin(structure.resname, list(WATER)))
        backbone = np.isin(structure.name, NAMES)
        return cls(atoms, cKDTree(structure.xyz[atoms]), backbone, backbone | (structure.name == "CB"))


def extract_backbone(
    structure: Structure, first: int, last: int, conformer: np.ndarray, heavy: HeavyAtoms | None = None
) -> BackboneBatch:
    """Residues `first` to `last` of a structure as a single row; all phi and psi are free except proline's phi.

    Parameters
    ----------
    structure : Structure
        Complete structure.
    first, last : int
        First and last residue (inclusive indices).
    conformer : (n_atoms,) bool
        Atoms of the conformer that moves.
    heavy : HeavyAtoms, optional
        Those of the conformer, if they are known.
    """
    size = len(structure.residues)
    span = range(first - FLANK, last + FLANK + 1)
    xyz, present = np.zeros((len(span), 4, 3), np.float32), np.zeros(len(span), dtype=bool)
    for row, k in enumerate(span):
        atoms = [structure.atom(k, name, conformer) for name in NAMES] if 0 <= k < size else [None]
        if None in atoms[:3]:
            continue
        present[row] = first <= k <= last or _joined(structure, k, first, last)
        # a missing O is placed on its C, where it adds no overlap
        known = [a if a is not None else atoms[2] for a in atoms]
        xyz[row] = 10 * structure.xyz[np.array(known, dtype=np.int64)]
    letters = np.full(len(span), ALPHABET_SIZE - 1)
    rows = np.flatnonzero(present)
    letters[rows] = [int(encode_residues(structure, span[row], span[row])) for row in rows]
    environment = _environment(structure, heavy or HeavyAtoms.of(structure, conformer), first, last, present)
    free = np.ones((last - first + 1, 2), dtype=bool)
    free[:, 0] = letters[FLANK:-FLANK] != PROLINE
    return BackboneBatch(
        *(
            torch.as_tensor(part)[None]
            for part in (
                xyz,
                letters,
                present,
                free.ravel(),
                environment,
                np.ones(len(environment), np.float32),
            )
        )
    )


def _joined(structure: Structure, k: int, first: int, last: int) -> bool:
    """Whether a flanking residue is connected to the loop by peptide bonds."""
    low, high = (k, first) if k < first else (last, k)
    return all(structure.bonded(residue, residue + 1) for residue in range(low, high))


def _environment(structure: Structure, heavy: HeavyAtoms, first: int, last: int, present: np.ndarray) -> np.ndarray:
    """Heavy atoms (E, 3) in angstrom around a loop, excluding its own and the backbone of its flanks.

    Parameters
    ----------
    structure : Structure
    heavy : HeavyAtoms
    first, last : int
        First and last residue of the loop.
    present : (S,) bool
        Which residues of the loop and its flanks there are.
    """
    own = np.concatenate([structure.residues[k].atoms for k in range(first, last + 1)])
    backbone = structure.xyz[own[heavy.backbone[own]]]
    centre = backbone.mean(0)
    reach = np.linalg.norm(backbone - centre, axis=1).max() + RADIUS
    atoms = heavy.atoms[sorted(heavy.tree.query_ball_point(centre, reach))]
    distance, _ = cKDTree(backbone).query(structure.xyz[atoms], distance_upper_bound=RADIUS)
    atoms = atoms[distance < RADIUS]
    residue = structure.residue_of[atoms]
    loop = (residue >= first) & (residue <= last)
    near = (residue >= first - FLANK) & (residue <= last + FLANK)
    flank = near & present[np.where(near, residue - (first - FLANK), 0)]
    atoms = atoms[~loop & ~(flank & heavy.placed[atoms])]
    return np.asarray(10 * structure.xyz[atoms], dtype=np.float32).reshape(-1, 3)


def _heavy(structure: Structure) -> list[str]:
    return [element for element in np.unique(structure.element).tolist() if radius_of(str(element)) > 0]


class Memory(NamedTuple):
    """State of the predictor.

    Attributes
    ----------
    stream
        State of the model.
    belief : (B, h) float
        Current estimate of phi and psi, radian; NaN before the first step.
    z, proposal : (B, d) float
        Corrected latent and proposal of the last step.
    steps : int
        Number of steps taken.
    """

    stream: Any
    belief: Tensor
    z: Tensor
    proposal: Tensor
    steps: int


@dataclass(frozen=True)
class LoopPredictor:
    """The loop model as the predictor of the controller.

    It proposes the increments from the current torsions to the estimated ones, and receives the correction of its last
    proposal as input.

    Parameters
    ----------
    model : LoopModel
        Trained loop model.
    torsion_index : (h,) int
        Index of each phi and psi in the tree, see `LoopFeatures`.
    max_sweeps : int or None
        Number of sweeps after which it proposes no motion, so that the corrector converges; None for no limit.
    """

    model: LoopModel
    torsion_index: Tensor
    max_sweeps: int | None = None
    name: str = "loop-denoiser"

    def init_state(self, batch: int, dim: int, like: Tensor) -> Memory:
        """State before the first step."""
        z = like.new_zeros(batch, dim)
        belief = like.new_full((batch, len(self.torsion_index)), torch.nan)
        return Memory(self.model.stream.init_state(batch), belief, z, z, 0)

    @torch.no_grad()
    def step(self, x: Tensor, state: Memory) -> tuple[Tensor, Memory]:
        """Proposal (B, d) for an observation (see `LoopFeatures.observe`)."""
        length, cursor = len(self.torsion_index) // 2, int(x[0, -1])
        sweep = state.steps // length
        angle = select_torsions(self.torsion_index, x[:, FEATURE_COUNT:-1])
        change = window_values(select_torsions(self.torsion_index, state.z - state.proposal), cursor)
        z, stream = self.model.stream.step(model_input(self.model, x, sweep, change), state.stream)
        mean, _ = self.model.decode(z).increments.circular_mean()
        belief = update_belief(torch.where(state.belief.isnan(), angle, state.belief), angle, mean.to(angle), cursor)
        proposal = torch.zeros_like(state.z)
        if self.max_sweeps is None or sweep < self.max_sweeps:
            free = self.torsion_index >= 0
            proposal[:, self.torsion_index[free]] = wrap(belief - angle)[:, free]
        return proposal, Memory(stream, belief, proposal, proposal, state.steps + 1)

    def read(self, state: Memory) -> Tensor:
        """Return the current latent (B, d)."""
        return state.z

    def write(self, state: Memory, z: Tensor) -> Memory:
        """Store the corrected latent; the model receives its difference from the proposal at the next step."""
        return state._replace(z=z)
