"""Frames of a page: reads PDB text as atoms and coordinates, and writes it again from these fields.

Lengths are in A, as in the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.app.viewer.html import AtomKey, Residue
from geofold.errors import CoordinateError, InputFileError
from geofold.molecule.io.hybrid36 import decode36
from geofold.molecule.io.pdb_fields import resnum_field
from geofold.molecule.numbers import LARGEST_REAL, parse_decimal

WATER = frozenset({"HOH", "WAT", "DOD", "H2O", "TIP", "SOL"})

BACKBONE = frozenset({"N", "CA", "C", "O"})
FRAMES_SHOWN = 200
"""Maximum number of frames that a page shows."""


def shown_frames(count: int) -> NDArray[np.int64]:
    """Select the indices of the frames that a page shows, evenly spaced out of `count`."""
    return np.unique(np.linspace(0, count - 1, min(count, FRAMES_SHOWN)).round().astype(np.int64))


@dataclass(frozen=True)
class Atom:
    """Identity of one atom, as in the file; ``group`` counts residues in file order."""

    record: str
    name: str
    resname: str
    residue: Residue
    element: str
    group: int


@dataclass(frozen=True)
class Trajectory:
    """Atoms and coordinates of a page.

    Attributes
    ----------
    atoms : list of Atom
        The n atoms, without water, and without hydrogens except those that contacts name.
    xyz : (T, n, 3)
        Coordinates (A).
    rows : list of int
        Line of each atom within a model.
    chosen : list of int
        Index of the model of each frame.
    models : int
        Number of models in the text.
    """

    atoms: list[Atom]
    xyz: NDArray[np.float64]
    rows: list[int]
    chosen: list[int]
    models: int


def read_trajectory(frames_pdb: list[str] | str, keep_hydrogens: frozenset[AtomKey]) -> Trajectory:
    """Read the atoms of the first model, and the coordinates of at most `FRAMES_SHOWN` models.

    Parameters
    ----------
    frames_pdb : list of str or str
        PDB text with one model per frame, or one text per frame.
    keep_hydrogens : frozenset of AtomKey
        Hydrogens to keep.

    Raises
    ------
    InputFileError, CoordinateError
        If there is no atom, a line cannot be read, or a frame differs from the first in its atoms or is not finite.
    """
    models = list(_models([frames_pdb] if isinstance(frames_pdb, str) else frames_pdb))
    if not models:
        raise InputFileError("a trajectory without atoms", "PDB text with ATOM records", "check the file")
    atoms: list[Atom] = []
    rows: list[int] = []
    seen: set[AtomKey] = set()
    last, group = None, -1
    for row, line in enumerate(models[0]):
        number = decode36(line[22:26], 4)
        if number is None:
            raise InputFileError(f"the line '{line[:60]}'", "an ATOM record in PDB columns", "check the file")
        residue = (line[21].strip(), number, line[26].strip())
        name, resname = line[12:16], line[17:20]
        element = line[76:78].strip().upper() or name.strip().lstrip("0123456789")[:1]
        atom_key = (residue, name.strip())
        hydrogen = element in ("H", "D") and atom_key not in keep_hydrogens
        if hydrogen or resname.strip() in WATER or (line[16] != " " and atom_key in seen):
            continue
        seen.add(atom_key)
        if (residue, resname) != last:
            last, group = (residue, resname), group + 1
        atoms.append(Atom(line[:6], name, resname, residue, element, group))
        rows.append(row)
    # modified residues are HETATM records, which the ribbon would leave out
    backbone = {name: {atom.group for atom in atoms if atom.name.strip() == name} for name in ("N", "CA", "C")}
    polymer = backbone["N"] & backbone["CA"] & backbone["C"]
    atoms = [replace(atom, record="ATOM") if atom.group in polymer else atom for atom in atoms]
    chosen = shown_frames(len(models)).tolist()
    xyz = np.stack([_coordinates(models, index, rows) for index in chosen])
    return Trajectory(atoms, xyz, rows, chosen, len(models))


def pdb_text(trajectory: Trajectory, frame: int, atoms: Sequence[int] | None = None) -> str:
    """Write the ATOM records of one frame from their fields, of all atoms or a selection, without free text."""
    chosen = range(len(trajectory.atoms)) if atoms is None else atoms
    lines = []
    for serial, index in enumerate(chosen, 1):
        atom, (x, y, z) = trajectory.atoms[index], trajectory.xyz[frame, index]
        chain, resnum, icode = atom.residue
        lines.append(
            f"{atom.record:6}{serial % 100000:5d} {atom.name:4} {atom.resname:3} {chain:1}{resnum_field(resnum)}"
            f"{icode:1}   {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {atom.element:>2}\n"
        )
    return "".join(lines)


def _models(texts: Sequence[str]) -> Iterator[list[str]]:
    """Yield the atom lines of each model with atoms; ENDMDL, END or the end of a text closes a model."""
    for text in texts:
        lines: list[str] = []
        for line in [*text.splitlines(), "END"]:
            if line.startswith(("ATOM", "HETATM")):
                lines.append(line.ljust(80))
            elif line.startswith("END") and lines:
                yield lines
                lines = []


def _coordinates(models: list[list[str]], index: int, rows: list[int]) -> NDArray[np.float64]:
    lines, which = models[index], f"model {index + 1}"
    if len(lines) != len(models[0]) or any(lines[row][12:27] != models[0][row][12:27] for row in rows):
        raise InputFileError(f"{which} with atoms unlike model 1", "the same atoms in each", "use one topology")
    values = [parse_decimal(lines[row][at : at + 8]) for row in rows for at in (30, 38, 46)]
    if None in values:
        raise CoordinateError(
            f"{which} with a coordinate that is not a number",
            f"numbers up to {LARGEST_REAL:,.0f} A",
            "check columns 31-54",
        )
    return np.array(values, dtype=np.float64).reshape(-1, 3)
