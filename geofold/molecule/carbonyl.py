"""Backbone oxygens that residues lack, in the plane of their peptide bonds."""

from __future__ import annotations

import numpy as np

from geofold.geometry import unit_vectors
from geofold.molecule.residues import AMINO_NAMES
from geofold.molecule.structure import AddedAtom, Structure

CARBONYL = 0.1231
"""Length of C=O (nm); Engh and Huber, Acta Cryst. A47:392, 1991."""


def missing_oxygens(structure: Structure) -> list[AddedAtom]:
    """Place the oxygens of amino acids that have N, CA and C, and are bonded to the next residue.

    Parameters
    ----------
    structure : Structure

    Returns
    -------
    list of AddedAtom
        In the order of the residues. Without a next residue, nothing decides where the oxygen is.
    """
    conformer, added = structure.conformer_mask, []
    for k, residue in enumerate(structure.residues[:-1]):
        lacks = residue.resname in AMINO_NAMES and structure.atom(k, "O", conformer) is None
        if not (lacks and structure.is_amino_acid(k) and structure.bonded(k, k + 1)):
            continue
        places = (structure.atom(*place, conformer) for place in ((k, "CA"), (k, "C"), (k + 1, "N")))
        ca, c, n = (structure.xyz[atom] for atom in places if atom is not None)
        direction = -unit_vectors(unit_vectors(ca - c) + unit_vectors(n - c))
        added.append(AddedAtom(k, "O", "O", np.asarray(c + CARBONYL * direction)))
    return added
