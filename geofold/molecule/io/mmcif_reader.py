"""mmCIF files: the atom_site loop read with the place of every value (`mmcif_document` writes it).

CIF syntax after Hall, Allen and Brown (Acta Cryst. A47:655, 1991); items of the PDBx/mmCIF dictionary. The
author's numbering (auth_*) is preferred, as in PDB files and papers; label_* serves where it is absent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from geofold.errors import CoordinateError, InputFileError, NoProteinError
from geofold.molecule.io.mmcif_writer import AXES, CifDocument
from geofold.molecule.io.pdb import number_or
from geofold.molecule.selection import Place, atoms_by_place, bonds_between, guess_element, unique_links
from geofold.molecule.structure import Link, Row, Structure

TOKEN = re.compile(
    r"""^;[\s\S]*?\n;|'(?:[^'\r\n]|'(?=\S))*'(?=\s|\Z)|"(?:[^"\r\n]|"(?=\S))*"(?=\s|\Z)"""
    r"""|#[^\r\n]*|\S+""",
    re.MULTILINE,
)
CONTROL = re.compile(r"loop_$|data_|save_|global_$|stop_$", re.IGNORECASE)
COVALENT = ("covale", "disulf", "metalc")
SCHEME, SEQUENCE = "_pdbx_poly_seq_scheme", "_entity_poly_seq"


@dataclass(eq=False)
class Category:
    """Items of one category and the (start, end) of its values, row after row; filled while scanning."""

    text: str
    items: list[str] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)

    def column(self, *names: str) -> list[str]:
        """Values of the first of these items that a row gives, '' where none does ('?' and '.' give none)."""
        rows = len(self.spans) // max(len(self.items), 1)
        values = [""] * rows
        for name in names:
            if name in self.items:
                own = (self.value(span) for span in self.spans[self.items.index(name) :: len(self.items)])
                values = [value or other for value, other in zip(values, own, strict=True)]
        return values

    def columns(self) -> dict[str, list[str]]:
        """Values of every item, '' where a row gives none."""
        return {item: self.column(item) for item in self.items}

    def value(self, span: tuple[int, int]) -> str:
        """One value without its quotes."""
        raw = self.text[span[0] : span[1]]
        if raw[0] == ";" and "\n" in raw:
            return " ".join(raw[1:-1].split())
        quoted = len(raw) > 1 and raw[0] in "'\"" and raw[-1] == raw[0]
        return raw[1:-1] if quoted else "" if raw in ("?", ".") else raw


def scan(text: str, wanted: Sequence[str]) -> dict[str, Category]:
    """The wanted categories of the first data block that has atoms."""
    found: dict[str, Category] = {}
    current: Category | None = None
    in_header = False
    for match in TOKEN.finditer(text):
        start, end = match.span()
        first = text[start]
        if first == "#":
            continue
        if first == "_":
            name, _, item = text[start:end].lower().partition(".")
            if not in_header or current is None:
                current = None
                if name in wanted:
                    current = found.setdefault(name, Category(text))
            if current is not None:
                current.items.append(item)
        elif first in "lLdDsSgG" and CONTROL.match(text, start, end):
            in_header = text[start:end].lower() == "loop_"
            current = None
            if first in "dD":
                if "_atom_site" in found:
                    break
                found.clear()
        else:
            in_header = False
            if current is not None:
                current.spans.append((start, end))
    return found


def recognises(text: str) -> bool:
    """Whether the text is CIF: the first thing in it is a data block."""
    first = next((match.group() for match in TOKEN.finditer(text) if not match.group().startswith("#")), "")
    return first.lower().startswith("data_") or re.search(r"^_atom_site\.", text, re.MULTILINE) is not None


