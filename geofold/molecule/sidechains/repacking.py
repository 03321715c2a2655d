"""Repacking of the side chains around a loop.

Neighbours rotate about their own chi axes, so their bond lengths, angles and chiralities are preserved up to rounding;
ideal geometry from the rotamer library is used for missing atoms only.

Glossary: ``s`` atoms of rotated side chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from geofold.molecule.io.edit import with_atoms
from geofold.molecule.sidechains.chi_minimisation import SideChains, eased
from geofold.molecule.sidechains.packing import pack, placed
from geofold.molecule.sidechains.rotamer_library import side_chain
from geofold.molecule.structure import COLUMNS, AddedAtom, Floats, Mask, Structure
from geofold.molecule.topology.bond_walk import BACKBONE
from geofold.molecule.topology.bonds import bond_list, links_among, neighbours

RIGID = frozenset({"PRO", "HYP"})
"""Residues with rigid rings, which are not repacked."""
KEPT = frozenset((*BACKBONE, "CB", "OXT", "H", "HA", "HA2", "HA3", "H1", "H2", "H3"))
"""Atoms that remain of a residue without its side chain."""


@dataclass(frozen=True, eq=False)
class RepackedSideChains:
    """Repacked side chains around a loop.

    Attributes
    ----------
    atoms : (s,) int
        Atoms of the structure.
    xyz : (s, 3) float
        Their coordinates, nm.
    """

    atoms: np.ndarray
    xyz: Floats

    def apply(self, xyz: Floats) -> Floats:
        """Coordinates (n_atoms, 3) with these side chains in their new places."""
        moved = xyz.copy()
        moved[self.atoms] = self.xyz
        return moved


NOTHING = RepackedSideChains(np.empty(0, dtype=np.int64), np.empty((0, 3)))


def near(structure: Structure, places: Floats, radius: float, steering: Mask) -> np.ndarray:
    """Whether the CB of each of K residues (its CA, where there is none) lies within `radius` (nm) of places.

    Parameters
    ----------
    places : (..., p, 3)
        Sets of places.

    Returns
    -------
    (..., K) bool
    """
    residues, atoms = list[int](), list[int]()
    for k in range(len(structure.residues)):
        atom = structure.atom(k, "CB", steering)
        atom = structure.atom(k, "CA", steering) if atom is None else atom
        if atom is not None and structure.is_amino_acid(k):
            residues.append(k)
            atoms.append(atom)
    sets = places.reshape(-1, *places.shape[-2:])
    found = np.zeros((len(sets), len(structure.residues)), dtype=bool)
    for one, own in zip(sets, found, strict=True):
        own[residues] = cKDTree(one).query(structure.xyz[atoms], distance_upper_bound=radius)[0] <= radius
    return found.reshape(*places.shape[:-2], -1)


def repackable(structure: Structure, steering: Mask) -> list[int]:
    """Residues whose side chains may turn: complete or to be completed, in one conformer, linked to nothing."""
    linked = set(structure.residue_of[[end for link in structure.links for end in (link.i, link.j)]].tolist())
    table = neighbours(bond_list(structure, steering), len(structure))
    found = []
    for k, residue in enumerate(structure.residues):
        if residue.resname in RIGID or k in linked or side_chain(residue.resname) is None:
            continue
        own = set(residue.atoms.tolist())
        away = any(
            other not in own for a in residue.atoms.tolist() if structure.name[a] not in KEPT for other in table[a]
        )
        if structure.is_amino_acid(k) and not away and not np.any(structure.altloc[residue.atoms] != ""):
            found.append(k)
    return found


def lacking(structure: Structure, residues: Sequence[int], steering: Mask) -> list[int]:
    """Those of some residues that lack atoms of their side chains, CB included."""
    found = []
    for k in residues:
        chain = side_chain(structure.residues[k].resname)
        names = ("CB", *(chain.names if chain is not None else ()))
        if structure.residues[k].resname != "GLY" and any(structure.atom(k, name, steering) is None for name in names):
            found.append(k)
    return found


def completed(structure: Structure, residues: Sequence[int], *, seed: int = 0) -> tuple[Structure, list[AddedAtom]]:
    """The structure with the side-chain atoms that some residues lack, packed, and what was added.

    What is there of those side chains stays where it is.
    """
    missing = lacking(structure, residues, structure.steering_mask)
    if not missing:
        return structure, []
    added = placed(structure, pack(structure, missing, seed=seed))[1]
    return with_atoms(structure, added), added


def without_side_chains(structure: Structure, residues: Sequence[int]) -> tuple[Structure, np.ndarray]:
    """The structure with some residues cut down to their backbone and CB, and which atoms it kept, (n_atoms,) bool."""
    cut = np.isin(structure.residue_of, np.asarray(residues, dtype=np.int64))
    kept = ~cut | np.isin(structure.name, list(KEPT))
    return subset(structure, kept), kept


def subset(structure: Structure, kept: Mask) -> Structure:
    """The structure of some of its atoms (n_atoms,) bool; residues that keep none are gone."""
    place = np.cumsum(kept) - 1
    left = [(residue, place[residue.atoms[kept[residue.atoms]]]) for residue in structure.residues]
    own = [replace(residue, atoms=atoms) for residue, atoms in left if len(atoms)]
    fewer = {column: getattr(structure, column)[kept] for column in COLUMNS}
    fewer["residue_of"] = np.unique(structure.residue_of[kept], return_inverse=True)[1]
    return replace(structure, **fewer, residues=tuple(own), links=links_among(structure, kept), document=None)


def repacked(structure: Structure, loop: Sequence[int], shell: Sequence[int], *, seed: int = 0) -> RepackedSideChains:
    """Side chains of a loop and of its shell, packed together on the structure's backbone, and eased (`SideChains`).

    Returns
    -------
    RepackedSideChains
        Atoms of both, hydrogens with them; a residue that packing does not know stays.
    """
    steering = structure.steering_mask
    packed = pack(structure, [*loop, *shell], seed=seed)
    table = neighbours(bond_list(structure, steering), len(structure))
    chosen = dict(zip(packed.residue.tolist(), packed.chi, strict=True))
    turning = [k for k in chosen if structure.residues[k].resname not in RIGID]
    chains = SideChains.of(structure, turning, steering, table)
    wanted = np.array([chosen[k][depth] for k, depth in zip(chains.residue.tolist(), chains.depth, strict=True)])
    xyz = eased(chains, chains.turned(structure.xyz, wanted - chains.chi(structure.xyz)))
    atoms = np.flatnonzero(chains.carried.any(0))
    return RepackedSideChains(atoms, xyz[atoms])
