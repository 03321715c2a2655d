"""Reading of PDB files.

Columns as in wwPDB's format guide 3.30; numbers beyond them as in hybrid-36.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from geofold.errors import CoordinateError, InputFileError, NoProteinError
from geofold.molecule.io.content import decode
from geofold.molecule.io.format import Format
from geofold.molecule.io.hybrid36 import decode36
from geofold.molecule.io.pdb_fields import LINE, is_atom, serial_field
from geofold.molecule.io.pdb_writer import PdbDocument
from geofold.molecule.numbers import LARGEST_REAL, parse_decimal, parse_int
from geofold.molecule.selection import ELEMENTS, guess_element
from geofold.molecule.structure import Row, Structure

RECORD = re.compile(rb"^(ATOM  |ATOM +\d|HETATM|HEADER|CRYST1|REMARK|MODEL |END\s*$)", re.MULTILINE)


def _decimal_or(text: str, default: float) -> float:
    value = parse_decimal(text)
    return default if value is None else value


def _atom_row(line: str, number: int, source: str) -> Row:
    """Columns of one ATOM or HETATM line (``number`` counts from 1); coordinates in nm."""
    body = line.rstrip("\r\n")
    resname, name = body[17:21].strip().upper(), body[12:16].strip().upper()
    residue, icode = body[22:26], body[26:27].strip()
    if icode.isdecimal() and residue.strip().isdecimal() and len(residue.strip()) == 4:
        residue, icode = body[22:27], ""  # a five-digit residue number that ran over the column
    resnum = parse_int(residue)  # five digits have no hybrid-36 meaning, so decimal comes first
    if resnum is None:
        resnum = decode36(residue, 4)
    label = f"{body[21:22].strip()}:{residue.strip()}{icode}"
    if resnum is None or not name:
        what = f"residue number '{residue}'" if resnum is None else "a blank atom name"
        raise InputFileError(f"{source}, line {number} has {what}", "the fixed columns of the PDB format",
                             "write the file again with the program that made it")  # fmt: skip
    position = [body[30:38], body[38:46], body[46:54]]
    x, y, z = map(parse_decimal, position)
    if x is None or y is None or z is None:
        bad = next(field for field, value in zip(position, (x, y, z), strict=True) if value is None)
        raise CoordinateError(f"{source}, line {number}: atom {name} of {label} has coordinate '{bad.strip()}'",
                              f"three numbers up to {LARGEST_REAL:,.0f} A in columns 31-54",
                              "correct or remove that atom")  # fmt: skip
    element = body[76:78].strip().upper()
    if element not in ELEMENTS and element != "X":
        element = guess_element(body[12:16], resname)
    serial = decode36(serial_field(body), 5)
    return (
        name, resname, body[21:22].strip(), icode, body[16:17].strip(), element, resnum, serial or 0,
        body.startswith("HETATM"), _decimal_or(body[54:60], 1.0), _decimal_or(body[60:66], 0.0),
        x / 10.0, y / 10.0, z / 10.0,
    )  # fmt: skip


def _first_model(lines: Sequence[str]) -> tuple[list[int], int, int]:
    """Line indices of the first model's atoms, the number of models, and of atoms outside any model."""
    first: list[int] = []
    seen: set[str] = set()
    models, loose = 1, 0
    boundary = ended = declared = uses_model = False
    inside = True
    for k, line in enumerate(lines):
        if line.startswith(("MODEL ", "ENDMDL")):
            boundary, declared = True, line.startswith("MODEL ")
            uses_model = uses_model or declared
        elif line.rstrip() == "END":
            ended = True
        elif is_atom(line):
            if ended and not boundary and inside:  # some programs end every frame, others every chain, with END
                boundary = line[12:27] in seen
            if boundary and first:
                inside = False
                stray = uses_model and not declared
                models += 0 if stray else 1
            loose += int(not inside and uses_model and not declared)
            boundary = ended = False
            if inside:
                first.append(k)
                seen.add(line[12:27])
    return first, models, loose


def recognises(content: bytes) -> bool:
    """Whether the content has records of a PDB file."""
    return RECORD.search(content) is not None


def parse(content: bytes, source: str) -> Structure:
    """First model of the content of a PDB file.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
    text, encoding = decode(content, source)
    lines = LINE.findall(text)
    atom_lines, models, loose = _first_model(lines)
    if not atom_lines:
        raise NoProteinError(f"{source} has no ATOM records", "a PDB file with a protein", "give the coordinate file")
    structure = Structure.from_rows((_atom_row(lines[k], k + 1, source) for k in atom_lines), source)
    notes = [f"{models} models: the first is used, the others are written as they are"] if models > 1 else []
    if loose:
        notes.append(f"{loose} atoms after ENDMDL belong to no model and are written as they are")
    columns = (structure.residue_of.tolist(), structure.name.tolist(), structure.altloc.tolist())
    repeats = len(structure) - len(set(zip(*columns, strict=True)))
    if repeats:
        notes.append(f"{repeats} atoms repeat a name of their residue: the first of each is used")
    title = " ".join(line[10:80].strip() for line in lines if line.startswith("TITLE "))
    document = PdbDocument.of_lines(lines, encoding, atom_lines)
    links = document.links(structure)
    return replace(structure, title=title, n_models=models, notes=tuple(notes), document=document, links=links)


PDB = Format("PDB", (".pdb", ".ent"), "PDB", recognises, parse)
