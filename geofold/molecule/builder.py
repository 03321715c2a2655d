"""An extended peptide from its sequence, by Biopython's internal coordinates."""

from __future__ import annotations

import io
import warnings

from geofold.errors import SequenceError
from geofold.molecule.structure import Structure, read

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
PHI, PSI, PROLINE_PHI = -135.0, 135.0, -65.0
"""Degrees: the middle of the beta region, and proline's own phi there."""


def peptide(sequence: str) -> Structure:
    """Extended chain A of the given one-letter sequence, residues numbered from one, all omega trans.

    Bond lengths, angles and side-chain torsions are Biopython's defaults (Bio.PDB.ic_data, from a survey of
    high-resolution structures). No hydrogens.

    Raises
    ------
    SequenceError
        For a letter outside the twenty amino acids, or fewer than two residues.
    """
    letters = "".join(sequence.split()).upper()
    unknown = [f"{letter!r} at position {k + 1}" for k, letter in enumerate(letters) if letter not in LETTERS]
    if unknown:
        raise SequenceError(
            f"sequence {sequence!r} holds {', '.join(unknown[:3])}", f"letters out of {LETTERS}",
            "replace each by one of the twenty amino acids",
        )  # fmt: skip
    if len(letters) < 2:
        raise SequenceError(f"sequence {sequence!r}", "two residues or more", "give the whole peptide")
    return read(_pdb(letters), name=f"peptide {letters}")


def _pdb(letters: str) -> bytes:
    from Bio.PDB import PDBIO
    from Bio.PDB.PICIO import read_PIC_seq
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    with warnings.catch_warnings():
        # Biopython divides by a masked array; numpy warns although the masked values are never used
        warnings.simplefilter("ignore")
        built = read_PIC_seq(SeqRecord(Seq(letters), id="peptide"))
        built.internal_to_atom_coordinates()
        for residue in built.get_residues():
            angles = residue.internal_coord
            angles.set_angle("phi", PROLINE_PHI if residue.resname == "PRO" else PHI)
            angles.set_angle("psi", PSI)
            angles.set_angle("omg", 180.0)
        built.internal_to_atom_coordinates()
        writer, text = PDBIO(), io.StringIO()
        writer.set_structure(built)
        writer.save(text)
    return text.getvalue().encode()
