"""moleculekit: a Molecule with repaired or built loops, before `systemPrepare`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from moleculekit.molecule import Molecule

import geofold as gf
from geofold.app.result import Result


def repair(mol: Molecule, loop: str | tuple[str, ...] = (), **options: Any) -> tuple[Molecule, Result]:
    """Repair loops of the current frame of a Molecule.

    Parameters
    ----------
    mol : Molecule
        Stays as it is.
    loop : str or tuple of str
        Residues to repair: A:45-56. Chains and numbers are those of `mol`.
    **options
        Of `geofold.repair`: auto, build, seed, repack_shell, ...

    Returns
    -------
    Molecule, Result
        A copy in which only moved atoms have other coordinates; bonds, charges and all other fields are kept. Where
        atoms were built, the molecule is read again instead.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.pdb", Path(folder) / "after.pdb"
        single = mol.copy(frames=[mol.frame])
        single.write(str(before))
        result = gf.repair(before, loop, name=mol.viewname or "molecule", **options)
        result.save(after)
        start, end = Molecule(str(before)), Molecule(str(after))
    if end.numAtoms != single.numAtoms or not np.array_equal(end.name, single.name):
        return end, result
    moved = (start.coords != end.coords).any(axis=(1, 2))
    single.coords[moved] = end.coords[moved]
    return single, result
