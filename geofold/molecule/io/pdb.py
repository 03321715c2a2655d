"""PDB files: fixed columns in, the same bytes out, and multi-model trajectories.

Columns as in wwPDB's format guide 3.30; numbers beyond them as in hybrid-36. A file is kept line by line, and only
coordinate columns are written anew.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.errors import CoordinateError, InputFileError, NoProteinError, OutputError
from geofold.molecule.io.hybrid36 import DIGITS36, decode36, encode36
from geofold.molecule.numbers import LARGEST_REAL, parse_decimal, parse_int
from geofold.molecule.selection import ELEMENTS, atoms_by_site, guess_element, links_between, unique_links
from geofold.molecule.structure import AddedAtom, Floats, Link, Mask, Row, Structure

LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
CHAIN_LETTERS = DIGITS36[10:] + DIGITS36[10:].lower() + DIGITS36[:10]


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
                              "mend or remove that atom")  # fmt: skip
    element = body[76:78].strip().upper()
    if element not in ELEMENTS and element != "X":
        element = guess_element(body[12:16], resname)
    serial = decode36(_serial(body), 5)
    return (
        name, resname, body[21:22].strip(), icode, body[16:17].strip(), element, resnum, serial or 0,
        body.startswith("HETATM"), _decimal_or(body[54:60], 1.0), _decimal_or(body[60:66], 0.0),
        x / 10.0, y / 10.0, z / 10.0,
    )  # fmt: skip


def _serial(line: str) -> str:
    return (line[5:11] if line.startswith("ATOM") else line[6:11]).strip()


def _is_atom(line: str) -> bool:
    return line.startswith(("ATOM ", "HETATM"))


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
        elif _is_atom(line):
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


def _links(structure: Structure, lines: Sequence[str], atom_lines: Sequence[int]) -> Iterator[Link]:
    """LINK, SSBOND and CONECT bonds inside the asymmetric unit."""
    keys = [_serial(lines[k]) for k in atom_lines]
    count = Counter(keys)
    atom_of = {key: i for i, key in enumerate(keys) if count[key] == 1}  # a wrapped serial names two atoms: neither
    places = atoms_by_site(structure) if any(line.startswith(("LINK", "SSBOND")) for line in lines) else {}
    for line in (line.rstrip("\r\n").ljust(80) for line in lines):
        if line.startswith("CONECT"):
            ends = [atom_of.get(line[c : c + 5].strip()) for c in range(6, 31, 5)]
            yield from (Link(ends[0], j, "CONECT") for j in ends[1:] if ends[0] is not None and j is not None)
        elif line.startswith(("LINK", "SSBOND")):
            if any(line[c : c + 6].strip() not in ("", "1555") for c in (59, 66)):
                continue  # the partner is a symmetry mate, which is not in the file
            disulfide = line.startswith("SSBOND")
            sites = []
            for name, chain, number in ((0, 15, 17), (0, 29, 31)) if disulfide else ((12, 21, 22), (42, 51, 52)):
                resnum = decode36(line[number : number + 4], 4)
                label, altloc = ("SG", "") if disulfide else (line[name : name + 4].strip(), line[name + 4].strip())
                icode = line[number + 4 : number + 5].strip()
                if resnum is not None:
                    sites.append(((line[chain].strip(), resnum, icode, label.upper()), altloc))
            if len(sites) == 2:
                yield from links_between(structure, places, sites, "SSBOND" if disulfide else "LINK")


def recognises(text: str) -> bool:
    """Whether the text has records of a PDB file."""
    return re.search(r"^(ATOM  |ATOM +\d|HETATM|HEADER|CRYST1|REMARK|MODEL |END\s*$)", text, re.MULTILINE) is not None


def parse(text: str, encoding: str, source: str) -> Structure:
    """First model of a PDB text.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
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
    document = PdbDocument(tuple(lines), np.array(atom_lines), encoding)
    links = unique_links(_links(structure, lines, atom_lines))
    return replace(structure, title=title, n_models=models, notes=tuple(notes), document=document, links=links)


