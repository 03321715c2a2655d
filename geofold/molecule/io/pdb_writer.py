"""PDB document: the lines of a file, edited and written with new coordinates; every other byte stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.io.hybrid36 import encode36
from geofold.molecule.io.link_records import pdb_links
from geofold.molecule.io.modelled_records import (
    is_modelled_remark,
    modelled_entries,
    modelled_remarks,
    place_of_remarks,
    read_modelled_remarks,
)
from geofold.molecule.io.pdb_fields import bfactor_field, coordinate_field, highest_serial, is_atom, name_field
from geofold.molecule.io.prediction_records import prediction_of_lines
from geofold.molecule.io.sequence_records import seqres
from geofold.molecule.modelled_residue import ModelledResidue, ResidueKey
from geofold.molecule.records import NewResidue, RecordedSequence, Side, neighbours_of_new
from geofold.molecule.selection import ELEMENTS
from geofold.molecule.structure import AddedAtom, Floats, Link, Mask, Structure

ATTACHED = ("ANISOU", "SIGATM", "SIGUIJ")
"""Records that follow the line of their atom."""


@dataclass(frozen=True, eq=False)
class PdbDocument:
    """Lines of a PDB file.

    Attributes
    ----------
    lines : tuple of str
        All lines with their ends.
    atom_lines : (n,) int
        Line of each atom of the first model, in increasing order.
    encoding : str
        Encoding that gives the bytes of the file back.
    last_serial : int
        Highest serial number of an atom or TER record, deleted ones included.
    """

    lines: tuple[str, ...]
    atom_lines: NDArray[np.int64]
    encoding: str
    last_serial: int

    @classmethod
    def of_lines(
        cls, lines: Sequence[str], encoding: str = "utf-8", atom_lines: Sequence[int] | None = None
    ) -> PdbDocument:
        """Document of a file's lines; without `atom_lines`, all atom records belong to the first model."""
        if atom_lines is None:
            atom_lines = [k for k, line in enumerate(lines) if is_atom(line)]
        return cls(tuple(lines), np.array(atom_lines, dtype=np.int64), encoding, highest_serial(lines))

    def render(self, structure: Structure, xyz: Floats, moved: Mask) -> bytes:
        """Write the file with the coordinates of `moved` atoms; see `geofold.molecule.io.write.render`."""
        lines = list(self.lines)
        for i in np.flatnonzero(moved):
            k = int(self.atom_lines[i])
            body, where = lines[k].rstrip("\r\n"), f"{structure.source}, atom {structure.name[i]} on line {k + 1}"
            columns = zip((xyz[i] * 10.0).tolist(), (body[30:38], body[38:46], body[46:54]), strict=True)
            fields = "".join(coordinate_field(value, old, where) for value, old in columns)
            lines[k] = body[:30] + fields + body[54:] + lines[k][len(body) :]
        return "".join(lines).encode(self.encoding)

    def insert_atoms(self, structure: Structure, added: Sequence[AddedAtom]) -> PdbDocument:
        """Insert atoms, sorted by residue; a new line follows the last atom of its residue and its ANISOU record."""
        places, new = [], []
        for serial, atom in enumerate(added, self.last_serial + 1):
            last = int(self.atom_lines[structure.residues[atom.residue].atoms[-1]])
            places.append(self._end_of_atom(last))
            new.append(_added_line(structure, atom, self.lines[last], serial))
        return self._with_lines(places, new)

    def insert_residues(
        self, structure: Structure, anchor: int, new: Sequence[NewResidue], side: Side = "between"
    ) -> PdbDocument:
        """Insert residues on a side of residue `anchor`.

        A TER record between two residues that are joined is removed: the chain continues there. One after a chain end
        names the last of the new residues.
        """
        document, atoms = self, structure.residues[anchor].atoms
        last = int(self.atom_lines[atoms[0 if side == "before" else -1]])
        if side == "between":
            following = int(self.atom_lines[structure.residues[anchor + 1].atoms[0]])
            document = self._without_lines([k for k in range(last, following) if self.lines[k].startswith("TER")])
        template, bfactor = document.lines[last], structure.mean_bfactor(neighbours_of_new(anchor, side))
        serial, added = document.last_serial, list[str]()
        for residue in new:
            where = f"{structure.source}, residue {residue.number[0]}{residue.number[1]}"
            for name, element, xyz in zip(residue.atoms, residue.elements, residue.xyz, strict=True):
                serial += 1
                fields = "".join(coordinate_field(value, "", where) for value in (xyz * 10.0).tolist())
                record = "HETATM" if residue.hetatm else "ATOM  "
                head = f"{record}{encode36(serial, 5)} {name_field(name, element)} {residue.name:>3s}"
                owner = f"{template[21:22]}{encode36(residue.number[0], 4)}{residue.number[1]:1s}"
                line = f"{head} {owner}   {fields}{1.0:6.2f}{bfactor_field(bfactor)}"
                added.append(_finish_line(line, element, template, document.lines[0]))
        place = last if side == "before" else document._end_of_atom(last)
        if side == "after" and place < len(document.lines) and document.lines[place].startswith("TER"):
            document = document._with_end(place, new[-1], template)
        return document._with_lines([place] * len(added), added)

    def delete_atoms(self, gone: Mask) -> PdbDocument:
        """Delete the lines of the atoms of a mask (n_atoms,), and the ANISOU, SIGATM and SIGUIJ records after them."""
        lines = [k for start in self.atom_lines[gone].tolist() for k in range(start, self._end_of_atom(start))]
        return replace(self, atom_lines=self.atom_lines[~gone])._without_lines(lines)

    def links(self, structure: Structure) -> tuple[Link, ...]:
        """Bonds of LINK, SSBOND and CONECT records inside the asymmetric unit."""
        return pdb_links(structure, self.lines, self.atom_lines.tolist())

    def sequences(self) -> dict[str, RecordedSequence]:
        """Sequences of SEQRES records."""
        return seqres(self.lines)

    def _with_end(self, line: int, residue: NewResidue, template: str) -> PdbDocument:
        """Name a residue in the TER record of a line, if the record names one; `template` is an atom of its chain."""
        old = self.lines[line]
        body = old.rstrip("\r\n")
        if len(body) < 26:
            return self
        owner = f"{residue.name:>3s} {template[21:22]}{encode36(residue.number[0], 4)}{residue.number[1]:1s}"
        new = (body[:17] + owner + body[27:]).ljust(len(body)).rstrip() + " " * (len(body) - len(body.rstrip()))
        return replace(self, lines=(*self.lines[:line], new + _line_end(old), *self.lines[line + 1 :]))

    def describe_residues(self, structure: Structure, errors: Mapping[int, float | None]) -> PdbDocument:
        """Write expected errors (A) in columns 61-66, and REMARK 99 records that name the residues."""
        lines = list(self.lines)
        for residue, error in errors.items():
            if error is None:
                continue
            for k in self.atom_lines[structure.residues[residue].atoms].tolist():
                body = lines[k].rstrip("\r\n")
                lines[k] = f"{body[:60]:60s}{bfactor_field(error)}{body[66:]}{_line_end(lines[k])}"
        records = modelled_remarks(self.modelled_residues() | modelled_entries(structure, errors))
        document = replace(self, lines=tuple(lines))
        document = document._without_lines([k for k, line in enumerate(lines) if is_modelled_remark(line)])
        place, end = place_of_remarks(document.lines), _line_end(lines[0]) or "\n"
        lines = [*document.lines[:place], *(record + end for record in records), *document.lines[place:]]
        atom_lines = document.atom_lines + len(records) * (document.atom_lines >= place)
        return replace(document, lines=tuple(lines), atom_lines=atom_lines)

    def modelled_residues(self) -> dict[ResidueKey, ModelledResidue]:
        """Residues of the REMARK 99 records of `describe_residues`."""
        return read_modelled_remarks(self.lines)

    def prediction(self) -> str | None:
        """Record that says that B-factors are pLDDT; empty if none does, None if one names an experiment."""
        return prediction_of_lines(self.lines)

    def _end_of_atom(self, line: int) -> int:
        """Line after an atom's line and the records attached to it."""
        end = line + 1
        while end < len(self.lines) and self.lines[end].startswith(ATTACHED):
            end += 1
        return end

    def _with_lines(self, places: Sequence[int], new: Sequence[str]) -> PdbDocument:
        """Insert atom lines, each before the line of the same rank in `places`, which do not decrease."""
        pieces, done = list[str](), 0
        for place, line in zip(places, new, strict=True):
            pieces += [*self.lines[done:place], line]
            done = place
        lines = [*pieces, *self.lines[done:]]
        if not self.lines[-1].endswith(("\n", "\r")):  # the file has no final newline, and gets none
            end = _line_end(self.lines[0]) or "\n"
            lines = [line if line.endswith(("\n", "\r")) else line + end for line in lines]
            lines[-1] = lines[-1].rstrip("\r\n")
        shifted = self.atom_lines + np.searchsorted(places, self.atom_lines, side="right")
        inserted = np.asarray(places, dtype=np.int64) + np.arange(len(new))
        atom_lines = np.sort(np.concatenate([shifted, inserted]))
        return replace(self, lines=tuple(lines), atom_lines=atom_lines, last_serial=self.last_serial + len(new))

    def _without_lines(self, gone: Sequence[int]) -> PdbDocument:
        """Delete lines; none of them belongs to an atom of `atom_lines`."""
        dropped = set(gone)
        lines = tuple(line for k, line in enumerate(self.lines) if k not in dropped)
        atom_lines = self.atom_lines - np.searchsorted(np.sort(np.array(gone, dtype=np.int64)), self.atom_lines)
        return replace(self, lines=lines, atom_lines=atom_lines)


