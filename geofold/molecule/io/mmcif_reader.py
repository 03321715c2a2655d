"""mmCIF files: the atom_site loop is read with the place of every value, which `mmcif_writer` needs.

Items are those of the PDBx/mmCIF dictionary. The author's numbering (auth_*) is preferred, as in PDB files and papers;
label_* serves where it is absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.errors import CoordinateError, InputFileError, NoProteinError
from geofold.molecule.io.cif_tokens import Category, scan
from geofold.molecule.io.content import decode
from geofold.molecule.io.format import Format
from geofold.molecule.io.link_records import CONNECTIONS
from geofold.molecule.io.mmcif_writer import AXES, CifDocument
from geofold.molecule.io.sequence_records import ENTITIES, SCHEME
from geofold.molecule.numbers import LARGEST_INTEGER, LARGEST_REAL, abbreviate, parse_cif_real, parse_int
from geofold.molecule.selection import guess_element
from geofold.molecule.structure import Row, Structure

DATA_BLOCK = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s|#[^\r\n]*)*+data_", re.IGNORECASE)
ATOM_SITE = re.compile(rb"^_atom_site\.", re.MULTILINE)
DIGITS = frozenset("0123456789+-")


def recognises(content: bytes) -> bool:
    """Whether the content is CIF: it starts with a data block, after comments, or has items of atom_site."""
    return DATA_BLOCK.match(content) is not None or ATOM_SITE.search(content) is not None


def parse(content: bytes, source: str) -> Structure:
    """First model of the content of an mmCIF file.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
    return parse_text(*decode(content, source), source)


def parse_text(text: str, encoding: str, source: str) -> Structure:
    """First model of an mmCIF text; `encoding` is that in which it is written.

    Raises
    ------
    NoProteinError, InputFileError, CoordinateError
    """
    tables = scan(text, ("_atom_site", "_struct", CONNECTIONS, SCHEME, ENTITIES))
    sites = tables.get("_atom_site", Category(text))
    if not len(sites):
        raise NoProteinError(f"{source} has no atom_site records", "a model in mmCIF", "give the model file")
    has_names = bool({"label_atom_id", "auth_atom_id"} & set(sites.items))
    damaged = [name for name, table in tables.items() if not table.is_complete()]
    if damaged or not has_names or not set(AXES) <= set(sites.items):
        table = damaged[0].removeprefix("_") if damaged else "atom_site"
        expected = "complete rows" if table != "atom_site" else "complete rows with names and coordinates"
        raise InputFileError(f"{source} has a damaged {table} table", expected, "fetch the file again")
    models = sites.column("pdbx_pdb_model_num")
    first_model = [r for r, model in enumerate(models) if model == models[0]]
    spans = sites.places.reshape(-1, len(sites.items), 2)[first_model]
    records = {name: tables[name].columns() for name in (CONNECTIONS, SCHEME, ENTITIES) if name in tables}
    document = CifDocument(text, encoding, tuple(sites.items), spans, _last_serial(sites.column("id")), records)
    columns = atom_columns(sites, first_model)
    structure = (
        Structure.from_rows(_rows(sites, first_model, source), source)
        if columns is None
        else Structure.from_columns(columns, count_residues(columns), source)
    )
    count = len(set(models))
    return replace(
        structure,
        title=" ".join(tables["_struct"].column("title")) if "_struct" in tables else "",
        n_models=count,
        notes=(f"{count} models: the first is used, the others are written as they are",) if count > 1 else (),
        document=document,
        links=document.links(structure),
    )


MMCIF = Format("mmCIF", (".cif", ".mmcif"), "mmCIF", recognises, parse)


def _last_serial(serials: list[str]) -> int:
    """Highest id of an atom; their number if none has one."""
    parsed = parse_numbers(serials, int, LARGEST_INTEGER)
    numbers = map(parse_int, serials) if parsed is None else parsed.tolist()
    return max((number for number in numbers if number is not None), default=len(serials))


def _real_or(text: str, default: float) -> float:
    value = parse_cif_real(text)
    return default if value is None else value


def _line(sites: Category, row: int) -> int:
    return sites.text.count("\n", 0, int(sites.places[row * len(sites.items), 0])) + 1