def coordinate(value: float, old: str, where: str) -> str:
    """Eight columns for a coordinate in Angstrom; ``old``, what stood there, stays if it says the same."""
    decimals = min(max(3, len(old.strip().partition(".")[2])), 6)
    for places in range(decimals, 2, -1):
        text = f"{value:8.{places}f}"
        if math.isfinite(value) and len(text) == 8:
            return old if parse_decimal(old) == float(text) else text
    raise OutputError(f"{where} has coordinate {value:.3f} A", "-999.999 to 9999.999 A, as PDB columns hold",
                      "move the structure to the origin or write mmCIF")  # fmt: skip


@dataclass(frozen=True, eq=False)
class PdbDocument:
    """Lines of the file with their ends, and the line index of every atom (n,)."""

    lines: tuple[str, ...]
    atom_lines: NDArray[np.int64]
    encoding: str

    def render(self, structure: Structure, xyz: Floats, moved: Mask, added: Sequence[AddedAtom]) -> bytes:
        """See ``Structure.render``."""
        lines = list(self.lines)
        for i in np.flatnonzero(moved):
            k = int(self.atom_lines[i])
            body, where = lines[k].rstrip("\r\n"), f"{structure.source}, atom {structure.name[i]} on line {k + 1}"
            columns = zip((xyz[i] * 10.0).tolist(), (body[30:38], body[38:46], body[46:54]), strict=True)
            fields = "".join(coordinate(value, old, where) for value, old in columns)
            lines[k] = body[:30] + fields + body[54:] + lines[k][len(body) :]
        serial = highest_serial(self.lines) if added else 0
        # From the last residue to the first, so that earlier line numbers hold.
        places = sorted(range(len(added)), key=lambda a: (added[a].residue, a))
        for number, a in reversed(list(enumerate(places, serial + 1))):
            last = int(structure.residues[added[a].residue].atoms[-1])
            k = int(self.atom_lines[last]) + 1
            while k < len(lines) and lines[k].startswith(("ANISOU", "SIGATM", "SIGUIJ")):
                k += 1
            template = lines[int(self.atom_lines[last])]
            lines.insert(k, self._added_line(structure, added[a], template, number))
            if not lines[k - 1].endswith(("\n", "\r")):  # the file has no final newline, and keeps none
                end = self.lines[0][len(self.lines[0].rstrip("\r\n")) :] or "\n"
                lines[k - 1 : k + 1] = [lines[k - 1] + end, lines[k].rstrip("\r\n")]
        return "".join(lines).encode(self.encoding)

    @staticmethod
    def _added_line(structure: Structure, atom: AddedAtom, template: str, serial: int) -> str:
        body = template.rstrip("\r\n")
        where = f"{structure.source}, added atom {atom.name} of {structure.residues[atom.residue].label}"
        fields = "".join(coordinate(value, "", where) for value in (atom.xyz * 10.0).tolist())
        bfactor = float(structure.bfactor[structure.residues[atom.residue].atoms].mean())
        resname = f"{structure.residues[atom.residue].resname:>3s} "[:4]
        record, name = "HETATM" if body.startswith("HETATM") else "ATOM  ", name_field(atom.name, atom.element)
        start = f"{record}{encode36(serial, 5)} {name} {resname}{body[21:27]}   "
        line = f"{start}{fields}{1.0:6.2f}{bfactor_field(bfactor)}"
        tail = f"{body[66:76]:10s}{atom.element:>2s}" + " " * (len(body) - 78) if len(body) >= 78 else body[66:]
        return line + tail + (template[len(body) :] or "\n")


def resnum_field(number: int) -> str:
    """Columns 23-26: a residue number, wrapped where it does not fit, as viewers read it."""
    return f"{number if -1000 < number < 10000 else number % 10000:4d}"


def bfactor_field(value: float) -> str:
    """Columns 61-66: a B-factor in square A, the nearest that fits."""
    return f"{min(max(value, -99.99), 999.99):6.2f}"


def highest_serial(lines: Sequence[str]) -> int:
    """Highest serial number of an atom or TER record."""
    records = (line for line in lines if _is_atom(line) or line.startswith("TER"))
    return max((decode36(_serial(line), 5) or 0 for line in records), default=0)


