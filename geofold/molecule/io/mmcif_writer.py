"""Writing an mmCIF file again: only values that changed, and rows of added atoms, in the layout of the file."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geofold.errors import OutputError
from geofold.molecule.numbers import parse_cif_real
from geofold.molecule.structure import AddedAtom, Floats, Mask, Structure

BLANKS = re.compile(r" *")
LINE_END = re.compile(r"[ \t]*(\r\n|\n|\r)")
WIDEST = 64
"""Characters beside a value that are looked at for blanks; no coordinate is longer."""
MOST_DECIMALS = 9
"""Of a coordinate that is written; what double precision keeps of the largest ones."""
AXES = ("cartn_x", "cartn_y", "cartn_z")
CHAIN = ("auth_asym_id", "label_asym_id")
Columns = dict[str, list[str]]
"""Values by item."""


@dataclass(frozen=True, eq=False)
class CifDocument:
    """The text, the items of its atom_site loop, and the span (n, items, 2) of every value of the first model.

    ``last_id`` is the highest id of an atom, ``sequences`` what the file says of its polymers, category by category.
    """

    text: str
    encoding: str
    items: tuple[str, ...]
    spans: NDArray[np.int64]
    last_id: int
    sequences: dict[str, Columns]

    def render(self, structure: Structure, xyz: Floats, moved: Mask, added: Sequence[AddedAtom]) -> bytes:
        """See ``Structure.render``."""
        edits: list[tuple[int, int, str]] = []
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
        for number, atom in enumerate(sorted(added, key=lambda atom: atom.residue), self.last_id + 1):
            edits.append(self._added_row(structure, atom, number))
        return self._edited(edits)

    def _fitted(self, start: int, end: int, new: str, floor: int, flush_right: bool) -> tuple[int, int, str]:
        """Edit that keeps the column: blanks beside the value give way to a longer one and fill up a shorter one."""
        blanks = self.text[max(floor, start - WIDEST) : start]
        before = len(blanks) - len(blanks.rstrip(" "))
        after = len(BLANKS.match(self.text, end)[0])  # type: ignore[index]
        grow, room = len(new) - (end - start), (max(before - 1, 0), max(after - 1, 0))
        if grow <= 0:
            return start, end, new.rjust(end - start) if flush_right else new.ljust(end - start)
        right = min(grow - min(grow, room[0]), room[1]) if flush_right else min(grow, room[1])
        return start - min(grow - right, room[0]), end + right, new

    def _added_row(self, structure: Structure, atom: AddedAtom, number: int) -> tuple[int, int, str]:
        """Edit that appends a row to a residue, laid out as its last row."""
        residue = structure.residues[atom.residue]
        like = residue.atoms[structure.resname[residue.atoms] == residue.resname][-1]
        where = f"{structure.source}, added atom {atom.name} of {residue.label}"
        name = quoted(atom.name)
        xyz = [_coordinate(value, "", where) for value in (atom.xyz * 10.0).tolist()]
        bfactor = f"{structure.bfactor[residue.atoms].mean():.2f}"
        known = {
            "id": str(number),
            "type_symbol": atom.element,
            "label_atom_id": name,
            "auth_atom_id": name,
            "label_alt_id": ".",
            "occupancy": "1.00",
            "b_iso_or_equiv": bfactor,
            "pdbx_formal_charge": "?",
            **dict(zip(AXES, xyz, strict=True)),
        }
        known |= {item: "?" for item in self.items if item.endswith("_esd")}
        return self._behind(int(residue.atoms[-1]), self._laid_out(int(like), known))

    def rebuilt(self, removed: Sequence[int], after: int, rows: Sequence[dict[str, str]]) -> bytes:
        """The file without some atoms, and with rows of other residues behind atom `after`, laid out as its row.

        A row gives values by item; what it does not give is unknown.
        """
        edits = [(*self._row_span(atom), "") for atom in removed]
        unknown = dict.fromkeys(self.items, "?")
        edits += [self._behind(after, self._laid_out(after, unknown | row)) for row in rows]
        return self._edited(edits)

    def value(self, atom: int, item: str) -> str:
        """Value in a column of an atom's row; '' if the file has no such column."""
        if item not in self.items:
            return ""
        start, end = self.spans[atom, self.items.index(item)].tolist()
        return self.text[start:end]

    def entity_of_chain(self) -> dict[str, str]:
        """Entity of each chain id, by the first atom that names both."""
        chain = next((item for item in CHAIN if item in self.items), "")
        found: dict[str, str] = {}
        for atom in range(len(self.spans)):
            found.setdefault(self.value(atom, chain), self.value(atom, "label_entity_id"))
        return found

    def _edited(self, edits: list[tuple[int, int, str]]) -> bytes:
        pieces, done = [], 0
        for start, end, new in sorted(edits, key=lambda edit: edit[:2]):
            pieces += [self.text[done:start], new]
            done = end
        return "".join([*pieces, self.text[done:]]).encode(self.encoding)

    def _row_span(self, atom: int) -> tuple[int, int]:
        """A row with the end of its line."""
        start, end = int(self.spans[atom, 0, 0]), int(self.spans[atom, -1, 1])
        line_end = LINE_END.match(self.text, end)
        return start, line_end.end() if line_end else end

    def _laid_out(self, like: int, known: dict[str, str]) -> str:
        """A row with the columns of atom `like`, and its values where none is known."""
        cells = []
        for item, (start, end) in zip(self.items, self.spans[like].tolist(), strict=True):
            value = known.get(item, self.text[start:end])
            gap = BLANKS.match(self.text, end)[0]  # type: ignore[index]
            cells.append(value.ljust(end - start + len(gap) - 1) + " " if gap else value + " ")
        return "".join(cells)

    def _behind(self, atom: int, row: str) -> tuple[int, int, str]:
        """Edit that inserts a row after that of an atom."""
        end = int(self.spans[atom, -1, 1])
        line_end = LINE_END.match(self.text, end)
        if line_end:
            return line_end.end(), line_end.end(), (row if line_end[0][0] == " " else row.rstrip()) + line_end[1]
        return end, end, "\n" + row.rstrip()


def quoted(name: str) -> str:
    """An atom name as CIF writes it."""
    return f'"{name}"' if "'" in name else name


def coordinate(value: float, where: str) -> str:
    """A coordinate in Angstrom, three decimals."""
    return _coordinate(value, "", where)


def _coordinate(value: float, old: str, where: str) -> str:
    """A coordinate in Angstrom with the decimals of ``old``, which stays as it is if it says the same."""
    if not math.isfinite(value):
        raise OutputError(f"{where} has coordinate {value}", "a finite number", "report this as a bug")
    plain = old.strip("'\"")
    decimals = min(max(3, len(plain.partition("(")[0].partition(".")[2])), MOST_DECIMALS)
    text, before = f"{value:.{decimals}f}", parse_cif_real(plain)
    return old if before is not None and float(f"{before:.{decimals}f}") == float(text) else text
