"""Packing of side chains onto a backbone: rotamers, dead-end elimination, annealing of the remaining rotamers.

Glossary: ``R`` residues that are packed, ``K`` rotamers of a residue, ``m`` side-chain atoms beyond CB, ``F`` fixed
atoms.

The energy is that of SCWRL3 (Canutescu, Shelenkov and Dunbrack, Protein Sci. 12:2001, 2003): the logarithm of a
rotamer's probability, a repulsion between heavy atoms that increases linearly with the overlap, and a bonus for
cysteines at the distance of a disulfide bond.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.geometry import dihedral
from geofold.molecule.sidechains.dead_end_elimination import (
    DEFAULT_RADIUS,
    PACKING_RADIUS,
    ResidueRotamers,
    anneal,
    eliminate,
    interactions,
    repulsion,
)
from geofold.molecule.sidechains.partial_side_chains import (
    PartialSideChain,
    attach_missing,
    find_atom,
    partial_side_chain,
    with_present_chi,
)
from geofold.molecule.sidechains.rotamer_library import (
    backbone_frames,
    build_rotamers,
    library_type,
    load_library,
    side_chain,
)
from geofold.molecule.structure import WATER, AddedAtom, Structure
from geofold.molecule.topology.bond_walk import BACKBONE

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PROBABILITY_WEIGHT = 3.0
"""Weight of -log(p / p_max) in the energy."""
CHI1_OFFSET = 1.0
"""Offset of chi1 (standard deviations) of two additional rotamers, one on each side."""
CUMULATIVE_PROBABILITY, MAX_EXCESS_ENERGY = 0.98, 30.0
"""Cumulative probability up to which rotamers are considered, and largest energy above the best rotamer."""


@dataclass(frozen=True)
class PackedSideChains:
    """Side chains of the chosen rotamers.

    Attributes
    ----------
    residue : (R,) int
        Indices of the residues.
    chi : list of (L,)
        Torsions, radian.
    xyz : list of (m, 3)
        Atoms beyond CB, in the order of `side_chain(name).names`, nm.
    energy : float
        Energy of the choice (see the module).
    cb : dict of int to (3,)
        CB atoms that the backbone lacks, alanine's included, nm.
    """

    residue: Ints
    chi: list[Floats]
    xyz: list[Floats]
    energy: float
    cb: dict[int, Floats]


def pack(
    structure: Structure, residues: Ints | list[int] | None = None, *, seed: int = 0, keep_present: bool = False
) -> PackedSideChains:
    """Choose rotamers of some residues with all other atoms fixed.

    Parameters
    ----------
    structure : Structure
        Structure with complete N, CA and C of the residues.
    residues : sequence of int or None
        Indices; None packs all amino acids with a side chain.
    seed : int
        Seed of the annealing.
    keep_present : bool
        Whether atoms of these side chains that are present keep their places; else they are ignored.
    """
    conformer = structure.conformer_mask
    torsions = backbone_torsions(structure)
    requested = range(len(structure.residues)) if residues is None else residues
    chosen = [k for k in requested if side_chain(structure.residues[k].resname) and np.isfinite(torsions[k, 3])]
    cb = _missing_cb(structure, torsions, conformer)
    fixed = _fixed_atoms(structure, chosen, conformer, cb)
    partial = {k: partial_side_chain(structure, k, cb.get(k), conformer) for k in chosen if keep_present}
    sites = [_candidate_rotamers(structure, k, torsions[k], conformer, fixed, partial.get(k)) for k in chosen]
    pairs = interactions(sites)
    eliminate(sites, pairs)
    picks, energy = anneal(sites, pairs, seed)
    return PackedSideChains(
        np.array(chosen, dtype=np.int64),
        [s.chi[p] for s, p in zip(sites, picks, strict=True)],
        [s.xyz[p] for s, p in zip(sites, picks, strict=True)],
        energy,
        {k: cb[k] for k in requested if k in cb},
    )


def place_side_chains(
    structure: Structure, packed: PackedSideChains
) -> tuple[Floats, list[AddedAtom], NDArray[np.bool_]]:
    """Place packed side chains in the coordinates of a structure.

    Returns
    -------
    xyz : (n_atoms, 3)
        Coordinates with the packed side chains, nm.
    added : list of AddedAtom
        Atoms that the structure lacks, CB included.
    stale : (n_atoms,) bool
        Atoms at positions of the previous side chains: their hydrogens and other conformers.
    """
    conformer = structure.conformer_mask
    xyz, stale = structure.xyz.copy(), np.zeros(len(structure), dtype=bool)
    added = [AddedAtom(k, "CB", "C", position) for k, position in packed.cb.items()]
    for k, atoms in zip(packed.residue.tolist(), packed.xyz, strict=True):
        chain = side_chain(structure.residues[k].resname)
        assert chain is not None
        residue_atoms = structure.residues[k].atoms
        stale[residue_atoms] = (
            ~np.isin(structure.name[residue_atoms], (*BACKBONE, "OXT", "CB", "H", "HA")) | ~conformer[residue_atoms]
        )
        for name, element, position in zip(chain.names, chain.elements, atoms, strict=True):
            atom = find_atom(structure, k, name, conformer)
            if atom is None:
                added.append(AddedAtom(k, name, element, position))
            else:
                xyz[atom], stale[atom] = position, False
    return xyz, added, stale


def find_shell(structure: Structure, residues: list[int] | Ints, radius: float = 0.6) -> Ints:
    """Find the given residues and all with an atom within `radius` (nm) of one of theirs."""
    conformer = structure.conformer_mask
    centre = np.isin(structure.residue_of, residues) & conformer
    near = cKDTree(structure.xyz[centre]).query(structure.xyz, distance_upper_bound=radius)[0] <= radius
    return np.unique(structure.residue_of[near & conformer])


def backbone_torsions(structure: Structure) -> Floats:
    """Compute phi, psi, the omega before each residue, and whether N, CA and C are present, (n_residues, 4).

    Angles are in radian, NaN at chain ends; the last column is 1 for complete residues and NaN for others.
    """
    conformer = structure.conformer_mask
    xyz = np.full((len(structure.residues), 3, 3), np.nan)
    for k in range(len(structure.residues)):
        for level, name in enumerate(("N", "CA", "C")):
            atom = structure.atom(k, name, conformer)
            if atom is not None:
                xyz[k, level] = structure.xyz[atom]
    n, ca, c = xyz[:, 0], xyz[:, 1], xyz[:, 2]
    bonded = np.array([structure.bonded(k, k + 1) for k in range(len(xyz) - 1)], dtype=bool)
    torsions = np.full((len(xyz), 4), np.nan)
    torsions[1:, 0][bonded] = dihedral(c[:-1], n[1:], ca[1:], c[1:])[bonded]
    torsions[:-1, 1][bonded] = dihedral(n[:-1], ca[:-1], c[:-1], n[1:])[bonded]
    torsions[1:, 2][bonded] = dihedral(ca[:-1], c[:-1], n[1:], ca[1:])[bonded]
    torsions[np.isfinite(xyz).all((1, 2)), 3] = 1.0
    return torsions


@dataclass(frozen=True)
class _FixedAtoms:
    """Fixed atoms: coordinates (F, 3), radii, residues (-1 if not an amino acid), and a backbone mask."""

    xyz: Floats
    radius: Floats
    residue: Ints
    name: NDArray[np.str_]
    tree: cKDTree


def _fixed_atoms(
    structure: Structure, chosen: list[int], conformer: NDArray[np.bool_], cb: dict[int, Floats]
) -> _FixedAtoms:
    packed = np.zeros(len(structure.residues), dtype=bool)
    packed[chosen] = True
    heavy = conformer & ~np.isin(structure.element, ("H", "D")) & ~np.isin(structure.resname, list(WATER))
    stays = heavy & (~packed[structure.residue_of] | np.isin(structure.name, ("N", "CA", "C", "O", "OXT", "CB")))
    atoms = np.flatnonzero(stays)
    xyz, residue, name = structure.xyz[atoms], structure.residue_of[atoms], structure.name[atoms]
    element = structure.element[atoms]
    if cb:
        xyz, residue = np.concatenate([xyz, list(cb.values())]), np.concatenate([residue, list(cb)])
        name = np.concatenate([name, ["CB"] * len(cb)])
        element = np.concatenate([element, ["C"] * len(cb)])
    radius = np.array([PACKING_RADIUS.get(str(e), DEFAULT_RADIUS) for e in element])
    return _FixedAtoms(xyz, radius, residue, name, cKDTree(xyz))


def _backbone_frame(structure: Structure, k: int, conformer: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    atoms = [structure.atom(k, name, conformer) for name in ("N", "CA", "C")]
    return backbone_frames(*(structure.xyz[a] for a in atoms if a is not None))


def _missing_cb(structure: Structure, torsions: Floats, conformer: NDArray[np.bool_]) -> dict[int, Floats]:
    """Compute the position of CB (3,) in the amino acids that lack it."""
    positions = {}
    for k in np.flatnonzero(np.isfinite(torsions[:, 3])).tolist():
        name = structure.residues[k].resname
        chain = side_chain("SER" if name == "ALA" else name)
        if chain is not None and structure.atom(k, "CB", conformer) is None:
            rotation, origin = _backbone_frame(structure, k, conformer)
            positions[k] = np.asarray(chain.cb @ rotation + origin)
    return positions


def _candidate_rotamers(
    structure: Structure,
    k: int,
    torsions: Floats,
    conformer: NDArray[np.bool_],
    fixed: _FixedAtoms,
    partial: PartialSideChain | None = None,
) -> ResidueRotamers:
    """List the rotamers of a residue, without those of high energy.

    Parameters
    ----------
    structure : Structure
        Structure with the residue.
    k : int
        Index of the residue.
    torsions : (4,)
        Its row of `backbone_torsions`.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    fixed : _FixedAtoms
        Atoms that stay.
    partial : PartialSideChain, optional
        Side-chain atoms that keep their places.
    """
    name = structure.residues[k].resname
    chain = side_chain(name)
    assert chain is not None
    probability, chi, sigma = load_library().rotamers(library_type(name, torsions[2]), torsions[0], torsions[1])
    count = max(int(np.searchsorted(np.cumsum(probability), CUMULATIVE_PROBABILITY)) + 1, 3)
    probability, chi, sigma = probability[:count], chi[:count], sigma[:count]
    cost = -PROBABILITY_WEIGHT * np.log(probability / probability[0])
    if CHI1_OFFSET and name != "PRO":
        # a rotamer is a distribution: chi1 off its mean is tried, too, weighted by its density
        offset = np.zeros_like(chi)
        offset[:, 0] = CHI1_OFFSET * sigma[:, 0]
        chi = np.concatenate([chi, chi - offset, chi + offset])
        cost = np.concatenate([cost, *[cost + PROBABILITY_WEIGHT * CHI1_OFFSET**2 / 2] * 2])
    if partial is not None:
        spread = np.concatenate([sigma] * (len(chi) // len(sigma)))
        chi, excess = with_present_chi(name, partial, chi, spread, cost / PROBABILITY_WEIGHT)
        cost = PROBABILITY_WEIGHT * excess
    rotation, origin = _backbone_frame(structure, k, conformer)
    xyz = build_rotamers(chain, chi, rotation, origin)
    if partial is not None:
        xyz = attach_missing(name, partial, xyz, chain.cb @ rotation + origin)
    site = ResidueRotamers(k, chain, chi, xyz, cost)
    site.energy = cost + _repulsion_from_fixed(site, fixed)
    site.keep(np.flatnonzero(site.energy < site.energy.min() + MAX_EXCESS_ENERGY))
    return site


def _repulsion_from_fixed(site: ResidueRotamers, fixed: _FixedAtoms) -> Floats:
    """Compute the repulsion (K,) between rotamers and fixed atoms, excluding bonded neighbours."""
    radius = np.linalg.norm(site.xyz - site.xyz.mean((0, 1)), axis=-1).max() + 0.35
    near = np.array(fixed.tree.query_ball_point(site.xyz.mean((0, 1)), radius), dtype=np.int64)
    same = fixed.residue[near] == site.residue
    # the backbone of the residue is at most three bonds from the atoms next to CB, and excluded for these only
    first = np.array([name[1:2] == "G" for name in site.chain.names])
    energy = repulsion(site.xyz[:, :, None] - fixed.xyz[near], site.radius[:, None] + fixed.radius[near])
    energy[:, first[:, None] & same] = 0.0
    energy[:, :, same & np.isin(fixed.name[near], ("CA", "CB"))] = 0.0
    if site.chain.names[-1:] == ("CD",) and "CG" in site.chain.names and len(site.chain.names) == 2:  # proline's ring
        energy[:, :, same] = 0.0
        energy[:, :, fixed.residue[near] == site.residue - 1] = 0.0
    return np.asarray(energy.sum((1, 2)))
