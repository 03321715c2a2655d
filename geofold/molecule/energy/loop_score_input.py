"""A loop's place as the potential of loops sees it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_score.features import LoopEnvironment
from geofold.molecule.energy.prior_term import letters_of
from geofold.molecule.selection import BACKBONE, backbone_atoms
from geofold.molecule.structure import Floats, Mask, Structure

BREAK = 1000
"""What a break of a chain adds to the places of the residues behind it."""


def surroundings(structure: Structure, first: int, last: int, steering: Mask) -> LoopEnvironment:
    """All residues with a backbone, residues `first` to `last` (indices) as the loop among them."""
    size = len(structure.residues)
    own = [k for k in range(size) if structure.is_amino_acid(k)]
    xyz, number, place = np.empty((len(own), 4, 3)), np.empty(len(own), dtype=np.int64), 0
    for row, k in enumerate(own):
        n, ca, c, o = (structure.atom(k, name, steering) for name in BACKBONE)
        # an oxygen that is not there is taken to be where its carbon is
        xyz[row] = structure.xyz[np.array([n, ca, c, c if o is None else o])]
        place += 1 if row and own[row - 1] == k - 1 and structure.bonded(k - 1, k) else BREAK
        number[row] = place
    letters = letters_of(structure, 0, size - 1)[own, 0]
    made = torch.as_tensor(10 * xyz, dtype=torch.float32)
    return LoopEnvironment(made, letters, torch.as_tensor(number), own.index(first), last - first + 1)


def backbone_of(structure: Structure, first: int, last: int, steering: Mask, xyz: Floats) -> Tensor:
    """N, CA, C and O (K, L, 4, 3) in A of residues in coordinates (K, n_atoms, 3) in nm."""
    atoms = backbone_atoms(structure, first, last, steering)
    return torch.as_tensor(10 * xyz[:, np.array(atoms)]).unflatten(1, (-1, 4))