def _added_line(structure: Structure, atom: AddedAtom, template: str, serial: int) -> str:
    """Line of an atom that is added to the residue of the line `template`, with the same columns after 66."""
    body, residue = template.rstrip("\r\n"), structure.residues[atom.residue]
    where = f"{structure.source}, added atom {atom.name} of {residue.label}"
    fields = "".join(coordinate_field(value, "", where) for value in (atom.xyz * 10.0).tolist())
    record, name = "HETATM" if body.startswith("HETATM") else "ATOM  ", name_field(atom.name, atom.element)
    start = f"{record}{encode36(serial, 5)} {name} {f'{residue.resname:>3s} '[:4]}{body[21:27]}   "
    line = f"{start}{fields}{1.0:6.2f}{bfactor_field(structure.mean_bfactor((atom.residue,)))}"
    tail = f"{body[66:76]:10s}{atom.element:>2s}" + " " * (len(body) - 78) if len(body) >= 78 else body[66:]
    return line + tail + (_line_end(template) or "\n")


def _finish_line(line: str, element: str, template: str, first_line: str) -> str:
    """Complete an atom's line with the last columns and the line end of another one."""
    body = template.rstrip("\r\n")
    end = _line_end(template) or _line_end(first_line) or "\n"
    if len(body) < 78:
        return line.ljust(len(body)) + end
    has_element = body[76:78].strip().upper() in ELEMENTS  # old files have other text in these columns
    return (f"{line}{body[66:76]}{element:>2s}" if has_element else line).ljust(len(body)) + end


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]
