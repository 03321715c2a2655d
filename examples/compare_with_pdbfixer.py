"""The table at the top of the README: the gaps of a structure built by PDBFixer and by geofold.

python examples/compare_with_pdbfixer.py [FILE] [--write]

PDBFixer is used as its documentation shows: find the missing residues, find the missing atoms, add them. Both programs
build the gaps between two residues of a chain, and no chain ends. Both results are measured by `geofold.check`, as
whole structures; distances are between consecutive CA atoms, at least one of them new. --write puts the table into the
README.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np

import geofold as gf
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.resources import find

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- made by examples/compare_with_pdbfixer.py -->\n", "<!-- end -->\n"
SEED = 1
LABELS = ("severe overlaps", "Ramachandran outliers", "cis peptide bonds", "CA-CA distances in the gap", "CPU time")


def by_pdbfixer(path: Path) -> bytes:
    """The structure with its gaps built by PDBFixer."""
    from openmm.app import PDBFile
    from pdbfixer import PDBFixer

    fixer = PDBFixer(filename=str(path))
    fixer.findMissingResidues()
    chains = list(fixer.topology.chains())
    lengths = [len(list(chain.residues())) for chain in chains]
    inside = {(chain, at): names for (chain, at), names in fixer.missingResidues.items() if 0 < at < lengths[chain]}
    fixer.missingResidues = inside
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=SEED)
    text = io.StringIO()
    PDBFile.writeFile(fixer.topology, fixer.positions, text, keepIds=True)
    return text.getvalue().encode()


def by_geofold(path: Path) -> bytes:
    """The structure with its gaps built by geofold."""
    return gf.repair(path, build="all").content


def ca_distances(built: Structure, original: Structure) -> np.ndarray:
    """Distances of consecutive CA atoms of which at least one is new, in Angstrom."""
    known = {residue.label for residue in original.residues}
    mask = built.conformer_mask
    distances = []
    for k, (one, two) in enumerate(zip(built.residues, built.residues[1:], strict=False)):
        atoms = built.atom(k, "CA", mask), built.atom(k + 1, "CA", mask)
        if None not in atoms and one.chain == two.chain and {one.label, two.label} - known:
            distances.append(10 * np.linalg.norm(built.xyz[atoms[0]] - built.xyz[atoms[1]]))
    return np.array(distances)


def measure(content: bytes) -> list[str]:
    """Measurements of a whole structure."""
    found = gf.check(content, energy=False)["before"]
    counts = found["severe_overlaps"], found["ramachandran"]["outliers"], found["cis_peptide_bonds"]
    return [str(count) for count in counts]


def rows(path: Path) -> list[tuple[str, ...]]:
    """Measure the file and both results; each row is a label and three values."""
    original = read(path)
    columns = [[*measure(path.read_bytes()), "", ""]]
    for build in (by_pdbfixer, by_geofold):
        began = time.process_time()
        content = build(path)
        seconds = time.process_time() - began
        distances = ca_distances(read(content), original)
        columns.append([*measure(content), f"{distances.min():.2f}-{distances.max():.2f} Å", f"{seconds:.0f} s"])
    return list(zip(LABELS, *columns, strict=True))


def table(path: Path) -> str:
    """The measurements as Markdown."""
    lines = [f"| {path.name}, its gap built | the file | PDBFixer | geofold |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows(path))]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, default=find("structures", "1bhl.pdb"))
    parser.add_argument("--write", action="store_true", help="put the table into the README")
    options = parser.parse_args()
    made = table(options.file)
    print(made, end="")
    if options.write:
        text = README.read_text(encoding="utf-8")
        before, after = text.index(BEGIN) + len(BEGIN), text.index(END)
        README.write_text(f"{text[:before]}\n{made}\n{text[after:]}", encoding="utf-8")
