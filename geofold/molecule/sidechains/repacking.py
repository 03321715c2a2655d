"""Repacking of the side chains around a loop.

Neighbouring side chains rotate about their chi axes, so their bond lengths, angles and chiralities are preserved up to
rounding; ideal geometry from the rotamer library is used for missing atoms only.

Glossary: ``s`` atoms of rotated side chains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from geofold.molecule.io.edit import with_atoms
from geofold.molecule.sidechains.chi_minimisation import SideChains, relax_chi
from geofold.molecule.sidechains.packing import pack, place_side_chains
from geofold.molecule.sidechains.partial_side_chains import find_atom, has_detached_atoms
from geofold.molecule.sidechains.rotamer_library import side_chain, side_chain_names
from geofold.molecule.structure import COLUMNS, AddedAtom, Floats, Mask, Structure
from geofold.molecule.topology.bond_walk import BACKBONE
from geofold.molecule.topology.bonds import bond_graph, links_among

RIGID_RINGS = frozenset({"PRO", "HYP"})
"""Residues with rigid rings, which are not repacked."""
BACKBONE_AND_CB = frozenset((*BACKBONE, "CB", "OXT", "H", "HA", "HA2", "HA3", "H1", "H2", "H3"))
"""Atoms that remain of a residue without its side chain."""


@dataclass(frozen=True, eq=False)
class RepackedSideChains:
    """Repacked side chains around a loop.

    Attributes
    ----------
    atoms : (s,) int
        Indices of atoms of the structure.
    xyz : (s, 3) float
        Their coordinates, nm.
    """

    atoms: np.ndarray
    xyz: Floats

    def apply(self, xyz: Floats) -> Floats:
        """Return coordinates (n_atoms, 3) with the repacked side chains."""
        moved = xyz.copy()
        moved[self.atoms] = self.xyz
        return moved


NO_REPACKING = RepackedSideChains(np.empty(0, dtype=np.int64), np.empty((0, 3)))


def mark_near_residues(structure: Structure, points: Floats, radius: float, conformer: Mask) -> np.ndarray:
    """Mark the residues whose CB (or CA, if there is no CB) is near one of some points.

    Parameters
    ----------
    structure : Structure
        Structure with K residues.
    points : (..., p, 3)
        Sets of points, nm.
    radius : float
        Largest distance, nm.
    conformer : (n_atoms,) bool
        Atoms of the conformer.

    Returns
    -------
    (..., K) bool
    """
    residues, atoms = list[int](), list[int]()
    for k in range(len(structure.residues)):
        atom = structure.atom(k, "CB", conformer)
        atom = structure.atom(k, "CA", conformer) if atom is None else atom
        if atom is not None and structure.is_amino_acid(k):
            residues.append(k)
            atoms.append(atom)
    sets = points.reshape(-1, *points.shape[-2:])
    near = np.zeros((len(sets), len(structure.residues)), dtype=bool)
    for row, set_points in zip(near, sets, strict=True):
        row[residues] = cKDTree(set_points).query(structure.xyz[atoms], distance_upper_bound=radius)[0] <= radius
    return near.reshape(*points.shape[:-2], -1)


def find_repackable(structure: Structure, conformer: Mask) -> list[int]:
    """Find residues whose side chains may be repacked: in a single conformer and without covalent links."""
    linked = set(structure.residue_of[[end for link in structure.links for end in (link.i, link.j)]].tolist())
    adjacency = bond_graph(structure, conformer)
    residues = []
    for k, residue in enumerate(structure.residues):
        if residue.resname in RIGID_RINGS or k in linked or side_chain(residue.resname) is None:
            continue
        members = set(residue.atoms.tolist())
        bonded_outside = any(
            b not in members
            for a in residue.atoms.tolist()
            if structure.name[a] not in BACKBONE_AND_CB
            for b in adjacency[a]
        )
        if structure.is_amino_acid(k) and not bonded_outside and not np.any(structure.altloc[residue.atoms] != ""):
            residues.append(k)
    return residues


def missing_names(structure: Structure, k: int, conformer: Mask) -> list[str]:
    """Names of the side-chain atoms, CB included, that a residue lacks."""
    names = side_chain_names(structure.residues[k].resname)
    return [name for name in names if find_atom(structure, k, name, conformer) is None]


def find_incomplete(structure: Structure, residues: Sequence[int], conformer: Mask) -> list[int]:
    """Find those of some residues that lack atoms of their side chains, CB included."""
    return [k for k in residues if missing_names(structure, k, conformer)]


def missing_side_chain_atoms(
    structure: Structure, residues: Sequence[int], conformer: Mask, *, seed: int = 0
) -> list[AddedAtom]:
    """Pack the side-chain atoms that some residues lack; present atoms keep their places.

    Parameters
    ----------
    structure : Structure
    residues : sequence of int
        Indices of residues; those of `why_not_completed`, and those that lack N, CA or C, are left out.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    seed : int
        Seed of the annealing.
    """
    missing = [
        k for k in find_incomplete(structure, residues, conformer) if why_not_completed(structure, k, conformer) is None
    ]
    return place_side_chains(structure, pack(structure, missing, seed=seed, keep_present=True))[1] if missing else []


def why_not_completed(structure: Structure, k: int, conformer: Mask) -> str | None:
    """Reason why the missing side-chain atoms of a residue cannot be packed; None if they can."""
    if (structure.altloc[structure.residues[k].atoms] != "").any():
        return "it has alternate locations"
    if has_detached_atoms(structure, k, conformer):
        return "it has atoms beyond the missing ones"
    return None


def complete_side_chains(
    structure: Structure, residues: Sequence[int], *, seed: int = 0
) -> tuple[Structure, list[AddedAtom]]:
    """Add the side-chain atoms that some residues lack, by packing; present atoms keep their places.

    Returns
    -------
    Structure, list of AddedAtom
        The completed structure, and the added atoms.
    """
    added = missing_side_chain_atoms(structure, residues, structure.conformer_mask, seed=seed)
    return (with_atoms(structure, added) if added else structure), added


def without_side_chains(structure: Structure, residues: Sequence[int]) -> tuple[Structure, np.ndarray]:
    """Remove the side chains of some residues beyond CB.

    Returns
    -------
    Structure, (n_atoms,) bool
        The remaining structure, and which atoms remain.
    """
    truncated = np.isin(structure.residue_of, np.asarray(residues, dtype=np.int64))
    mask = ~truncated | np.isin(structure.name, list(BACKBONE_AND_CB))
    return select_atoms(structure, mask), mask


def select_atoms(structure: Structure, mask: Mask) -> Structure:
    """Select atoms of a structure by a mask (n_atoms,); residues without a selected atom are removed."""
    index = np.cumsum(mask) - 1
    parts = [(residue, index[residue.atoms[mask[residue.atoms]]]) for residue in structure.residues]
    residues = [replace(residue, atoms=atoms) for residue, atoms in parts if len(atoms)]
    selected = {column: getattr(structure, column)[mask] for column in COLUMNS}
    selected["residue_of"] = np.unique(structure.residue_of[mask], return_inverse=True)[1]
    return replace(structure, **selected, residues=tuple(residues), links=links_among(structure, mask), document=None)


def repack(structure: Structure, loop: Sequence[int], shell: Sequence[int], *, seed: int = 0) -> RepackedSideChains:
    """Pack the side chains of a loop and of its shell together, then relax them along chi.

    Parameters
    ----------
    structure : Structure
        Structure, whose backbone stays.
    loop, shell : sequence of int
        Indices of residues.
    seed : int
        Seed of the annealing.

    Returns
    -------
    RepackedSideChains
        Atoms of both, hydrogens included; residues without rotamers are unchanged.
    """
    conformer = structure.conformer_mask
    packed = pack(structure, [*loop, *shell], seed=seed)
    adjacency = bond_graph(structure, conformer)
    chosen = dict(zip(packed.residue.tolist(), packed.chi, strict=True))
    rotatable = [k for k in chosen if structure.residues[k].resname not in RIGID_RINGS]
    chains = SideChains.of(structure, rotatable, conformer, adjacency)
    target = np.array([chosen[k][depth] for k, depth in zip(chains.residue.tolist(), chains.depth, strict=True)])
    xyz = relax_chi(chains, chains.rotate(structure.xyz, target - chains.chi(structure.xyz)))
    atoms = np.flatnonzero(chains.moved_atoms.any(0))
    return RepackedSideChains(atoms, xyz[atoms])
