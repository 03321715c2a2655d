"""Parts that all reports share: the input, its chemistry, and the versions of programs."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from geofold import __version__
from geofold.molecule.analysis.chirality import chirality_notes
from geofold.molecule.structure import Structure
from geofold.molecule.topology.covalent_links import link_notes

REPORT_SCHEMA = "geofold-report/1"


def versions() -> dict[str, str]:
    """Versions of the packages that determine the results."""
    named = {name: metadata.version(name) for name in ("torch", "openmm", "mdtraj", "pdbfixer", "biopython", "numpy")}
    return {"geofold": __version__, "python": platform.python_version()} | named


def described(structure: Structure) -> dict[str, Any]:
    """Return the description of the input: name, counts of atoms and amino acids, models, file of sequences."""
    amino = sum(structure.is_amino_acid(k) for k in range(len(structure.residues)))
    counts = {"atoms": len(structure), "amino_acids": amino, "models": structure.n_models}
    return {"name": structure.source, **counts, **({"fasta": structure.given_from} if structure.given_from else {})}


def chemistry_notes(structure: Structure) -> list[str]:
    """Return notes on D-amino acids and on covalent links other than disulfides."""
    conformer = structure.conformer_mask
    return [*chirality_notes(structure, structure.xyz, conformer), *link_notes(structure, conformer)]
