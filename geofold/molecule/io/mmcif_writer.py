"""mmCIF document: the text of a file, edited and written with new values in its own layout; every other byte stays."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.errors import OutputError
from geofold.molecule.io.cif_tokens import Columns
from geofold.molecule.io.link_records import CONNECTIONS, cif_links
from geofold.molecule.io.modelled_records import category_edits, modelled_entries, read_modelled_category
from geofold.molecule.io.prediction_records import prediction_of_text
from geofold.molecule.io.sequence_records import cif_sequences
from geofold.molecule.modelled_residue import ModelledResidue, ResidueKey
from geofold.molecule.numbers import parse_cif_real, parse_int
from geofold.molecule.records import NewResidue, RecordedSequence, Side, neighbours_of_new
from geofold.molecule.structure import AddedAtom, Floats, Link, Mask, Structure

Spans = NDArray[np.int64]
Edit = tuple[int, int, str]
"""Start and end of a part of the text, and what replaces it."""
Row = tuple[Edit, Spans]
"""Edit that inserts a row, and the (items, 2) places of its values in the new text."""

BLANKS = re.compile(r" *")
LINE_END = re.compile(r"[ \t]*(\r\n|\n|\r)")
MAX_WIDTH = 64
"""Characters before a value that are searched for blanks; no coordinate is longer."""
MAX_DECIMALS = 9
"""Decimals of a written coordinate; double precision keeps as many of the largest ones."""
AXES = ("cartn_x", "cartn_y", "cartn_z")
CHAIN = ("auth_asym_id", "label_asym_id")
NEW_ATOM = {"label_alt_id": ".", "occupancy": "1.00"}
"""Values of every inserted atom."""


@dataclass(frozen=True, eq=False)
class CifDocument:
    """Text of an mmCIF file.

    Attributes
    ----------
    text : str
    encoding : str
        Encoding that gives the bytes of the file back.
    items : tuple of str
        Items of the atom_site category, lower case.
    spans : (n, items, 2) int
        Start and end in the text of every value of each atom of the first model, in increasing order.
    last_serial : int
        Highest id of an atom, deleted ones included.
    tables : mapping of str to Columns
        Categories that name bonds and sequences.
    """

    text: str
    encoding: str
    items: tuple[str, ...]
    spans: Spans
    last_serial: int
    tables: Mapping[str, Columns]

    def render(self, structure: Structure, xyz: Floats, moved: Mask) -> bytes:
        """Write the file with the coordinates of `moved` atoms; see `geofold.molecule.io.write.render`."""
        edits: list[Edit] = []
        columns = [self.items.index(axis) for axis in AXES]
        starts, ends = np.moveaxis(self.spans[:, columns] - self.spans[:, :1, :1], 2, 0)
        flush_right = ((np.ptp(ends, axis=0) == 0) & (np.ptp(starts, axis=0) > 0)).tolist()
        for i in np.flatnonzero(moved):
            residue = structure.residues[structure.residue_of[i]]
            where, floor = f"{structure.source}, atom {structure.name[i]} of {residue.label}", 0
            for column, value, right in zip(columns, (xyz[i] * 10.0).tolist(), flush_right, strict=True):
                start, end = self.spans[i, column].tolist()
                new = _coordinate(value, self.text[start:end], where)
                if new != self.text[start:end]:
                    edits.append(self._fitted(start, end, new, floor, right))
                    floor = edits[-1][1]
        return self._edited_text(edits).encode(self.encoding)

    def insert_atoms(self, structure: Structure, added: Sequence[AddedAtom]) -> CifDocument:
        """Insert atoms, sorted by residue; a new row follows the last of its residue and is laid out like it."""
        rows = []
        for number, atom in enumerate(added, self.last_serial + 1):
            residue = structure.residues[atom.residue]
            same_name = residue.atoms[structure.resname[residue.atoms] == residue.resname]
            where = f"{structure.source}, added atom {atom.name} of {residue.label}"
            values = NEW_ATOM | {
                "id": str(number),
                "type_symbol": atom.element,
                "label_atom_id": _quoted(atom.name),
                "auth_atom_id": _quoted(atom.name),
                "b_iso_or_equiv": f"{structure.mean_bfactor((atom.residue,)):.2f}",
                "pdbx_formal_charge": "?",
                **_position(atom.xyz, where),
            }
            values |= {item: "?" for item in self.items if item.endswith("_esd")}
            rows.append(self._row_after(int(residue.atoms[-1]), int(same_name[-1]), values))
        return self._with_rows(rows)

    def insert_residues(
        self, structure: Structure, anchor: int, new: Sequence[NewResidue], side: Side = "between"
    ) -> CifDocument:
        """Insert residues on a side of residue `anchor`; values that follow from nothing are unknown, '?'."""
        last = int(structure.residues[anchor].atoms[0 if side == "before" else -1])
        bfactor = structure.mean_bfactor(neighbours_of_new(anchor, side))
        inherited = ("label_asym_id", "label_entity_id", "auth_asym_id", "pdbx_pdb_model_num")
        common = dict.fromkeys(self.items, "?") | NEW_ATOM | {item: self._value(last, item) for item in inherited}
        labels = self._sequence_ids(structure, anchor, new, side)
        rows, serial = [], self.last_serial
        for residue, label in zip(new, labels, strict=True):
            number, icode = residue.number
            where = f"{structure.source}, residue {number}{icode}"
            for name, element, xyz in zip(residue.atoms, residue.elements, residue.xyz, strict=True):
                serial += 1
                values = common | {
                    "group_pdb": "HETATM" if residue.hetatm else "ATOM",
                    "id": str(serial),
                    "type_symbol": element,
                    "label_atom_id": _quoted(name),
                    "auth_atom_id": _quoted(name),
                    "label_comp_id": residue.name,
                    "auth_comp_id": residue.name,
                    "label_seq_id": label or str(number),
                    "auth_seq_id": str(number),
                    "pdbx_pdb_ins_code": icode or "?",
                    "b_iso_or_equiv": f"{bfactor:.2f}",
                    **_position(xyz, where),
                }
                rows.append(self._row_before(last, values) if side == "before" else self._row_after(last, last, values))
        return self._with_rows(rows)

    def delete_atoms(self, gone: Mask) -> CifDocument:
        """Delete the rows of the atoms of a mask (n_atoms,)."""
        edits = [self._row_edit(atom) for atom in np.flatnonzero(gone).tolist()]
        spans = _shifted(self.spans[~gone], edits)
        return replace(self, text=self._edited_text(edits), spans=spans)

    def links(self, structure: Structure) -> tuple[Link, ...]:
        """Covalent and metal bonds of ``struct_conn`` inside the asymmetric unit."""
        return cif_links(structure, self.tables.get(CONNECTIONS, {}))

    def sequences(self) -> dict[str, RecordedSequence]:
        """Sequences of ``pdbx_poly_seq_scheme``, or of ``entity_poly_seq``."""
        return cif_sequences(self.tables, self._entity_of_chain)

    def describe_residues(self, structure: Structure, errors: Mapping[int, float | None]) -> CifDocument:
        """Write expected errors (A) in B_iso_or_equiv, and a category that names the residues, at the block's head."""
        edits: list[Edit] = []
        column = self.items.index("b_iso_or_equiv") if "b_iso_or_equiv" in self.items else None
        written = {residue: error for residue, error in errors.items() if error is not None and column is not None}
        for residue, error in written.items():
            for start, end in self.spans[structure.residues[residue].atoms, column].tolist():
                edits.append((start, end, f"{error:.2f}".ljust(end - start)))
        entries = self.modelled_residues() | modelled_entries(structure, errors)
        edits += category_edits(self.text, int(self.spans[:, 0, 0].min()), entries)
        return replace(self, text=self._edited_text(edits), spans=_shifted(self.spans, edits))

    def modelled_residues(self) -> dict[ResidueKey, ModelledResidue]:
        """Residues of the category of `describe_residues`."""
        return read_modelled_category(self.text)

    def prediction(self) -> str | None:
        """Record that says that B-factors are pLDDT; empty if none does, None if one names an experiment."""
        return prediction_of_text(self.text)

    def _fitted(self, start: int, end: int, new: str, floor: int, flush_right: bool) -> Edit:
        """Edit that keeps the column: a longer value takes the place of blanks around it, a shorter one is padded."""
        blanks = self.text[max(floor, start - MAX_WIDTH) : start]
        before = len(blanks) - len(blanks.rstrip(" "))
        after = len(BLANKS.match(self.text, end)[0])  # type: ignore[index]
        grow, room = len(new) - (end - start), (max(before - 1, 0), max(after - 1, 0))
        if grow <= 0:
            return start, end, new.rjust(end - start) if flush_right else new.ljust(end - start)
        right = min(grow - min(grow, room[0]), room[1]) if flush_right else min(grow, room[1])
        return start - min(grow - right, room[0]), end + right, new

    def _value(self, atom: int, item: str) -> str:
        """Value in a column of an atom's row as written; '' if the file has no such column."""
        if item not in self.items:
            return ""
        start, end = self.spans[atom, self.items.index(item)].tolist()
        return self.text[start:end]

    def _sequence_ids(self, structure: Structure, anchor: int, new: Sequence[NewResidue], side: Side) -> list[str]:
        """label_seq_id of new residues: consecutive if the file leaves exactly their number free, '.' if not.

        '' means the residue's own number, if the file has no auth_seq_id. A cap is not in the recorded sequence.
        """
        count = len(new)
        if "auth_seq_id" not in self.items:
            return [""] * count
        neighbours = [int(structure.residues[k].atoms[0]) for k in neighbours_of_new(anchor, side)]
        ids = [parse_int(self._value(atom, "label_seq_id")) for atom in neighbours]
        first, last = ids[0], ids[-1]
        if first is None or last is None or any(residue.hetatm for residue in new):
            return ["."] * count
        if side != "between":
            first = first if side == "after" else last - count - 1
            return [str(first + k + 1) if first + k >= 0 else "." for k in range(count)]
        return [str(first + k + 1) for k in range(count)] if last - first - 1 == count else ["."] * count

    def _entity_of_chain(self) -> dict[str, str]:
        """Entity of each chain id, by the first atom that names both."""
        chain = next((item for item in CHAIN if item in self.items), "")
        entities: dict[str, str] = {}
        for atom in range(len(self.spans)):
            entities.setdefault(self._value(atom, chain), self._value(atom, "label_entity_id"))
        return entities

    def _edited_text(self, edits: Sequence[Edit]) -> str:
        pieces, done = [], 0
        for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
            pieces += [self.text[done:start], new]
            done = end
        return "".join([*pieces, self.text[done:]])

    def _with_rows(self, rows: Sequence[Row]) -> CifDocument:
        """Insert rows, given in the order of the text."""
        edits, spans, shift = [edit for edit, _ in rows], [], 0
        for (start, _, new), cells in rows:
            spans.append(cells + start + shift)
            shift += len(new)
        shifted = np.concatenate([_shifted(self.spans, edits), np.reshape(spans, (-1, *self.spans.shape[1:]))])
        order = np.argsort(shifted[:, 0, 0], kind="stable")
        return replace(
            self,
            text=self._edited_text(edits),
            spans=shifted[order].astype(np.int64),
            last_serial=self.last_serial + len(rows),
        )

    def _row_edit(self, atom: int) -> Edit:
        """Edit that deletes a row with the end of its line."""
        start, end = int(self.spans[atom, 0, 0]), int(self.spans[atom, -1, 1])
        line_end = LINE_END.match(self.text, end)
        return start, line_end.end() if line_end else end, ""

    def _row_after(self, atom: int, like: int, values: Mapping[str, str]) -> Row:
        """Row to insert after that of an atom, with the column widths of atom `like` and its values for other items."""
        row, places = self._row_like(like, values)
        end = int(self.spans[atom, -1, 1])
        line_end = LINE_END.match(self.text, end)
        if line_end:
            text = (row if line_end[0][0] == " " else row.rstrip()) + line_end[1]
            return (line_end.end(), line_end.end(), text), places
        return (end, end, "\n" + row.rstrip()), places + 1

    def _row_before(self, atom: int, values: Mapping[str, str]) -> Row:
        """Row to insert before that of an atom, laid out like it."""
        row, places = self._row_like(atom, values)
        start, line_end = int(self.spans[atom, 0, 0]), LINE_END.match(self.text, int(self.spans[atom, -1, 1]))
        text = (row.rstrip() + line_end[1]) if line_end else row.rstrip() + "\n"
        return (start, start, text), places

    def _row_like(self, atom: int, values: Mapping[str, str]) -> tuple[str, Spans]:
        """Text of a row with the column widths of an atom's and its values for other items, and the values' places."""
        row, cells = "", []
        for item, (start, end) in zip(self.items, self.spans[atom].tolist(), strict=True):
            value = values.get(item, self.text[start:end])
            gap = BLANKS.match(self.text, end)[0]  # type: ignore[index]
            cells.append((len(row), len(row) + len(value)))
            row += value.ljust(end - start + len(gap) - 1) + " " if gap else value + " "
        return row, np.array(cells, dtype=np.int64)


