"""Writing of structures: the file they came from with new coordinates, and multi-model PDB."""

from __future__ import annotations

import numpy as np

from geofold.molecule.io.pdb_models import document_of, format_models
from geofold.molecule.structure import Floats, Mask, Structure


def render(structure: Structure, xyz: Floats, moved: Mask) -> bytes:
    """Render the file of a structure, byte for byte except for coordinates of moved atoms whose printed value changes.

    Parameters
    ----------
    structure : Structure
        One without a file (an object of another program) is written as PDB.
    xyz : (n, 3)
        Coordinates (nm).
    moved : (n,) bool
        Atoms whose coordinates are written.

    Raises
    ------
    OutputError
        If a coordinate is not finite or does not fit the columns of the format.
    """
    if np.shape(xyz) != structure.xyz.shape or np.shape(moved) != structure.name.shape:
        raise ValueError(f"coordinates {np.shape(xyz)} or mask {np.shape(moved)} do not fit {len(structure)} atoms")
    document = structure.document or document_of(structure)
    return document.render(structure, np.asarray(xyz, dtype=np.float64), moved)


def trajectory_pdb(
    structure: Structure, frames: Floats, bfactors: Floats | None = None, altloc: str | None = None
) -> bytes:
    """Multi-model PDB of one conformer, whatever the input's format; numbers beyond the columns wrap.

    Parameters
    ----------
    structure : Structure
    frames : (T, n, 3) or (T, m, 3)
        Coordinates (nm) of all atoms, or of those of ``structure.conformer(altloc)``.
    bfactors : (T, n) or (T, m), optional
        Values of the B-factor column; the file's own if not given.
    altloc : str, optional
        Conformer.
    """
    return format_models(structure, frames, bfactors, np.flatnonzero(structure.conformer(altloc)))
