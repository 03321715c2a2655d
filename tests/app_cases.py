"""Shared inputs of the application's tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRUCTURES = ROOT / "structures"
BENT = STRUCTURES / "1ubi_bent.pdb"
LOOP = "A:45-56"


def with_stray_carbons(lines: list[str], *places: str) -> list[str]:
    """Lines of a PDB file, a carbon 9 A from some atoms (columns 13-26) in their residues: no force field has such."""
    told: list[str] = []
    for line in lines:
        told.append(line)
        if line[12:26] in places:
            told.append(f"{line[:12]} CX {line[16:46]}{float(line[46:54]) + 9:8.3f}{line[54:]}")
    return told
