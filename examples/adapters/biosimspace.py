"""BioSimSpace: a System with repaired or built loops, before it is parameterised."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import BioSimSpace as BSS

import geofold as gf
from geofold.app.result import Result


def repair(system: Any, loop: str | tuple[str, ...] = (), **options: Any) -> tuple[Any, Result]:
    """Repair loops of a System or Molecule that was read from a PDB file.

    Parameters
    ----------
    system : System or Molecule
        Stays as it is.
    loop : str or tuple of str
        Residues to repair: A:45-56.
    **options
        Of `geofold.repair`: auto, build, seed, repack_shell, ... SEQRES records do not survive in a System, so gaps
        are built with their sequence: build="A:45-47=GSE".

    Returns
    -------
    System, Result
        A new System, for `BSS.Parameters.ff14SB` and the like.
    """
    with tempfile.TemporaryDirectory() as folder:
        written = BSS.IO.saveMolecules(str(Path(folder) / "before"), system, "pdb")
        result = gf.repair(written[0], loop, name="system", **options)
        repaired = Path(folder) / "after.pdb"
        result.save(repaired)
        return BSS.IO.readMolecules(str(repaired)), result
