"""Names of residues and atoms."""

from __future__ import annotations

from functools import cache

AMINO_ACID_LETTERS = "ACDEFGHIKLMNPQRSTVWY"
"""One-letter codes of the twenty amino acids."""
BACKBONE = ("N", "CA", "C", "O")
CAPS = frozenset({"ACE", "FOR", "NH2", "NME", "NMA"})
"""Names of terminal caps, which move with the end of the chain."""
STANDARD_RESIDUES = frozenset(
    {
        "ALA",
        "ARG",
        "ASN",
        "ASP",
        "CYS",
        "GLN",
        "GLU",
        "GLY",
        "HIS",
        "ILE",
        "LEU",
        "LYS",
        "MET",
        "PHE",
        "PRO",
        "SER",
        "THR",
        "TRP",
        "TYR",
        "VAL",
    }
)
FORCE_FIELD_NAMES = {
    "HID": "HIS",
    "HIE": "HIS",
    "HIP": "HIS",
    "HSD": "HIS",
    "HSE": "HIS",
    "HSP": "HIS",
    "CYX": "CYS",
    "CYM": "CYS",
    "ASH": "ASP",
    "GLH": "GLU",
    "LYN": "LYS",
}
"""Standard residue of each force-field name of a protonation state."""
AMINO_NAMES = STANDARD_RESIDUES | FORCE_FIELD_NAMES.keys()
"""Names of the twenty amino acids, protonation states included."""
STANDARD_PARENT = FORCE_FIELD_NAMES | {"MSE": "MET", "SEC": "CYS"}
"""Standard residue with the same side-chain torsions, by the name of a modified residue or protonation state."""


def standard_name(resname: str) -> str:
    """Replace the name of a protonation state by that of the amino acid; other names are unchanged."""
    return FORCE_FIELD_NAMES.get(resname, resname)


@cache
def one_letter_codes() -> dict[str, str]:
    """Load the one-letter codes of the standard amino acids, by three-letter name."""
    from Bio.Data.IUPACData import protein_letters_1to3

    return {protein_letters_1to3[letter].upper(): letter for letter in AMINO_ACID_LETTERS}


def one_letter_code(name: str) -> str:
    """Return the one-letter code of a standard amino acid, '-' for other residues."""
    return one_letter_codes().get(name, "-")


def three_letter_names(letters: str) -> list[str]:
    """List the three-letter names of one-letter codes."""
    names = {letter: name for name, letter in one_letter_codes().items()}
    return [names[letter] for letter in letters]
