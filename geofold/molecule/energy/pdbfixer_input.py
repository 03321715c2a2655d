"""PDB text of a protein as input for PDBFixer and OpenMM.

Residues are numbered from zero, chains end at breaks so that no force acts across them, and atoms without a place in
the residue templates are omitted.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.geometry import unit_vectors
from geofold.molecule.residues import STANDARD_RESIDUES, standard_name
from geofold.molecule.structure import AddedAtom, Structure
from geofold.molecule.topology.bonds import CYSTEINES, DISULFIDE

CARBOXYLATE = 0.125
"""Bond length C-O (nm) at the end of a chain."""
ROOM = 0.22
"""Distance (nm) from other residues that an oxygen at a segment's end has to have."""
THIOL = 0.16
"""Upper bound of the sulphur-hydrogen bond length (nm)."""


def pdb_text(
    structure: Structure,
    conformer: NDArray[np.bool_],
    included: list[int],
    *,
    added: Sequence[AddedAtom] = (),
    joined: tuple[int, int] | None = None,
) -> str:
    """Write residues as PDB text, with a new chain after each break.

    Parameters
    ----------
    structure : Structure
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    included : list of int
        Indices of the residues.
    added : sequence of AddedAtom
        Atoms to write besides. Hydrogens of their residues are left out, since they may be in their places.
    joined : (int, int), optional
        Two residues between which there is no break, although residues between them are missing.
    """
    lines: list[str] = []
    spare = _hydrogens_of_disulfides(structure, conformer, included)
    added_to: dict[int, list[AddedAtom]] = {}
    for atom in added:
        added_to.setdefault(atom.residue, []).append(atom)
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits
    number = serial = 0
    for chain, piece in enumerate(pieces(structure, included, joined)):
        if lines:
            lines.append("TER")
        for k in piece:
            residue = structure.residues[k]
            resname = standard_name(residue.resname)
            record = "ATOM  " if resname in STANDARD_RESIDUES else "HETATM"
            place = f"{resname:>3.3s} {letters[chain % len(letters)]}{number % 10000:4d}"
            atoms = list[tuple[str, str, NDArray[np.float64]]]()
            for a in residue.atoms[conformer[residue.atoms]].tolist():
                element = str(structure.element[a])
                if element == "D" or a in spare or (element == "H" and k in added_to):
                    continue
                atoms.append((str(structure.name[a]), element, structure.xyz[a]))
            atoms += [(atom.name, atom.element, atom.xyz) for atom in added_to.get(k, ())]
            if k == piece[-1] and (oxygen := _end_oxygen(structure, conformer, included, k)) is not None:
                atoms.append(("OXT", "O", oxygen))
            for name, element, xyz in atoms:
                serial += 1
                x, y, z = xyz * 10
                padded = name if len(name) > 3 or len(element) > 1 else " " + name
                lines.append(
                    f"{record}{serial % 100000:5d} {padded:<4s} {place}    {x:8.3f}{y:8.3f}{z:8.3f}"
                    f"  1.00  0.00          {element.capitalize():>2s}"
                )
            number += 1
    return "\n".join([*lines, "TER", "END", ""])


def _end_oxygen(
    structure: Structure, conformer: NDArray[np.bool_], included: list[int], k: int
) -> NDArray[np.float64] | None:
    """Place (nm) of the second oxygen of a carboxylate at the end of a segment; None if PDBFixer has to find one.

    It has room unless another segment begins close by.
    """
    names = ("CA", "C", "O", "OXT")
    atoms = [structure.atom(k, name, conformer) for name in names]
    if (
        standard_name(structure.residues[k].resname) not in STANDARD_RESIDUES
        or None in atoms[:3]
        or atoms[3] is not None
    ):
        return None
    ca, c, o = structure.xyz[np.array(atoms[:3])]
    direction = unit_vectors(unit_vectors(c - ca) + unit_vectors(c - o))
    oxygen = c + CARBOXYLATE * direction
    others = conformer & np.isin(structure.residue_of, included) & (structure.residue_of != k)
    distance = np.linalg.norm(structure.xyz[others] - oxygen, axis=-1)
    return oxygen if direction.any() and distance.min(initial=np.inf) > ROOM else None


def pieces(structure: Structure, included: list[int], joined: tuple[int, int] | None = None) -> list[list[int]]:
    """Residues grouped into segments between chain breaks; the two residues `joined` stay in one segment."""
    found: list[list[int]] = []
    for k in included:
        last = found[-1][-1] if found else -1
        if found and ((last, k) == joined or (k == last + 1 and structure.bonded(last, k))):
            found[-1].append(k)
        else:
            found.append([k])
    return found


def _hydrogens_of_disulfides(structure: Structure, conformer: NDArray[np.bool_], included: list[int]) -> frozenset[int]:
    """Hydrogens on the sulphurs of disulfides, which some programs write but no template contains."""
    cysteine = conformer & np.isin(structure.residue_of, included) & np.isin(structure.resname, CYSTEINES)
    sulphur = structure.xyz[cysteine & (structure.name == "SG")]
    hydrogens = np.flatnonzero(cysteine & (structure.element == "H"))
    pairs = cKDTree(sulphur.reshape(-1, 3)).query_pairs(DISULFIDE[1], output_type="ndarray")
    if not len(pairs) or not len(hydrogens):
        return frozenset()
    close = cKDTree(sulphur[np.unique(pairs)]).query(structure.xyz[hydrogens])[0] < THIOL
    return frozenset(hydrogens[close].tolist())
