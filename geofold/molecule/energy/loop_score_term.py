"""The learned loop potential as a differentiable term of the loop loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_score.features import LoopEnvironment
from geofold.learn.loop_score.model import LoopScore
from geofold.molecule.energy.loop_score_input import make_loop_environment
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.residues import BACKBONE
from geofold.molecule.structure import Structure


@dataclass(frozen=True, eq=False)
class LoopScoreTerm:
    """Learned potential of one loop.

    Attributes
    ----------
    score : LoopScore
        Trained potential.
    environment : LoopEnvironment
        Backbones of the structure.
    backbone : (L, 4) int
        Local rows of the N, CA, C and O of the loop; -1 for fixed atoms (the N of a leading proline).
    input_xyz : (L, 4, 3) float
        Input coordinates of these atoms, nm.
    """

    score: LoopScore
    environment: LoopEnvironment
    backbone: Tensor
    input_xyz: Tensor

    @classmethod
    def of(cls, structure: Structure, decoder: TorsionDecoder, score: LoopScore) -> LoopScoreTerm:
        """Build the potential of the loop that a decoder moves; all of its residues need N, CA, C and O."""
        tree = decoder.tree
        atoms = [structure.atom(k, name, tree.conformer) for k in range(tree.first, tree.last + 1) for name in BACKBONE]
        environment = make_loop_environment(structure, tree.first, tree.last, tree.conformer)
        input_xyz = torch.as_tensor(structure.xyz[np.array(atoms)]).to(decoder.weight)
        return cls(
            score,
            environment,
            decoder.kinematics.find_rows(atoms).view(-1, len(BACKBONE)),
            input_xyz.view(-1, len(BACKBONE), 3),
        )

    def cost(self, xyz: Tensor) -> Tensor:
        """Evaluate the potential (B,) at local coordinates (B, m, 3) in nm; lower is better, differentiable."""
        coordinates = torch.where(self.backbone[..., None] >= 0, xyz[:, self.backbone.clamp_min(0)], self.input_xyz)
        return self.score(10 * coordinates.to(next(self.score.parameters())), self.environment).to(xyz)
