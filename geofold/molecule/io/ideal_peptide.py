"""An extended peptide from its sequence, by Biopython's internal coordinates."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from geofold.errors import SequenceError
from geofold.molecule.io.pdb_fields import LINE
from geofold.molecule.io.pdb_writer import PdbDocument
from geofold.molecule.residues import AMINO_ACID_LETTERS
from geofold.molecule.structure import Row, Structure

PHI, PSI, PROLINE_PHI = -135.0, 135.0, -65.0
"""Degrees: the middle of the beta region, and proline's own phi there."""


def peptide(sequence: str, torsions: Sequence[Sequence[float]] | None = None) -> Structure:
    """Chain A of the given one-letter sequence, residues numbered from one; extended and trans by default.

    Bond lengths, angles and side-chain torsions are Biopython's defaults (Bio.PDB.ic_data, from a survey of
    high-resolution structures). No hydrogens.

    Parameters
    ----------
    torsions : sequence of (phi, psi, omega) or None
        Of each residue, in degrees; omega is the one before the residue.

    Raises
    ------
    SequenceError
        For a letter outside the twenty amino acids, or fewer than two residues.
    """
    letters = parse_sequence(sequence, f"sequence {sequence!r}")
    if len(letters) < 2:
        raise SequenceError(f"sequence {sequence!r}", "two residues or more", "give the whole peptide")
    chain, text = _build(letters, torsions)
    document = PdbDocument.of_lines(LINE.findall(text))
    return replace(Structure.from_rows(map(_row, chain), f"peptide {letters}"), document=document)


def parse_sequence(sequence: str, name: str) -> str:
    """One-letter codes in capitals, without blanks.

    Raises
    ------
    SequenceError
        For a letter outside the twenty amino acids; `name` is what the message calls the sequence.
    """
    letters = "".join(sequence.split()).upper()
    unknown = [
        f"{letter!r} at position {k + 1}" for k, letter in enumerate(letters) if letter not in AMINO_ACID_LETTERS
    ]
    if unknown:
        raise SequenceError(
            f"{name} holds {', '.join(unknown[:3])}",
            f"letters out of {AMINO_ACID_LETTERS}",
            "replace each by one of the twenty amino acids",
        )
    return letters


def _row(atom: Any) -> Row:
    """Columns of an atom of Biopython; coordinates are rounded to 0.001 A, as in the file."""
    residue = atom.get_parent()
    x, y, z = (round(float(value), 3) / 10.0 for value in atom.coord)
    number = residue.id[1]
    serial = atom.serial_number
    return (atom.name, residue.resname, "A", "", "", atom.element, number, serial, False, 1.0, 0.0, x, y, z)


def _build(letters: str, torsions: Sequence[Sequence[float]] | None) -> tuple[list[Any], str]:
    """Atoms of Biopython's peptide, and its PDB file."""
    from Bio.PDB import PDBIO
    from Bio.PDB.PICIO import read_PIC_seq
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    with warnings.catch_warnings():
        # Biopython divides by a masked array; numpy warns although the masked values are never used
        warnings.simplefilter("ignore")
        built = read_PIC_seq(SeqRecord(Seq(letters), id="peptide"))
        built.internal_to_atom_coordinates()
        for number, residue in enumerate(built.get_residues()):
            angles = residue.internal_coord
            extended = (PROLINE_PHI if residue.resname == "PRO" else PHI, PSI, 180.0)
            for name, value in zip(("phi", "psi", "omg"), torsions[number] if torsions else extended, strict=True):
                angles.set_angle(name, float(value))
        built.internal_to_atom_coordinates()
        writer, text = PDBIO(), io.StringIO()
        writer.set_structure(built)
        writer.save(text)
    return list(built.get_atoms()), text.getvalue()
