"""Structures from whatever a script has at hand, and coordinates back into it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from geofold.errors import InputFileError, OptionError
from geofold.molecule.io.read import read
from geofold.molecule.structure import Floats, Structure

ACCEPTED = (
    "a path, the content of a PDB or mmCIF file (bytes, text or an open file), mdtraj.Trajectory, Bio.PDB Structure, "
    "Model or Chain, MDAnalysis Universe or AtomGroup, or OpenMM topology and positions"
)


def load(source: Any, name: str | None = None) -> Structure:
    """Structure of any accepted source.

    A text of several lines is what a file holds, one line is a path. An open file is read from where it stands.

    Raises
    ------
    GeofoldError
        One of its kinds, with a line that says what was given, what was expected and what to do.
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
    if host == "openmm":
        from geofold.plugins.openmm import structure_from_openmm

        return structure_from_openmm(*_with_positions(source))
    raise OptionError(f"a source of type {_kind(source)}", ACCEPTED, "pass one of these")


def _content(source: Any) -> bytes | None:
    """What a file holds, of a source that is or reads just that; None for another."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, str) and "\n" in source and not _is_file(source):
        return source.encode("utf-8", "surrogateescape")
    if not callable(getattr(source, "read", None)):
        return None
    try:
        content = source.read()
    except (OSError, TypeError, ValueError) as error:  # closed, opened for writing, or it reads something else
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
    """Class of an object, with the module for those that are not built in."""
    kind = type(source)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _host(source: Any) -> str | None:
    """The program an object belongs to, by what it has; None for one that no plugin takes."""
    program = type(source).__module__.split(".")[0]
    if program == "Bio":
        return program if getattr(source, "level", None) in ("S", "M", "C") else None
    if program == "mdtraj":
        return program if hasattr(source, "xyz") and hasattr(source, "topology") else None
    if program == "MDAnalysis":
        return program if hasattr(source, "atoms") and hasattr(source.atoms, "positions") else None
    topology, positions = _with_positions(source)
    return "openmm" if hasattr(topology, "getNumAtoms") and positions is not None else None


def _with_positions(source: Any) -> tuple[Any, Any]:
    """OpenMM topology and positions of a pair or of an object that has both; None for what it has not."""
    if isinstance(source, tuple):
        return (source[0], source[1]) if len(source) == 2 else (None, None)
    return getattr(source, "topology", None), getattr(source, "positions", None)


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
    mdtraj.Trajectory (one frame), Bio.PDB Structure, Model or Chain, positions (n, 3) in A for MDAnalysis, or Quantity
    for OpenMM

    Raises
    ------
    OptionError
        For a source without a program of its own, or another one than the structure comes from.
    """
    host = None if isinstance(source, Structure) else _host(source)
    if host is None:
        raise OptionError(f"a source of type {_kind(source)}", "an object of another program",
                          "use save for files, trajectory for mdtraj")  # fmt: skip
    own = load(source)
    rows = _rows_of(own, whole)
    moved = (xyz != whole.xyz).any(1)[rows]
    placed = np.where(moved[:, None], xyz[rows], own.xyz)
    if host == "mdtraj":
        from geofold.plugins.mdtraj import trajectory_with_coordinates

        return trajectory_with_coordinates(source, placed)
    if host == "Bio":
        from geofold.plugins.biopython import biopython_with_coordinates

        return biopython_with_coordinates(source, own, placed)
    if host == "MDAnalysis":
        from geofold.plugins.mdanalysis import mdanalysis_positions

        return mdanalysis_positions(placed)
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
