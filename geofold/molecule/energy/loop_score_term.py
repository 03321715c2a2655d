"""The potential of loops as a term of the loop's loss, so that natural steps go down it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.model import LoopScore
from geofold.molecule.energy.loop_score_input import surroundings
from geofold.molecule.kinematics.decoder import Fold
from geofold.molecule.selection import BACKBONE
from geofold.molecule.structure import Structure


@dataclass(frozen=True, eq=False)
class PotentialTerm:
    """What the potential says of a loop.

    Attributes
    ----------
    score : LoopScore
    around : Surroundings
    backbone : (L, 4) int
        Local rows of the loop's N, CA, C and O; -1 for one that never moves (the N of a leading proline).
    still : (L, 4, 3)
        Where they are in the structure, nm.
    """

    score: LoopScore
    around: LoopEnvironment
    backbone: Tensor
    still: Tensor

    @classmethod
    def of(cls, structure: Structure, fold: Fold, score: LoopScore) -> PotentialTerm:
        """Of the loop between two residues that a fold moves; all of its residues have N, CA, C and O."""
        tree = fold.tree
        atoms = [
            structure.atom(k, name, tree.steering) for k in range(tree.first, tree.last + 1) for name in BACKBONE
        ]  # fmt: skip
        around = surroundings(structure, tree.first, tree.last, tree.steering)
        still = torch.as_tensor(structure.xyz[np.array(atoms)]).to(fold.weight)
        return cls(score, around, fold.kin.rows(atoms).view(-1, len(BACKBONE)), still.view(-1, len(BACKBONE), 3))

    def cost(self, xyz: Tensor) -> Tensor:
        """Scores (B,) of local coordinates (B, m, 3) in nm, differentiable."""
        own = torch.where(self.backbone[..., None] >= 0, xyz[:, self.backbone.clamp_min(0)], self.still)
        return self.score(10 * own.to(next(self.score.parameters())), self.around).to(xyz)
