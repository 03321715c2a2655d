"""PDBFixer as a rival that builds a missing loop: residues on an arc, then relaxed with soft cores.

PDBFixer completes missing atoms everywhere, since its force field needs whole residues; only the loop is taken over.
Waters, ligands and ions are present. Backbone RMSD and CPU seconds in the surroundings of the native: 1ubi A:45-52
3.4 A, 6 s; 1ubi A:5-12 7.1 A, 5 s; 1pwc A:80-91 (345 residues) 7.8 A, 26 s.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from geofold.bench.loop.rivals.modelled_loop import Atoms, ModelledLoop, Stopwatch, insert_loop
from geofold.errors import BuildError
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.pdbfixer_input import pdb_text
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.structure import Structure


def build_missing(structure: Structure, build: BuildPlan, *, altloc: str | None = None, seed: int = 0) -> ModelledLoop:
    """Build a loop by `addMissingAtoms`, on one thread.

    Parameters
    ----------
    structure : Structure
        Lacks the loop, or has residues `build.removed`, which are replaced.
    build : BuildPlan
        Anchors, numbers and names of the loop's residues.
    altloc : str or None
        Conformer; see `Structure.conformer`.
    seed : int
        Seed of the dynamics that PDBFixer runs if atoms are too close; without these, all seeds give the same result.

    Raises
    ------
    BuildError
        If PDBFixer gives up.
    AltlocError
        As `Structure.conformer` does.
    """
    stopwatch = Stopwatch()
    residues_left = [k for k in range(len(structure.residues)) if k not in build.removed]
    text = pdb_text(structure, structure.conformer(altloc), residues_left, joined=(build.before, build.after))
    try:
        residues = _build_residues(text, residues_left.index(build.after), build.names, seed)
    except Exception as error:
        raise BuildError(
            f"PDBFixer cannot build {build.label} of {structure.source} ({error})",
            "a structure that PDBFixer can parameterise",
            "leave this rival out",
        ) from error
    return insert_loop(structure, build, residues, stopwatch, "PDBFixer")


def _build_residues(text: str, index: int, names: tuple[str, ...], seed: int) -> list[Atoms]:
    """Heavy atoms of the residues that are built before the one at an index of a PDB text."""
    import openmm.unit
    import pdbfixer

    fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(text))
    fixer.platform = platform()
    fixer.missingResidues = {}
    fixer.findNonstandardResidues()
    fixer.replaceNonstandardResidues()
    after = list(fixer.topology.residues())[index]
    index_in_chain = [residue.index for residue in after.chain.residues()].index(after.index)
    fixer.missingResidues = {(after.chain.index, index_in_chain): list(names)}
    fixer.findMissingAtoms()
    # zero means a random seed in OpenMM
    fixer.addMissingAtoms(seed=seed + 1)
    xyz = np.array(fixer.positions.value_in_unit(openmm.unit.nanometer), dtype=np.float64).reshape(-1, 3)
    built: list[Any] = list(fixer.topology.residues())[index : index + len(names)]
    return [
        [(atom.name, atom.element.symbol.upper(), xyz[atom.index]) for atom in residue.atoms() if _heavy(atom)]
        for residue in built
    ]


def _heavy(atom: Any) -> bool:
    return atom.element is not None and atom.element.symbol != "H"
