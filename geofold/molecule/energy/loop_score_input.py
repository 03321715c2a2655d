"""Input of the learned loop potential: the loop's backbone and its surroundings."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_score.features import LoopEnvironment
from geofold.molecule.encoding import encode_residues
from geofold.molecule.residues import BACKBONE
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats, Mask, Structure

BREAK = 1000
"""Increment of the sequence position at a chain break, beyond any separation that the potential distinguishes."""


def make_loop_environment(structure: Structure, first: int, last: int, conformer: Mask) -> LoopEnvironment:
    """Collect the backbones of all amino acids, with residues `first` to `last` (indices) marked as the loop.

    Parameters
    ----------
    structure : Structure
        Structure with the loop.
    first, last : int
        Indices of the first and the last residue of the loop.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    """
    size = len(structure.residues)
    amino_acids = [k for k in range(size) if structure.is_amino_acid(k)]
    xyz, number, position = np.empty((len(amino_acids), 4, 3)), np.empty(len(amino_acids), dtype=np.int64), 0
    for row, k in enumerate(amino_acids):
        n, ca, c, o = (structure.atom(k, name, conformer) for name in BACKBONE)
        # a missing oxygen is placed on its carbon
        xyz[row] = structure.xyz[np.array([n, ca, c, c if o is None else o])]
        position += 1 if row and amino_acids[row - 1] == k - 1 and structure.bonded(k - 1, k) else BREAK
        number[row] = position
    letters = encode_residues(structure, 0, size - 1)[amino_acids, 0]
    coordinates = torch.as_tensor(10 * xyz, dtype=torch.float32)
    return LoopEnvironment(coordinates, letters, torch.as_tensor(number), amino_acids.index(first), last - first + 1)


def backbone_coordinates(structure: Structure, first: int, last: int, conformer: Mask, xyz: Floats) -> Tensor:
    """Select N, CA, C and O of residues `first` to `last`, (K, L, 4, 3) in angstrom.

    Parameters
    ----------
    structure : Structure
        Structure with the residues.
    first, last : int
        Indices of the first and the last residue.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    xyz : (K, n_atoms, 3)
        Coordinates, nm.
    """
    atoms = backbone_atoms(structure, first, last, conformer)
    return torch.as_tensor(10 * xyz[:, np.array(atoms)]).unflatten(1, (-1, 4))
