"""Records of the residues that geofold modelled, with the expected error of each.

PDB files have them as REMARK 99 (wwPDB format 3.3 leaves the remarks 6 to 99 to free text), mmCIF files as the category
``geofold_modelled_residue``, whose name no dictionary uses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from geofold.molecule.io.cif_tokens import scan, tokens
from geofold.molecule.io.hybrid36 import decode36, encode36
from geofold.molecule.modelled_residue import ModelledResidue, ResidueKey
from geofold.molecule.numbers import parse_decimal, parse_int
from geofold.molecule.structure import Structure

REMARK = "REMARK  99 GEOFOLD"
HEAD = (
    f"{REMARK} MODELLED THE RESIDUES BELOW. EXPECTED ERROR (A) OF THE",
    f"{REMARK} BACKBONE OF EACH, ALSO IN THE B-FACTOR COLUMN IF IT IS KNOWN",
)
ENTRY = re.compile(rf"{REMARK} +(\S{{1,3}}) (.)(....)(.) +(\S+)")
BEFORE_REMARKS = (
    *("HEADER", "OBSLTE", "TITLE", "SPLIT", "CAVEAT", "COMPND", "SOURCE", "KEYWDS", "EXPDTA", "NUMMDL", "MDLTYP"),
    *("AUTHOR", "REVDAT", "SPRSDE", "JRNL"),
)
"""Records that come before the remarks."""
CATEGORY = "_geofold_modelled_residue"
ITEMS = ("auth_asym_id", "auth_seq_id", "pdbx_PDB_ins_code", "auth_comp_id", "expected_error")
UNKNOWN = "?"
LINE_END = re.compile(r"[ \t]*(\r\n|\n|\r)")
REST_OF_TABLE, RULE_BEFORE = re.compile(r"[ \t]*(?:\r?\n)?(?:#[ \t]*\r?\n)?"), re.compile(r"#[ \t]*\r?\n\Z")
"""End of the last row with the line of a comment sign that ends the table, and that line before a table."""
Entries = dict[ResidueKey, ModelledResidue]


def modelled_entries(structure: Structure, errors: Mapping[int, float | None]) -> Entries:
    """Entries of residues of a structure by their indices, from expected errors (A)."""
    residues = {k: structure.residues[k] for k in errors}
    return {(r.chain, r.resnum, r.icode): ModelledResidue(r.resname, errors[k]) for k, r in residues.items()}


def is_modelled_remark(line: str) -> bool:
    """Whether a line of a PDB file belongs to these records."""
    return line.startswith(REMARK)


def modelled_remarks(entries: Entries) -> list[str]:
    """Lines of a PDB file without their ends."""
    rows = [
        f"{REMARK} {entry.name:>3s} {chain[:1]:1s}{encode36(number, 4)}{icode:1s} {_text(entry):>7s}"
        for (chain, number, icode), entry in entries.items()
    ]
    return [line.ljust(80) for line in (*HEAD, *rows)] if rows else []


def read_modelled_remarks(lines: Sequence[str]) -> Entries:
    """Entries of the lines of a PDB file."""
    entries: Entries = {}
    for match in filter(None, map(ENTRY.match, lines)):
        name, chain, number, icode, error = match.groups()
        resnum = decode36(number, 4)
        if resnum is not None:
            entries[chain.strip(), resnum, icode.strip()] = ModelledResidue(name, parse_decimal(error))
    return entries


def place_of_remarks(lines: Sequence[str]) -> int:
    """Line of a PDB file before which REMARK 99 belongs: after the title records and the remarks up to 99."""
    for k, line in enumerate(lines):
        number = parse_int(line[6:10]) if line.startswith("REMARK") else None
        if not (line[:6].rstrip() in BEFORE_REMARKS or (number is not None and number <= 99)):
            return k
    return len(lines)


def modelled_category(entries: Entries) -> str:
    """Text of the mmCIF category, empty without entries."""
    rows = [
        " ".join((_cif(chain), str(number), _cif(icode), _cif(entry.name), _text(entry)))
        for (chain, number, icode), entry in entries.items()
    ]
    items = [f"{CATEGORY}.{item}" for item in ITEMS]
    return "\n".join(["#", "loop_", *items, *rows, "#", ""]) if rows else ""


def read_modelled_category(text: str) -> Entries:
    """Entries of the mmCIF category; empty if it lacks an item."""
    category = scan(text, (CATEGORY, "_atom_site")).get(CATEGORY)
    wanted = [item.lower() for item in ITEMS]
    if category is None or not category.is_complete() or not set(wanted) <= set(category.items):
        return {}
    rows = zip(*(category.column(item) for item in wanted), strict=True)
    return {
        (chain, number, icode): ModelledResidue(name, parse_decimal(error))
        for chain, text_number, icode, name, error in rows
        if (number := parse_int(text_number)) is not None
    }


def category_edits(text: str, atoms: int, entries: Entries) -> list[tuple[int, int, str]]:
    """Edits of an mmCIF text (start, end, new text) that put the category in place of the one that is there.

    Parameters
    ----------
    text : str
    atoms : int
        Place of the first atom.
    entries : dict
    """
    head, old = places_of_category(text, atoms)
    line_end = LINE_END.match(text, head)
    place, new_line = (line_end.end(), line_end[1]) if line_end else (head, "\n")
    table = modelled_category(entries).replace("\n", new_line)
    removed = [(*old, "")] if old is not None else []
    return [*removed, (place, place, table if line_end else new_line + table)]


def places_of_category(text: str, atoms: int) -> tuple[int, tuple[int, int] | None]:
    """Place in an mmCIF text after the head of the atoms' data block, and the part of the block with the category.

    Parameters
    ----------
    text : str
    atoms : int
        Place of the first atom.

    Returns
    -------
    (int, (int, int) or None)
    """
    head, loop, start, end, inside = 0, 0, -1, 0, False
    for first, last in tokens(text):
        word = text[first:last].lower()
        if word.startswith("data_"):
            if first > atoms:
                break
            head, start, inside = last, -1, False
        elif word == "loop_":
            loop, inside = first, False
        elif word.startswith("_"):
            inside = word.startswith(f"{CATEGORY}.")
            start = loop if inside and start < 0 else start
        if inside and not word.startswith("#"):
            end = last
    if start < 0:
        return head, None
    end_of_rows = REST_OF_TABLE.match(text, end)
    before = RULE_BEFORE.search(text, max(0, start - 4), start)
    return head, (before.start() if before else start, end_of_rows.end() if end_of_rows else end)


def _text(entry: ModelledResidue) -> str:
    return UNKNOWN if entry.error is None else f"{entry.error:.2f}"


def _cif(value: str) -> str:
    """Write a value as CIF requires; '.' for an empty one."""
    return f'"{value}"' if any(c in value for c in " '#_;$[]") else value or "."