def _rows(sites: Category, first_model: list[int], source: str) -> Iterator[Row]:
    """Rows of the first model, coordinates in nm."""
    name, resname, chain, resnum = (
        sites.column(f"auth_{item}", f"label_{item}") for item in ("atom_id", "comp_id", "asym_id", "seq_id")
    )
    icode, altloc, group = sites.column("pdbx_pdb_ins_code"), sites.column("label_alt_id"), sites.column("group_pdb")
    element, serial = sites.column("type_symbol"), sites.column("id")
    occupancy, bfactor = sites.column("occupancy"), sites.column("b_iso_or_equiv")
    xyz = [sites.column(axis) for axis in AXES]
    for r in first_model:
        x, y, z = (parse_cif_real(column[r]) for column in xyz)
        number = parse_int(resnum[r]) if resnum[r] else 0
        if x is None or y is None or z is None or number is None or not name[r]:
            place = f"{chain[r]}:{abbreviate(resnum[r])}{icode[r]}"
            where = f"{source}, line {_line(sites, r)}: atom {abbreviate(name[r])} of {place}"
            if number is None or not name[r]:
                raise InputFileError(
                    f"{where} has no valid number or name",
                    f"an atom name and an integer auth_seq_id up to {LARGEST_INTEGER}",
                    "correct that row",
                )
            bad = next(column[r] or "?" for column, value in zip(xyz, (x, y, z), strict=True) if value is None)
            raise CoordinateError(
                f"{where} has coordinate '{abbreviate(bad)}'",
                f"three numbers up to {LARGEST_REAL:,.0f} A in Cartn_x, _y and _z",
                "correct or remove that atom",
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


def atom_columns(sites: Category, rows: Sequence[int]) -> dict[str, NDArray[Any]] | None:
    """Columns of `Structure` for some rows of a complete category; None if a value is missing or irregular.

    It is an order of magnitude faster than reading row by row, which finds out what is wrong with a value.

    Parameters
    ----------
    sites : Category
    rows : sequence of int
        In ascending order.
    """
    everything = len(rows) * len(sites.items) == len(sites)

    def column(*names: str) -> list[str]:
        values = sites.column(*names)
        return values if everything else [values[r] for r in rows]

    name, resname, chain, resnum = (
        column(f"auth_{item}", f"label_{item}") for item in ("atom_id", "comp_id", "asym_id", "seq_id")
    )
    name, resname = [text.upper() for text in name], [text.upper() for text in resname]
    symbols = zip(column("type_symbol"), name, resname, strict=True)
    xyz = [parse_numbers(column(f"cartn_{axis}"), float, LARGEST_REAL) for axis in "xyz"]
    number = parse_numbers([text or "0" for text in resnum], int, LARGEST_INTEGER)
    serial = parse_numbers([text or "0" for text in column("id")], int, LARGEST_INTEGER)
    occupancy = parse_numbers([text or "1" for text in column("occupancy")], float, LARGEST_REAL)
    bfactor = parse_numbers([text or "0" for text in column("b_iso_or_equiv")], float, LARGEST_REAL)
    numbers = {"resnum": number, "serial": serial, "occupancy": occupancy, "bfactor": bfactor}
    if not all(name) or any(values is None for values in (*xyz, *numbers.values())):
        return None
    texts = {
        "name": name,
        "resname": resname,
        "chain": chain,
        "icode": column("pdbx_pdb_ins_code"),
        "altloc": column("label_alt_id"),
        "element": [own.upper() or guess_element(f" {atom}", residue) for own, atom, residue in symbols],
    }
    hetatm = np.array([text.upper() == "HETATM" for text in column("group_pdb")])
    table: dict[str, Any] = {key: np.array(values, dtype=np.str_) for key, values in texts.items()}
    return table | numbers | {"hetatm": hetatm, "xyz": np.stack(xyz, 1) / 10.0}  # type: ignore[arg-type]


def count_residues(columns: dict[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Residue (n,) of each atom: another one begins where chain, number or insertion code change."""
    starts = np.zeros(len(columns["name"]), dtype=np.int64)
    for key in ("chain", "resnum", "icode"):
        starts[1:] |= columns[key][1:] != columns[key][:-1]
    return np.asarray(np.cumsum(starts))


def parse_numbers(texts: list[str], parse: Callable[[str], float], limit: float) -> NDArray[Any] | None:
    """Parse decimal numbers up to a limit; None if one is anything else, or there is none."""
    allowed = DIGITS if parse is int else DIGITS | {"."}
    if not allowed.issuperset("".join(texts)):
        return None
    try:
        values = np.array([parse(text) for text in texts], dtype=np.int64 if parse is int else np.float64)
    except (ValueError, OverflowError):
        return None
    return values if len(values) and np.abs(values).max() <= limit else None