def parse(text: str, encoding: str, source: str) -> Structure:
    """First model of an mmCIF text.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
    found = scan(text, ("_atom_site", "_struct_conn", "_struct", SCHEME, SEQUENCE))
    sites = found.get("_atom_site", Category(text))
    width = len(sites.items)
    if not sites.spans:
        raise NoProteinError(f"{source} has no atom_site records", "a model in mmCIF", "give the model file")
    named = {"label_atom_id", "auth_atom_id"} & set(sites.items)
    if len(sites.spans) % width or not named or not set(AXES) <= set(sites.items):
        raise InputFileError(f"{source} has a damaged atom_site table", "complete rows with names and coordinates",
                             "fetch the file again")  # fmt: skip
    models = sites.column("pdbx_pdb_model_num")
    kept = [r for r, model in enumerate(models) if model == models[0]]
    structure = Structure.from_rows(_rows(sites, kept, source), source)
    spans = np.array(sites.spans, dtype=np.int64).reshape(-1, width, 2)[kept]
    numbers = [int(value) for value in sites.column("id") if value.isdecimal()]
    told = {name: found[name].columns() if name in found else {} for name in (SCHEME, SEQUENCE)}
    document = CifDocument(text, encoding, tuple(sites.items), spans, max(numbers, default=len(models)), told)
    count = len(set(models))
    notes = (f"{count} models: the first is used, the others are written as they are",) if count > 1 else ()
    title = " ".join(found["_struct"].column("title")) if "_struct" in found else ""
    links = unique_links(_links(structure, found.get("_struct_conn", Category(text))))
    return replace(structure, title=title, n_models=count, notes=notes, document=document, links=links)


def _line(sites: Category, row: int) -> int:
    return sites.text.count("\n", 0, sites.spans[row * len(sites.items)][0]) + 1


def _rows(sites: Category, kept: list[int], source: str) -> Iterator[Row]:
    """Rows of the first model, coordinates in nm."""
    name, resname, chain, resnum = (
        sites.column(f"auth_{item}", f"label_{item}") for item in ("atom_id", "comp_id", "asym_id", "seq_id")
    )
    icode, altloc, group = sites.column("pdbx_pdb_ins_code"), sites.column("label_alt_id"), sites.column("group_pdb")
    element, serial = sites.column("type_symbol"), sites.column("id")
    occupancy, bfactor = sites.column("occupancy"), sites.column("b_iso_or_equiv")
    xyz = [sites.column(axis) for axis in AXES]
    for r in kept:
        where = f"atom {name[r]} of {chain[r]}:{resnum[r]}{icode[r]}"
        position = [number_or(column[r].partition("(")[0], math.nan) / 10.0 for column in xyz]
        if not all(map(math.isfinite, position)):
            bad = next(column[r] or "?" for column, x in zip(xyz, position, strict=True) if not math.isfinite(x))
            raise CoordinateError(f"{source}, line {_line(sites, r)}: {where} has coordinate '{bad}'",
                                  "three numbers in Cartn_x, _y and _z", "mend or remove that atom")  # fmt: skip
        if not re.fullmatch(r"[-+]?\d+|", resnum[r]) or not name[r]:
            raise InputFileError(f"{source}, line {_line(sites, r)}: {where} has no valid number or name",
                                 "an atom name and an integer auth_seq_id", "mend that row")  # fmt: skip
        yield (
            name[r].upper(), resname[r].upper(), chain[r], icode[r], altloc[r],
            element[r].upper() or guess_element(f" {name[r]}", resname[r].upper()), int(resnum[r] or 0),
            int(serial[r]) if serial[r].isdecimal() else 0, group[r].upper() == "HETATM",
            number_or(occupancy[r], 1.0), number_or(bfactor[r], 0.0), *(position[0], position[1], position[2]),
        )  # fmt: skip


def _links(structure: Structure, table: Category) -> Iterator[Link]:
    """Covalent and metal bonds of struct_conn inside the asymmetric unit."""
    sides: list[list[tuple[Place, str]]] = []
    for k in (1, 2):
        chain, resnum = (table.column(f"ptnr{k}_auth_{x}", f"ptnr{k}_label_{x}") for x in ("asym_id", "seq_id"))
        name, icode = table.column(f"ptnr{k}_label_atom_id"), table.column(f"pdbx_ptnr{k}_pdb_ins_code")
        numbers = [int(value) if re.fullmatch(r"-?\d+", value) else 0 for value in resnum]
        places = zip(chain, numbers, icode, [value.upper() for value in name], strict=True)
        sides.append(list(zip(places, table.column(f"pdbx_ptnr{k}_label_alt_id"), strict=True)))
    by_place = atoms_by_place(structure) if table.spans else {}
    kinds = table.column("conn_type_id")
    symmetry = zip(table.column("ptnr1_symmetry"), table.column("ptnr2_symmetry"), strict=True)
    for one, two, kind, operators in zip(*sides, kinds, symmetry, strict=True):
        if kind.lower().startswith(COVALENT) and all(operator in ("", "1_555") for operator in operators):
            yield from bonds_between(structure, by_place, [one, two], "struct_conn")
