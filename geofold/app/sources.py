"""Structures from whatever a script has at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geofold.errors import OptionError
from geofold.molecule.structure import Structure, read


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
    topology, positions = source if isinstance(source, tuple) else (
        getattr(source, "topology", None), getattr(source, "positions", None))  # fmt: skip
    if topology is not None and positions is not None:
        from geofold.plugins.openmm import structure_from_openmm

        return structure_from_openmm(topology, positions)
    raise OptionError(
        f"a source of type {type(source).__name__}",
        "a path, bytes, mdtraj.Trajectory, Bio.PDB Structure, or OpenMM topology and positions", "pass one of these",
    )  # fmt: skip
