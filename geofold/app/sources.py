"""Conversion of files and toolkit objects to structures, and of coordinates back to toolkit objects."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.errors import InputFileError, OptionError
from geofold.molecule.io.read import read
from geofold.molecule.structure import Floats, Structure

ACCEPTED = (
    "a path, the content of a PDB, mmCIF or BinaryCIF file (bytes, text or an open file), mdtraj.Trajectory, "
    "Bio.PDB Structure, Model or Chain, MDAnalysis Universe or AtomGroup, biotite AtomArray, gemmi Structure, "
    "ParmEd Structure, ProDy AtomGroup or Selection, or OpenMM topology and positions"
)


def load(source: Any, name: str | None = None) -> Structure:
    """Read a structure from any accepted source.

    A text of several lines is the content of a file, a single line is a path. An open file is read from its current
    position.

    Raises
    ------
    GeofoldError
        A subclass, with a line that says what was given, what was expected and what to do.
    """
    if isinstance(source, Structure):
        return source
    content = _content(source)
    if content is not None:
        opened = getattr(source, "name", None)
        return read(content, name=name or (opened if hasattr(source, "read") and isinstance(opened, str) else None))
    if isinstance(source, (str, os.PathLike)):
        return read(os.fspath(source), name=name)
    host = _host(source)
    if host == "mdtraj":
        from geofold.plugins.mdtraj import structure_from_trajectory

        return structure_from_trajectory(source)
    if host == "Bio":
        from geofold.plugins.biopython import structure_from_biopython

        return structure_from_biopython(source)
    if host == "MDAnalysis":
        from geofold.plugins.mdanalysis import structure_from_mdanalysis

        return structure_from_mdanalysis(source)
    if host == "biotite":
        from geofold.plugins.biotite import structure_from_biotite

        return structure_from_biotite(source)
    if host == "gemmi":
        from geofold.plugins.gemmi import structure_from_gemmi

        return structure_from_gemmi(source)
    if host == "parmed":
        from geofold.plugins.parmed import structure_from_parmed

        return structure_from_parmed(source)
    if host == "prody":
        from geofold.plugins.prody import structure_from_prody

        return structure_from_prody(source)
    if host == "openmm":
        from geofold.plugins.openmm import sequences_of_fixer, structure_from_openmm

        return replace(structure_from_openmm(*_with_positions(source)), given=sequences_of_fixer(source))
    raise OptionError(f"a source of type {_kind(source)}", ACCEPTED, "pass one of these")


def _content(source: Any) -> bytes | None:
    """Return the file content that a source is or can read; None for a path or a toolkit object."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str) and "\n" in source and not _is_file(source):
        return source.encode("utf-8", "surrogateescape")
    if not callable(getattr(source, "read", None)):
        return None
    try:
        content = source.read()
    except (OSError, TypeError, ValueError) as error:  # closed, opened for writing, or not a file
        raise InputFileError(f"a {_kind(source)} that cannot be read ({error})", ACCEPTED, "open it again") from error
    if isinstance(content, str):
        return content.encode("utf-8", "surrogateescape")
    if isinstance(content, bytes):
        return content
    raise OptionError(f"a {_kind(source)} that reads {_kind(content)}", ACCEPTED, "pass one of these")


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)
    except ValueError:
        return False


def _kind(source: Any) -> str:
    """Name the class of an object, with its module unless it is built in."""
    kind = type(source)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _host(source: Any) -> str | None:
    """Name the toolkit that an object belongs to; None if no plugin accepts it."""
    program = type(source).__module__.split(".")[0]
    if program == "Bio":
        return program if getattr(source, "level", None) in ("S", "M", "C") else None
    if program == "mdtraj":
        return program if hasattr(source, "xyz") and hasattr(source, "topology") else None
    if program == "MDAnalysis":
        return program if hasattr(source, "atoms") and hasattr(source.atoms, "positions") else None
    if program == "biotite":
        return program if hasattr(source, "coord") and hasattr(source, "array_length") else None
    if program == "gemmi":
        return program if type(source).__name__ == "Structure" else None
    if program == "parmed":
        return program if hasattr(source, "residues") and hasattr(source, "coordinates") else None
    if program == "prody":
        return program if hasattr(source, "getCoords") and hasattr(source, "getResindices") else None
    topology, positions = _with_positions(source)
    return "openmm" if hasattr(topology, "getNumAtoms") and positions is not None else None


def _with_positions(source: Any) -> tuple[Any, Any]:
    """Return the OpenMM topology and positions of a pair or an object; None for a part that is missing."""
    if isinstance(source, tuple):
        return (source[0], source[1]) if len(source) == 2 else (None, None)
    return getattr(source, "topology", None), getattr(source, "positions", None)


def with_coordinates(source: Any, structure: Structure, xyz: Floats) -> Any:
    """Return a copy of a toolkit object with new coordinates.

    Parameters
    ----------
    source : toolkit object
        The object that the run was given.
    structure : Structure
        The structure after the run, which may have added atoms.
    xyz : (n_atoms, 3)
        Coordinates of its atoms (nm). Atoms that did not move keep the source's coordinates bit for bit.

    Returns
    -------
    object
        mdtraj.Trajectory (one frame), Bio.PDB Structure, Model or Chain, positions (n, 3) in A for MDAnalysis, biotite
        AtomArray, gemmi Structure, ParmEd Structure, ProDy AtomGroup, or Quantity for OpenMM.

    Raises
    ------
    OptionError
        For a source that is not a toolkit object, or not the one that the structure comes from.
    """
    host = None if isinstance(source, Structure) else _host(source)
    if host is None:
        raise OptionError(
            f"a source of type {_kind(source)}",
            "an object of another program",
            "use save for files, trajectory for mdtraj",
        )
    original = load(source)
    rows = _rows_of(original, structure)
    moved = (xyz != structure.xyz).any(1)[rows]
    placed = np.where(moved[:, None], xyz[rows], original.xyz)
    if host == "mdtraj":
        from geofold.plugins.mdtraj import trajectory_with_coordinates

        return trajectory_with_coordinates(source, placed)
    if host == "Bio":
        from geofold.plugins.biopython import biopython_with_coordinates

        return biopython_with_coordinates(source, original, placed)
    if host == "MDAnalysis":
        from geofold.plugins.mdanalysis import mdanalysis_positions

        return mdanalysis_positions(placed)
    if host == "biotite":
        from geofold.plugins.biotite import biotite_with_coordinates

        return biotite_with_coordinates(source, placed)
    if host == "gemmi":
        from geofold.plugins.gemmi import gemmi_with_coordinates

        return gemmi_with_coordinates(source, placed)
    if host == "parmed":
        from geofold.plugins.parmed import parmed_with_coordinates

        return parmed_with_coordinates(source, placed)
    if host == "prody":
        from geofold.plugins.prody import prody_with_coordinates

        return prody_with_coordinates(source, placed)
    from geofold.plugins.openmm import openmm_positions

    return openmm_positions(original, placed)


def _rows_of(original: Structure, structure: Structure) -> list[int]:
    """Find the source's atoms, which keep their order, among the atoms after the run."""
    keys = list(zip(structure.resnum.tolist(), structure.name.tolist(), strict=True))
    rows, row = [], 0
    for key in zip(original.resnum.tolist(), original.name.tolist(), strict=True):
        while row < len(keys) and keys[row] != key:
            row += 1
        rows.append(row)
        row += 1
    if row > len(keys):
        raise OptionError(
            f"{original.source} with {len(original)} atoms, which do not match the result's {len(structure)}",
            "the object that the run was given",
            "pass the same object",
        )
    return rows