def name_field(name: str, element: str) -> str:
    """Columns 13-16: the element right-justified in the first two, unless the name needs all four."""
    return f"{name[:4]:<4s}" if len(element) == 2 or len(name) >= 4 else f" {name:<3s}"


def _per_frame(values: Floats, frames: int, structure: Structure, atoms: NDArray[np.int64]) -> Floats:
    """Values (T, m, ...) of the chosen atoms, from (T, n or m, ...)."""
    chosen = values[:, atoms] if values.shape[1] == len(structure) else values
    if chosen.shape[:2] != (frames, len(atoms)):
        raise ValueError(f"values of shape {values.shape} do not fit {frames} frames of {len(atoms)} atoms")
    return chosen


def format_models(
    structure: Structure, frames: Floats, bfactors: Floats | None, atoms: NDArray[np.int64], *, bare: bool = False
) -> bytes:
    """PDB text of ``frames`` (T, n or m, 3) in nm for the m indices ``atoms``; see ``Structure.trajectory_pdb``.

    ``bare`` leaves out the MODEL records and keeps the altloc letters: one frame as a file of its own.
    """
    s, count = structure, len(frames)
    places = _per_frame(np.asarray(frames, dtype=np.float64) * 10.0, count, s, atoms)
    values = np.tile(s.bfactor, (count, 1)) if bfactors is None else np.asarray(bfactors, dtype=np.float64)
    values = np.clip(_per_frame(values, count, s, atoms), -99.99, 999.99)
    for t, a, axis in np.argwhere(~((places > -999.9995) & (places < 9999.9995)))[:1]:
        coordinate(float(places[t, a, axis]), "", f"{s.source}, frame {t + 1}, atom {s.name[atoms[a]]}")
    longer = [chain for chain in dict.fromkeys(s.chain.tolist()) if len(chain) > 1]
    spare = [c for c in CHAIN_LETTERS if c not in set(s.chain.tolist())] or list(CHAIN_LETTERS)
    letter = {chain: spare[k % len(spare)] for k, chain in enumerate(longer)}
    heads, tails, serial = [], [], 0
    for k, i in enumerate(atoms):
        serial, residue, chain = serial + 1, s.residue_of[i], letter.get(str(s.chain[i]), str(s.chain[i]))
        record, altloc = "HETATM" if s.hetatm[i] else "ATOM", str(s.altloc[i]) if bare else ""
        place = f"{s.resname[i][:4]:>3s}".ljust(4) + f"{chain:1s}{resnum_field(int(s.resnum[i]))}{s.icode[i][:1]:1s}"
        name = name_field(str(s.name[i]), str(s.element[i]))
        heads.append(f"{record:6s}{serial % 100000:5d} {name}{altloc:1s}{place}   ")
        tail = f"{s.element[i]:>12s}  \n"
        following = s.residue_of[atoms[k + 1]] if k + 1 < len(atoms) else -1
        if s.is_amino_acid(residue) and following != residue and not (
            following >= 0 and s.is_amino_acid(following) and s.chain[atoms[k + 1]] == s.chain[i]
        ):  # fmt: skip
            serial += 1
            tail += f"TER   {serial % 100000:5d}      {place}\n"
        tails.append(tail)
    text = [f"TITLE     {s.title[:70]}\n"] if s.title else []
    for t in range(count):
        text.append("" if bare else f"MODEL     {(t + 1) % 10000:4d}\n")
        rows = zip(heads, places[t].tolist(), s.occupancy[atoms].tolist(), values[t].tolist(), tails, strict=True)
        text += [f"{head}{x:8.3f}{y:8.3f}{z:8.3f}{o:6.2f}{b:6.2f}{tail}" for head, (x, y, z), o, b, tail in rows]
        text.append("" if bare else "ENDMDL\n")
    return "".join([*text, "END\n"]).encode()


def document_of(structure: Structure) -> PdbDocument:
    """A PDB file for a structure that came without one."""
    text = format_models(structure, structure.xyz[None], None, np.arange(len(structure)), bare=True).decode()
    lines = LINE.findall(text)
    return PdbDocument(tuple(lines), np.array([k for k, line in enumerate(lines) if _is_atom(line)]), "utf-8")
