"""Input atoms that correspond to the particles of an all-atom model, by name or by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.structure import Mask, Structure

ALIAS = {("MSE", "SD"): "SE", ("ILE", "CD1"): "CD"}
"""Alternative file name of an atom by residue name and OpenMM's atom name."""


def source_atom(structure: Structure, conformer: Mask, k: int, atom: Any, position: NDArray[np.float64]) -> int | None:
    """Input atom that corresponds to an OpenMM atom; None if there is none.

    Parameters
    ----------
    structure : Structure
        Input structure.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    k : int
        Residue index.
    atom : openmm.app.topology.Atom
    position : (3,) float
        Its coordinates, nm.
    """
    original = structure.atom(k, atom.name, conformer)
    if original is None:
        original = structure.atom(k, ALIAS.get((structure.residues[k].resname, atom.name), ""), conformer)
    if original is None and atom.element.symbol == "H":
        original = _renamed_hydrogen(structure, conformer, k, position)
    return original


def _renamed_hydrogen(structure: Structure, conformer: Mask, k: int, position: NDArray[np.float64]) -> int | None:
    """Input hydrogen with a different name in OpenMM, identified by its position; None if there is none."""
    atoms = structure.residues[k].atoms
    hydrogens = atoms[conformer[atoms] & (structure.element[atoms] == "H")]
    if not len(hydrogens):
        return None
    distance = np.linalg.norm(structure.xyz[hydrogens] - position, axis=1)
    return int(hydrogens[distance.argmin()]) if distance.min() < 2e-4 else None