def _shifted(spans: Spans, edits: Sequence[Edit]) -> Spans:
    """Spans (n, items, 2) after edits that replace whole values, or insert or delete text outside them."""
    ordered = sorted(edits, key=lambda edit: edit[:2])
    growth = np.cumsum([0, *(len(new) - (end - start) for start, end, new in ordered)])
    starts, ends = (np.array([edit[side] for edit in ordered], dtype=np.int64) for side in (0, 1))
    # text inserted right before a value moves it; text inserted right after it does not
    first = spans[..., 0] + growth[np.searchsorted(ends, spans[..., 0], side="right")]
    last = spans[..., 1] + growth[np.searchsorted(starts, spans[..., 1], side="left")]
    return np.stack([first, last], axis=-1)


def _position(xyz: Floats, where: str) -> dict[str, str]:
    """Coordinates (3,) in nm as values in A with three decimals."""
    return dict(zip(AXES, (_coordinate(value, "", where) for value in (xyz * 10.0).tolist()), strict=True))


def _quoted(name: str) -> str:
    """Quote an atom name as CIF requires."""
    return f'"{name}"' if "'" in name else name


def _coordinate(value: float, old: str, where: str) -> str:
    """Write a coordinate (A) with the decimals of the previous text `old`, which is kept if its value is the same."""
    if not math.isfinite(value):
        raise OutputError(f"{where} has coordinate {value}", "a finite number", "report this as a bug")
    plain = old.strip("'\"")
    decimals = min(max(3, len(plain.partition("(")[0].partition(".")[2])), MAX_DECIMALS)
    text, before = f"{value:.{decimals}f}", parse_cif_real(plain)
    return old if before is not None and float(f"{before:.{decimals}f}") == float(text) else text
