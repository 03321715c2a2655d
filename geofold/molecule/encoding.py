"""Encoding of residues as indices of amino acids, the input of learned models."""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.learn.data.chains import AMINO_ACIDS
from geofold.molecule.residues import STANDARD_PARENT, one_letter_code
from geofold.molecule.structure import Structure


def encode_residues(structure: Structure, first: int, last: int) -> Tensor:
    """Encode residues `first` to `last` as indices of `AMINO_ACIDS` (T, 1); an unknown residue is its length.

    Protonation states and modified residues count as their standard parents.
    """
    names = [structure.residues[k].resname for k in range(first, last + 1)]
    indices = [AMINO_ACIDS.find(one_letter_code(STANDARD_PARENT.get(name, name))) for name in names]
    return torch.tensor([[k if k >= 0 else len(AMINO_ACIDS)] for k in indices])
