"""Chirality of amino acids: signed volumes (nm^3) at CA, and at CB if it is a stereocentre too.

An L-amino acid has about +0.0026 nm^3 at CA.
"""

from __future__ import annotations

import numpy as np

from geofold.molecule.selection import MAX_LISTED
from geofold.molecule.structure import Floats, Mask, Structure

BRANCHED = {"THR": ("CB", "CA", "OG1", "CG2"), "ILE": ("CB", "CA", "CG1", "CG2")}
"""Stereocentre CB and its neighbours, in the order that gives the natural L-amino acids a positive volume."""
FLAT = 0.0005
"""Absolute volume (nm^3) below which a centre is too flat to have a chirality."""


def chiral_volumes(structure: Structure, xyz: Floats, conformer: Mask) -> Floats:
    """Signed volumes (n_residues, 2) at CA and at CB for coordinates (n, 3) in nm; zero without a centre."""
    volumes = np.zeros((len(structure.residues), 2))
    for k, residue in enumerate(structure.residues):
        for column, names in enumerate((("CA", "N", "C", "CB"), BRANCHED.get(residue.resname, ()))):
            atoms = [structure.atom(k, name, conformer) for name in names]
            if atoms and not any(a is None for a in atoms):
                centre, first, second, third = xyz[np.array(atoms, dtype=int)]
                volumes[k, column] = np.linalg.det(np.stack([first - centre, second - centre, third - centre]))
    return volumes


def chirality_notes(structure: Structure, xyz: Floats, conformer: Mask) -> list[str]:
    """Return notes on a mirrored protein, on single D-amino acids, and on side chains of the wrong chirality."""
    hand = np.sign(chiral_volumes(structure, xyz, conformer))
    hand[np.abs(chiral_volumes(structure, xyz, conformer)) < FLAT] = 0
    right, left = (np.flatnonzero(hand[:, 0] == sign) for sign in (-1, 1))
    inverted = np.flatnonzero(hand[:, 0] * hand[:, 1] < 0)
    notes = []
    if len(right) > 1 and not len(left):
        notes.append(f"a mirror image? all {len(right)} amino acids with a CB are D-amino acids")
    elif len(right):
        notes.append(f"D-amino acids: {_named(structure, right)}")
    if len(inverted):
        notes.append(f"CB of the other hand (allo): {_named(structure, inverted)}")
    return notes


def _named(structure: Structure, residues: np.ndarray) -> str:
    labels = [f"{structure.residues[k].label} {structure.residues[k].resname}" for k in residues[:MAX_LISTED]]
    rest = f" and {len(residues) - MAX_LISTED} more" if len(residues) > MAX_LISTED else ""
    return ", ".join(labels) + rest
