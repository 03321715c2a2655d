"""Reading of structures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from geofold.errors import CoordinateError, InputFileError, NoProteinError, OptionError
from geofold.molecule.io.binarycif import BINARYCIF
from geofold.molecule.io.content import STRUCTURE, decode, read_bytes, unpack
from geofold.molecule.io.format import Format
from geofold.molecule.io.mmcif_reader import MMCIF
from geofold.molecule.io.pdb_reader import PDB
from geofold.molecule.numbers import LARGEST_REAL
from geofold.molecule.structure import Structure

PDB_COLUMNS = (-99.99995, 999.99995)
"""nm between which a coordinate fits the eight columns of a PDB file with three decimals."""


FORMATS: tuple[Format, ...] = (BINARYCIF, MMCIF, PDB)
"""Formats in the order in which they are tried; another format is a file with a `Format` and a line here."""


def read(source: str | Path | bytes, *, name: str | None = None) -> Structure:
    """Read a structure, plain or gzipped; the format is recognised by the content.

    Parameters
    ----------
    source : str, Path or bytes
        Path, or the content of a file.
    name : str, optional
        Name in messages; the path, or "standard input" for bytes, if not given.

    Raises
    ------
    InputFileError, NoProteinError, CoordinateError
        If it cannot be read, or holds no usable protein.
    """
    label = name or ("standard input" if isinstance(source, bytes) else str(source))
    content = unpack(source if isinstance(source, bytes) else read_bytes(source, label), label)
    return require_protein(recognise(content, label).parse(content, label))


def recognise(content: bytes, label: str) -> Format:
    """Format of the unpacked content of a file.

    Raises
    ------
    InputFileError
        If it is of none of `FORMATS`.
    """
    for file_format in FORMATS:
        if file_format.recognises(content):
            return file_format
    decode(content, label)  # a binary file has its own message
    raise InputFileError(f"{label} is not a structure", STRUCTURE, "give a .pdb, .cif or .bcif file")


def require_suffix(path: str, written_as: str) -> None:
    """Refuse the name of an output whose suffix, ``.gz`` left out, belongs to another format.

    Parameters
    ----------
    path : str
        Name of the output; standard output and suffixes of no format are accepted.
    written_as : str
        Name of the format in which the structure is written.

    Raises
    ------
    OptionError
    """
    name = path.lower().removesuffix(".gz")
    named = next((entry for entry in FORMATS if name.endswith(entry.suffixes)), None)
    if named is not None and named.name != written_as:
        suffix = next(entry.suffixes[0] for entry in FORMATS if entry.name == written_as)
        raise OptionError(
            f"output {path}, which would hold {written_as} text",
            f"a name ending in {suffix}, since the output has the format of the input",
            f"rename it, or convert the {written_as} output with another program",
        )


def require_protein(structure: Structure) -> Structure:
    """Return the structure, with a note if it is far away.

    Raises
    ------
    CoordinateError, NoProteinError
        If nothing can be done with it.
    """
    label, trace = structure.source, bool(np.any((structure.name == "CA") & (structure.element == "C")))
    if not (np.abs(structure.xyz) <= LARGEST_REAL / 10.0).all():
        raise CoordinateError(
            f"{label} has coordinates that are not numbers or beyond {LARGEST_REAL:,.0f} A",
            "finite numbers within it",
            "correct the input",
        )
    protein = structure.xyz[structure._amino[structure.residue_of]]
    for what, xyz in (("all", structure.xyz), ("most protein", protein)):
        if len(xyz) > 1 and len(np.unique(xyz.round(4), axis=0)) < (len(xyz) / 2 if what != "all" else 2):
            given = f"{label}: {what} coordinates are {'equal' if xyz.any() else 'zero'}"
            raise CoordinateError(given, "atoms in different places", "give a real model")
    if not structure._amino.any():
        given = f"{label} holds {'only CA atoms' if trace else 'no protein'}"
        remedy = "rebuild the backbone first" if trace else "give a file with a protein chain"
        raise NoProteinError(given, "amino acids with N, CA and C", remedy)
    beyond = int(((structure.xyz <= PDB_COLUMNS[0]) | (structure.xyz >= PDB_COLUMNS[1])).any(1).sum())
    if not beyond:
        return structure
    note = f"{beyond} atoms lie beyond -999.999 to 9999.999 A: no PDB file and no trajectory holds them once they move"
    return replace(structure, notes=(*structure.notes, note))
