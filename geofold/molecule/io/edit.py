"""New residues in a structure and in its file: their lines come in behind the residue before them, the rest stays.

Serial numbers go on after the highest of the file, so that what refers to atoms by number (CONECT) stays valid. A TER
record in the gap goes: the chain does not end there any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from geofold.molecule.io.hybrid36 import encode36
from geofold.molecule.io.mmcif_writer import AXES, CifDocument, coordinate, quoted
from geofold.molecule.io.pdb import PdbDocument, bfactor_field, document_of, highest_serial, name_field
from geofold.molecule.io.pdb import coordinate as column
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.numbers import parse_int
from geofold.molecule.selection import ELEMENTS, Number
from geofold.molecule.structure import AddedAtom, Floats, Link, Mask, Structure

ATTACHED = ("ANISOU", "SIGATM", "SIGUIJ")
"""Records that follow the line of an atom."""


@dataclass(frozen=True, eq=False)
class NewResidue:
    """A residue to come in: names and elements of its atoms (m), and their places (m, 3) in nm."""

    name: str
    number: Number
    atoms: tuple[str, ...]
    elements: tuple[str, ...]
    xyz: Floats


def with_residues(structure: Structure, before: int, removed: Sequence[int], new: Sequence[NewResidue]) -> Structure:
    """The structure without residues `removed` and with new ones after residue `before`.

    What stays keeps its coordinates to the last bit. Links of the new atoms are not made, even where a record of the
    file names them: nothing says that the built residues honour them.
    """
    leaving = np.isin(structure.residue_of, np.asarray(removed, dtype=np.int64))
    document = structure.document or document_of(structure)
    if isinstance(document, CifDocument):
        content = _cif(structure, document, before, leaving, new)
    else:
        assert isinstance(document, PdbDocument)
        content = _pdb(structure, document, before, leaving, new)
    found = read(content, name=structure.source)
    place = np.cumsum(~leaving) - 1
    place[int(structure.residues[before].atoms[-1]) + 1 :] += sum(len(residue.atoms) for residue in new)
    xyz = np.empty_like(found.xyz)
    xyz[place[~leaving]] = structure.xyz[~leaving]
    first = int(place[structure.residues[before].atoms[-1]]) + 1
    places = np.concatenate([residue.xyz for residue in new])
    xyz[first : first + len(places)] = places
    links = tuple(
        Link(int(place[link.i]), int(place[link.j]), link.source)
        for link in structure.links
        if not leaving[[link.i, link.j]].any()
    )
    return replace(found, xyz=xyz, links=links, notes=structure.notes)


def with_atoms(structure: Structure, added: Sequence[AddedAtom]) -> Structure:
    """The structure with atoms added to its residues; its notes stay."""
    content = render(structure, structure.xyz, np.zeros(len(structure), dtype=bool), added)
    return replace(read(content, name=structure.source), notes=structure.notes)


def without_atoms(structure: Structure, gone: Mask) -> Structure:
    """The structure as its PDB file without the lines of some atoms (n_atoms,) has it."""
    document = structure.document or document_of(structure)
    assert isinstance(document, PdbDocument)
    dropped = set[int]()
    for k in document.atom_lines[gone].tolist():
        dropped |= {k, *_attached(document.lines, k)}
    kept = "".join(line for k, line in enumerate(document.lines) if k not in dropped)
    return read(kept.encode(document.encoding), name=structure.source)


def _bfactor(structure: Structure, before: int, after: int) -> float:
    """Mean of the residues on both sides."""
    return float(np.mean([structure.bfactor[structure.residues[k].atoms].mean() for k in (before, after)]))


def _pdb(
    structure: Structure, document: PdbDocument, before: int, leaving: np.ndarray, new: Sequence[NewResidue]
) -> bytes:
    lines, gone = document.lines, set[int]()
    for k in document.atom_lines[leaving].tolist():
        gone |= {k, *_attached(lines, k)}
    last = int(document.atom_lines[structure.residues[before].atoms[-1]])
    after = before + len(set(structure.residue_of[leaving].tolist())) + 1
    following = int(document.atom_lines[structure.residues[after].atoms[0]])
    gone |= {k for k in range(last, following) if lines[k].startswith("TER")}  # the chain goes on
    template, place = lines[last], last + 1 + len(_attached(lines, last))
    bfactor = _bfactor(structure, before, after)
    serial, added = highest_serial(document.lines), []
    for residue in new:
        where = f"{structure.source}, residue {residue.number[0]}{residue.number[1]}"
        for name, element, xyz in zip(residue.atoms, residue.elements, residue.xyz, strict=True):
            serial += 1
            fields = "".join(column(value, "", where) for value in (xyz * 10.0).tolist())
            head = f"ATOM  {encode36(serial, 5)} {name_field(name, element)} {residue.name:>3s}"
            owner = f"{template[21:22]}{encode36(residue.number[0], 4)}{residue.number[1]:1s}"
            line = f"{head} {owner}   {fields}{1.0:6.2f}{bfactor_field(bfactor)}"
            added.append(_ended(line, element, template, document))
    kept = ["" if k in gone else line for k, line in enumerate(lines)]
    return "".join([*kept[:place], *added, *kept[place:]]).encode(document.encoding)


def _attached(lines: Sequence[str], k: int) -> list[int]:
    """The lines that belong to the atom of a line."""
    end = k + 1
    while end < len(lines) and lines[end].startswith(ATTACHED):
        end += 1
    return list(range(k + 1, end))


def _ended(line: str, element: str, template: str, document: PdbDocument) -> str:
    """A line with the last columns and the line end of another one."""
    body = template.rstrip("\r\n")
    end = template[len(body) :] or document.lines[0][len(document.lines[0].rstrip("\r\n")) :] or "\n"
    if len(body) < 78:
        return line.ljust(len(body)) + end
    told = body[76:78].strip().upper() in ELEMENTS  # else another program's columns, as in files of old
    return (f"{line}{body[66:76]}{element:>2s}" if told else line).ljust(len(body)) + end


def _cif(
    structure: Structure, document: CifDocument, before: int, leaving: np.ndarray, new: Sequence[NewResidue]
) -> bytes:
    last = int(structure.residues[before].atoms[-1])
    after = before + len(set(structure.residue_of[leaving].tolist())) + 1
    bfactor = _bfactor(structure, before, after)
    items = ("label_asym_id", "label_entity_id", "auth_asym_id", "pdbx_pdb_model_num")
    common = {item: document.value(last, item) for item in items}
    labels = _labels(structure, document, before, after, len(new))
    rows, serial = [], document.last_id
    for k, residue in enumerate(new):
        number, icode = residue.number
        where = f"{structure.source}, residue {number}{icode}"
        for name, element, xyz in zip(residue.atoms, residue.elements, residue.xyz, strict=True):
            serial += 1
            rows.append(
                {
                    **common,
                    "group_pdb": "ATOM",
                    "id": str(serial),
                    "type_symbol": element,
                    "label_atom_id": quoted(name),
                    "auth_atom_id": quoted(name),
                    "label_alt_id": ".",
                    "label_comp_id": residue.name,
                    "auth_comp_id": residue.name,
                    "label_seq_id": labels[k] or str(number),
                    "auth_seq_id": str(number),
                    "pdbx_pdb_ins_code": icode or "?",
                    "occupancy": "1.00",
                    "b_iso_or_equiv": f"{bfactor:.2f}",
                    **dict(zip(AXES, (coordinate(value, where) for value in (xyz * 10.0).tolist()), strict=True)),
                }
            )
    return document.rebuilt(np.flatnonzero(leaving).tolist(), last, rows)


def _labels(structure: Structure, document: CifDocument, before: int, after: int, count: int) -> list[str]:
    """label_seq_id of the new residues: counted on where the file leaves as many, '.' where not.

    '' stands for the residue's own number, where the file has no other one.
    """
    if "auth_seq_id" not in document.items:
        return [""] * count
    ends = [document.value(int(structure.residues[k].atoms[0]), "label_seq_id") for k in (before, after)]
    first, last = map(parse_int, ends)
    if first is not None and last is not None and last - first - 1 == count:
        return [str(first + k + 1) for k in range(count)]
    return ["."] * count
