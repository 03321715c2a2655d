"""PDBFixer's way of building a missing loop: residues laid on an arc, then relaxed with soft cores.

It looks for missing atoms everywhere, as it always does, for its force field holds on to whole residues only; but only
the loop is taken over. Waters, ligands and ions stay in its way. Backbone RMSD and CPU seconds in the natives'
surroundings: 1ubi A:45-52 3.4 A, 6 s; 1ubi A:5-12 7.1 A, 5 s; 1pwc A:80-91 (345 residues) 7.8 A, 26 s.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from geofold.bench.loop.rivals.modelled_loop import Atoms, ModelledLoop, Stopwatch, inserted
from geofold.errors import BuildError
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.pdbfixer_input import pdb_text
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.structure import Structure


def build_missing(structure: Structure, build: Build, *, altloc: str | None = None, seed: int = 0) -> ModelledLoop:
    """Build a loop by `addMissingAtoms`, on one thread.

    Parameters
    ----------
    structure
        Lacks the loop; residues `build.removed` make room.
    altloc, seed
        Conformer (see `Structure.steering`), and seed of the dynamics that PDBFixer runs where atoms come too close:
        without any, all seeds give the same.

    Raises
    ------
    BuildError
        If PDBFixer gives up.
    AltlocError
        As `Structure.steering` does.
    """
    watch = Stopwatch()
    kept = [k for k in range(len(structure.residues)) if k not in build.removed]
    text = pdb_text(structure, structure.steering(altloc), kept, joined=(build.before, build.after))
    try:
        residues = _built(text, kept.index(build.after), build.names, seed)
    except Exception as error:
        raise BuildError(
            f"PDBFixer cannot build {build.label} of {structure.source} ({error})", "a structure that PDBFixer knows",
            "leave this rival out",
        ) from error  # fmt: skip
    return inserted(structure, build, residues, watch, "PDBFixer")


def _built(text: str, place: int, names: tuple[str, ...], seed: int) -> list[Atoms]:
    """Heavy atoms of residues built in front of the one at `place` of a PDB text."""
    import openmm.unit
    import pdbfixer

    fixer = pdbfixer.PDBFixer(pdbfile=io.StringIO(text))
    fixer.platform = platform()
    fixer.missingResidues = {}
    fixer.findNonstandardResidues()
    fixer.replaceNonstandardResidues()
    after = list(fixer.topology.residues())[place]
    turn = [residue.index for residue in after.chain.residues()].index(after.index)
    fixer.missingResidues = {(after.chain.index, turn): list(names)}
    fixer.findMissingAtoms()
    # zero would mean a seed of OpenMM's own choice
    fixer.addMissingAtoms(seed=seed + 1)
    xyz = np.array(fixer.positions.value_in_unit(openmm.unit.nanometer), dtype=np.float64).reshape(-1, 3)
    made: list[Any] = list(fixer.topology.residues())[place : place + len(names)]
    return [
        [(atom.name, atom.element.symbol.upper(), xyz[atom.index]) for atom in residue.atoms() if _heavy(atom)]
        for residue in made
    ]


def _heavy(atom: Any) -> bool:
    return atom.element is not None and atom.element.symbol != "H"
