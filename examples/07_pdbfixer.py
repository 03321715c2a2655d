"""Build the residues that PDBFixer found missing, and go on with PDBFixer.

python examples/07_pdbfixer.py
"""

from __future__ import annotations

import io

from pdbfixer import PDBFixer

import geofold as gf
from geofold import resources


def without_residues(text: str, first: int, last: int) -> str:
    """PDB text without some residues."""
    return "".join(
        line for line in text.splitlines(True) if not (line[:4] == "ATOM" and first <= int(line[22:26]) <= last)
    )


def main() -> None:
    """Take four residues out of ubiquitin; SEQRES tells PDBFixer what is missing."""
    text = without_residues(resources.find("structures", "1ubi.pdb").read_text(), 58, 61)
    fixer = PDBFixer(pdbfile=io.StringIO(text))
    fixer.findMissingResidues()
    print("missing:", fixer.missingResidues)

    result = gf.repair(fixer, build="all", energy=False, rounds=1, streams=2)
    result.summary()

    built = result.to_openmm()
    fixer.topology, fixer.positions = built.topology, built.positions
    fixer.findMissingResidues()
    print("still missing:", fixer.missingResidues)
    fixer.findMissingAtoms()
    fixer.addMissingAtoms()
    fixer.addMissingHydrogens(7.0)
    print(fixer.topology.getNumAtoms(), "atoms with hydrogens")


if __name__ == "__main__":
    main()
