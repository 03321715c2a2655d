"""Residues that new ones are bonded to."""

from __future__ import annotations

import numpy as np

from geofold.errors import BuildError
from geofold.geometry import dihedral
from geofold.molecule.energy.ramachandran import OUTLIER, classify, ramachandran_class
from geofold.molecule.energy.ramachandran import percentile as ramachandran
from geofold.molecule.residues import BACKBONE
from geofold.molecule.selection import require_backbone
from geofold.molecule.structure import Floats, Mask, Structure

CHAIN_END, CHAIN_START = frozenset({"OXT", "OT2"}), frozenset({"H2", "H3", "HT2", "HT3"})
"""Atoms of chain termini, which occupy the position of the following and of the preceding residue."""


def require_anchors(structure: Structure, before: int | None, after: int | None) -> None:
    """Refuse anchors with an incomplete backbone, or with atoms of a chain's end; a chain end has one anchor."""
    for k, terminal_atoms in ((before, CHAIN_END), (after, CHAIN_START)):
        if k is None:
            continue
        require_backbone(structure, k, BACKBONE)
        atoms = sorted(set(structure.name[structure.residues[k].atoms].tolist()) & terminal_atoms)
        if atoms:
            raise BuildError(
                f"{structure.residues[k].label} of {structure.source} has {', '.join(atoms)}: its chain ends there",
                "a residue that another one can be bonded to",
                "remove these atoms first",
            )


def anchor_outliers(structure: Structure, k: int, carbon: Floats, conformer: Mask) -> np.ndarray:
    """Whether residue `k` is a Ramachandran outlier after each of some carbonyl carbons, (K,) bool.

    Parameters
    ----------
    structure : Structure
    k : int
        Residue after the new ones.
    carbon : (K, 3)
        C of the last new residue (nm).
    conformer : (n_atoms,) bool
    """
    residues = structure.residues
    if k + 1 >= len(residues) or not structure.bonded(k, k + 1):
        return np.zeros(len(carbon), dtype=bool)
    n, ca, c, following = (
        structure.xyz[structure.atom(residue, name, conformer)]
        for residue, name in ((k, "N"), (k, "CA"), (k, "C"), (k + 1, "N"))
    )
    phi, psi = dihedral(carbon, n, ca, c), dihedral(n, ca, c, following)
    kind = ramachandran_class(residues[k].resname, residues[k + 1].resname, np.pi)
    return np.asarray(classify(ramachandran(phi, psi, kind), kind) == OUTLIER)
