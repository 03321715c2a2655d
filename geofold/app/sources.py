"""Structures from whatever a script has at hand, and coordinates back into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from geofold.errors import OptionError
from geofold.molecule.structure import Floats, Structure, read


def load(source: Any, name: str | None = None) -> Structure:
    """Structure of any accepted source.

    Raises
    ------
    GeofoldError
        One of its kinds, with a line that says what was given, what was expected and what to do.
    """
    if isinstance(source, Structure):
        return source
    if isinstance(source, (str, Path, bytes)):
        return read(source, name=name)
    host = type(source).__module__.split(".")[0]
    if host == "mdtraj":
        from geofold.plugins.mdtraj import structure_from_trajectory

        return structure_from_trajectory(source)
    if host == "Bio":
        from geofold.plugins.biopython import structure_from_biopython

        return structure_from_biopython(source)
    if host == "MDAnalysis":
        from geofold.plugins.mdanalysis import structure_from_mdanalysis

        return structure_from_mdanalysis(source)
    topology, positions = source if isinstance(source, tuple) else (
        getattr(source, "topology", None), getattr(source, "positions", None))  # fmt: skip
    if topology is not None and positions is not None:
        from geofold.plugins.openmm import structure_from_openmm

        return structure_from_openmm(topology, positions)
    raise OptionError(
        f"a source of type {type(source).__name__}",
        "a path, bytes, mdtraj.Trajectory, Bio.PDB Structure, MDAnalysis atoms, or OpenMM topology and positions",
        "pass one of these",
    )  # fmt: skip


def with_coordinates(source: Any, whole: Structure, xyz: Floats) -> Any:
    """What a source is in its own program, with new coordinates.

    Parameters
    ----------
    whole : Structure
        What became of the source: atoms may have been added.
    xyz : (n, 3)
        Coordinates of its atoms in nm; who did not move stays where the source has it, to the last bit.

    Returns
    -------
    mdtraj.Trajectory (one frame), Bio.PDB Structure, positions (n, 3) in A for MDAnalysis, or Quantity for OpenMM

    Raises
    ------
    OptionError
        For a source without a program of its own, or another one than the structure comes from.
    """
    own = load(source)
    rows = _rows_of(own, whole)
    moved = (xyz != whole.xyz).any(1)[rows]
    placed = np.where(moved[:, None], xyz[rows], own.xyz)
    host = "" if isinstance(source, Structure) else type(source).__module__.split(".")[0]
    if host == "mdtraj":
        from geofold.plugins.mdtraj import trajectory_with_coordinates

        return trajectory_with_coordinates(source, placed)
    if host == "Bio":
        from geofold.plugins.biopython import biopython_with_coordinates

        return biopython_with_coordinates(source, own, placed)
    if host == "MDAnalysis":
        from geofold.plugins.mdanalysis import mdanalysis_positions

        return mdanalysis_positions(placed)
    if isinstance(source, (str, Path, bytes, Structure)):
        raise OptionError(f"a source of type {type(source).__name__}", "an object of another program",
                          "use save for files, trajectory for mdtraj")  # fmt: skip
    from geofold.plugins.openmm import openmm_positions

    return openmm_positions(own, placed)


def _rows_of(own: Structure, whole: Structure) -> list[int]:
    """Rows of the source's atoms, which keep their order, among those of what became of it."""
    keys = list(zip(whole.resnum.tolist(), whole.name.tolist(), strict=True))
    rows, row = [], 0
    for key in zip(own.resnum.tolist(), own.name.tolist(), strict=True):
        while row < len(keys) and keys[row] != key:
            row += 1
        rows.append(row)
        row += 1
    if row > len(keys):
        raise OptionError(f"{own.source} with {len(own)} atoms for a result of {len(whole)} others",
                          "what the run was given", "pass the same object")  # fmt: skip
    return rows
