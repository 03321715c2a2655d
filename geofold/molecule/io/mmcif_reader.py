"""mmCIF files: the atom_site loop read with the place of every value (`mmcif_document` writes it).

Items are those of the PDBx/mmCIF dictionary. The author's numbering (auth_*) is preferred, as in PDB files and papers;
label_* serves where it is absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from geofold.errors import CoordinateError, InputFileError, NoProteinError
from geofold.molecule.io.cif_tokens import Category, scan, tokens
from geofold.molecule.io.mmcif_writer import AXES, CifDocument
from geofold.molecule.numbers import LARGEST_INTEGER, LARGEST_REAL, abbreviate, parse_cif_real, parse_int
from geofold.molecule.selection import AtomSite, atoms_by_site, guess_element, links_between, unique_links
from geofold.molecule.structure import Link, Row, Structure

COVALENT = ("covale", "disulf", "metalc")
SCHEME, SEQUENCE = "_pdbx_poly_seq_scheme", "_entity_poly_seq"


def recognises(text: str) -> bool:
    """Whether the text is CIF: the first thing in it is a data block."""
    first = next(((start, end) for start, end in tokens(text) if text[start] != "#"), (0, 0))
    if text[slice(*first)].lower().startswith("data_"):
        return True
    return re.search(r"^_atom_site\.", text, re.MULTILINE) is not None


def parse(text: str, encoding: str, source: str) -> Structure:
    """First model of an mmCIF text.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
    found = scan(text, ("_atom_site", "_struct_conn", "_struct", SCHEME, SEQUENCE))
    sites = found.get("_atom_site", Category(text))
    if not sites.spans:
        raise NoProteinError(f"{source} has no atom_site records", "a model in mmCIF", "give the model file")
    named = {"label_atom_id", "auth_atom_id"} & set(sites.items)
    damaged = [name for name, table in found.items() if not table.is_complete()]
    if damaged or not named or not set(AXES) <= set(sites.items):
        table = damaged[0].removeprefix("_") if damaged else "atom_site"
        expected = "complete rows" if table != "atom_site" else "complete rows with names and coordinates"
        raise InputFileError(f"{source} has a damaged {table} table", expected, "fetch the file again")
    models = sites.column("pdbx_pdb_model_num")
    kept = [r for r, model in enumerate(models) if model == models[0]]
    structure = Structure.from_rows(_rows(sites, kept, source), source)
    spans = np.array(sites.spans, dtype=np.int64).reshape(-1, len(sites.items), 2)[kept]
    numbers = [number for number in map(parse_int, sites.column("id")) if number is not None]
    told = {name: found[name].columns() if name in found else {} for name in (SCHEME, SEQUENCE)}
    document = CifDocument(text, encoding, tuple(sites.items), spans, max(numbers, default=len(models)), told)
    count = len(set(models))
    notes = (f"{count} models: the first is used, the others are written as they are",) if count > 1 else ()
    title = " ".join(found["_struct"].column("title")) if "_struct" in found else ""
    links = unique_links(_links(structure, found.get("_struct_conn", Category(text))))
    return replace(structure, title=title, n_models=count, notes=notes, document=document, links=links)


def _real_or(text: str, default: float) -> float:
    value = parse_cif_real(text)
    return default if value is None else value


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
        x, y, z = (parse_cif_real(column[r]) for column in xyz)
        number = parse_int(resnum[r]) if resnum[r] else 0
        if x is None or y is None or z is None or number is None or not name[r]:
            place = f"{chain[r]}:{abbreviate(resnum[r])}{icode[r]}"
            where = f"{source}, line {_line(sites, r)}: atom {abbreviate(name[r])} of {place}"
            if number is None or not name[r]:
                raise InputFileError(
                    f"{where} has no valid number or name",
                    f"an atom name and an integer auth_seq_id up to {LARGEST_INTEGER}",
                    "mend that row",
                )
            bad = next(column[r] or "?" for column, value in zip(xyz, (x, y, z), strict=True) if value is None)
            raise CoordinateError(
                f"{where} has coordinate '{abbreviate(bad)}'",
                f"three numbers up to {LARGEST_REAL:,.0f} A in Cartn_x, _y and _z",
                "mend or remove that atom",
            )
        yield (
            name[r].upper(),
            resname[r].upper(),
            chain[r],
            icode[r],
            altloc[r],
            element[r].upper() or guess_element(f" {name[r]}", resname[r].upper()),
            number,
            parse_int(serial[r]) or 0,
            group[r].upper() == "HETATM",
            _real_or(occupancy[r], 1.0),
            _real_or(bfactor[r], 0.0),
            x / 10.0,
            y / 10.0,
            z / 10.0,
        )


def _links(structure: Structure, table: Category) -> Iterator[Link]:
    """Covalent and metal bonds of struct_conn inside the asymmetric unit."""
    sides: list[list[tuple[AtomSite, str]]] = []
    for k in (1, 2):
        chain, resnum = (table.column(f"ptnr{k}_auth_{x}", f"ptnr{k}_label_{x}") for x in ("asym_id", "seq_id"))
        name, icode = table.column(f"ptnr{k}_label_atom_id"), table.column(f"pdbx_ptnr{k}_pdb_ins_code")
        numbers = [parse_int(value) or 0 for value in resnum]
        places = zip(chain, numbers, icode, [value.upper() for value in name], strict=True)
        sides.append(list(zip(places, table.column(f"pdbx_ptnr{k}_label_alt_id"), strict=True)))
    by_place = atoms_by_site(structure) if table.spans else {}
    kinds = table.column("conn_type_id")
    symmetry = zip(table.column("ptnr1_symmetry"), table.column("ptnr2_symmetry"), strict=True)
    for one, two, kind, operators in zip(*sides, kinds, symmetry, strict=True):
        if kind.lower().startswith(COVALENT) and all(operator in ("", "1_555") for operator in operators):
            yield from links_between(structure, by_place, [one, two], "struct_conn")
