"""Covalent bonds of a structure: templates for known residues, distances for others, records for links.

Distances alone would fail in damaged loops, where atoms that clash are as close as bonded ones. Standard residues
therefore have the bonds of OpenMM's residue templates. Other residues are bonded by distance, within the residue only,
whose internal geometry a perturbed loop preserves. Peptide bonds join consecutive residues. Any other bond between
residues needs a record (LINK, SSBOND, CONECT, _struct_conn), two cysteine sulphurs at bonding distance, or the evidence
that `covalent_links` requires.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import pairwise
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.molecule.residues import AMINO_NAMES, standard_name
from geofold.molecule.structure import Floats, Link, Mask, Structure
from geofold.molecule.topology.covalent_links import unrecorded_links

COVALENT_RADIUS = {"H": 0.031, "D": 0.031, "C": 0.076, "N": 0.071, "O": 0.066, "S": 0.105, "SE": 0.120, "P": 0.107}
"""Covalent radii (nm) of Cordero et al. (Dalton Trans. 2008, 2832); 0.14 for other elements."""
BOND_TOLERANCE = 0.045
"""Largest excess (nm) of a bond over the sum of the covalent radii."""
DISULFIDE = (0.18, 0.25)
"""Range of S-S distances of a disulfide, nm."""
CYSTEINES = sorted(name for name in AMINO_NAMES if standard_name(name) == "CYS")


@cache
def templates() -> dict[str, list[tuple[str, str]]]:
    """Load the bonds inside each residue known to OpenMM, as pairs of atom names."""
    import openmm.app

    root = ElementTree.parse(Path(openmm.app.__file__).parent / "data" / "residues.xml").getroot()
    return {
        residue.attrib["name"]: [
            (bond.attrib["from"], bond.attrib["to"])
            for bond in residue.findall("Bond")
            if not bond.attrib["from"].startswith("-") and not bond.attrib["to"].startswith("-")
        ]
        for residue in root
    }


def bond_list(structure: Structure, conformer: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List the covalent bonds between the atoms of a conformer, as pairs of atom indices.

    Parameters
    ----------
    structure : Structure
        Structure.
    conformer : (n,) bool
        One conformer per residue, see `Structure.conformer`.

    Returns
    -------
    list of (int, int)
        Bonds inside residues, peptide bonds, disulfides and recorded links, each pair once, lower index first.
    """
    bonds: set[tuple[int, int]] = set()
    known = templates()
    for index, residue in enumerate(structure.residues):
        atoms = residue.atoms[conformer[residue.atoms]]
        bonds.update(_inside(structure, atoms, known.get(standard_name(residue.resname))))
        if structure.is_amino_acid(index):
            bonds.update(_backbone_bonds(structure, index, conformer))
    for index in range(len(structure.residues) - 1):
        if structure.bonded(index, index + 1):
            carbon = structure.atom(index, "C", conformer)
            nitrogen = structure.atom(index + 1, "N", conformer)
            if carbon is not None and nitrogen is not None:
                bonds.add((min(carbon, nitrogen), max(carbon, nitrogen)))
    bonds.update(link_bonds(structure, conformer))
    return sorted(bonds)


def link_bonds(structure: Structure, conformer: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Find links between residues: recorded ones, and unrecorded disulfides, amides and glycosidic bonds."""
    links = set(unrecorded_links(structure, conformer))
    for link in structure.links:
        different = structure.residue_of[link.i] != structure.residue_of[link.j]
        if conformer[link.i] and conformer[link.j] and different:
            links.add((min(link.i, link.j), max(link.i, link.j)))
    sulphur = np.flatnonzero(conformer & (structure.name == "SG") & np.isin(structure.resname, CYSTEINES))
    i, j, distance = _pairs_within(structure.xyz[sulphur], DISULFIDE[1])
    near = (distance >= DISULFIDE[0]) & (distance <= DISULFIDE[1])
    links.update(zip(sulphur[i[near]].tolist(), sulphur[j[near]].tolist(), strict=True))
    return links


def is_complete(structure: Structure, index: int, conformer: NDArray[np.bool_]) -> bool:
    """Return whether a residue has all heavy atoms of its template except OXT; True if it has no template."""
    known = templates().get(standard_name(structure.residues[index].resname))
    if known is None:
        return True
    heavy = {name for bond in known for name in bond if not name.startswith("H") and name != "OXT"}
    present = {str(structure.name[a]) for a in structure.residues[index].atoms if conformer[a]}
    if structure.residues[index].resname == "ILE" and "CD" in present:  # CHARMM's name
        present.add("CD1")
    return heavy <= present


def adjacency_list(bonds: list[tuple[int, int]], n: int) -> list[list[int]]:
    """Build the adjacency list of the bond graph of n atoms, each list in ascending order."""
    adjacency: list[list[int]] = [[] for _ in range(n)]
    for i, j in bonds:
        adjacency[i].append(j)
        adjacency[j].append(i)
    return [sorted(row) for row in adjacency]


def bond_graph(structure: Structure, conformer: Mask) -> list[list[int]]:
    """Adjacency list of `bond_list`, made once for the conformers of a structure and shared: it is not to be changed.

    Parameters
    ----------
    structure : Structure
    conformer : (n,) bool
        One conformer per residue, see `Structure.conformer`.
    """
    graphs, key = _GRAPHS.setdefault(structure, {}), conformer.tobytes()
    if key not in graphs:
        graphs[key] = adjacency_list(bond_list(structure, conformer), len(structure))
    return graphs[key]


_GRAPHS: WeakKeyDictionary[Structure, dict[bytes, list[list[int]]]] = WeakKeyDictionary()
"""Bond graphs of living structures by conformer."""


def pairs_within_bonds(adjacency: list[list[int]], atoms: NDArray[np.int64], depth: int) -> list[tuple[int, int]]:
    """List the pairs (atom of `atoms`, second atom) that are at most `depth` bonds apart."""
    pairs: list[tuple[int, int]] = []
    for start in atoms:
        visited = {int(start)}
        frontier = [int(start)]
        for _ in range(depth):
            frontier = [b for a in frontier for b in adjacency[a] if b not in visited]
            frontier = list(dict.fromkeys(frontier))
            visited.update(frontier)
        pairs.extend((int(start), other) for other in sorted(visited) if other != start)
    return pairs


def _inside(
    structure: Structure, atoms: NDArray[np.int64], template: list[tuple[str, str]] | None
) -> list[tuple[int, int]]:
    """List the bonds inside one residue from its template; atoms not in it are bonded to the nearest heavy atom."""
    if len(atoms) < 2:
        return []
    if template is None:
        return _by_distance(structure, atoms)
    index = {str(structure.name[a]): int(a) for a in atoms}
    bonds = [(index[i], index[j]) for i, j in template if i in index and j in index]
    bonded = {a for bond in bonds for a in bond}
    heavy = np.array([a for a in atoms if structure.element[a] not in ("H", "D")], dtype=np.int64)
    rest = [a for a in atoms.tolist() if a not in bonded]
    if rest and len(heavy):  # the query may return the atom itself; of equally near atoms the first is taken
        k = range(1, min(3, len(heavy)) + 1)
        distance, nearest = cKDTree(structure.xyz[heavy]).query(structure.xyz[rest], k=k)
        for atom, *near in zip(rest, distance.tolist(), heavy[nearest].tolist(), strict=True):
            others = [(gap, other) for gap, other in zip(*near, strict=True) if other != atom]
            bonds += [(atom, min(others)[1])] if others else []
    return [(min(b), max(b)) for b in bonds]


def _backbone_bonds(structure: Structure, index: int, conformer: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """List N-CA and CA-C of an amino acid, which are bonded at any distance, as template bonds are."""
    atoms = [structure.atom(index, name, conformer) for name in ("N", "CA", "C")]
    return [(min(i, j), max(i, j)) for i, j in pairwise(atoms) if i is not None and j is not None]


def links_among(structure: Structure, mask: Mask) -> tuple[Link, ...]:
    """Select the links between atoms of a mask (n,), with indices counted within the mask."""
    index = np.cumsum(mask) - 1
    return tuple(
        Link(int(index[link.i]), int(index[link.j]), link.source)
        for link in structure.links
        if mask[link.i] and mask[link.j]
    )


def _by_distance(structure: Structure, atoms: NDArray[np.int64]) -> list[tuple[int, int]]:
    radius = np.array([COVALENT_RADIUS.get(str(structure.element[a]), 0.14) for a in atoms])
    hydrogen = np.array([structure.element[a] in ("H", "D") for a in atoms])
    i, j, distance = _pairs_within(structure.xyz[atoms], 2 * radius.max() + BOND_TOLERANCE)
    close = (distance < radius[i] + radius[j] + BOND_TOLERANCE) & ~(hydrogen[i] & hydrogen[j])
    return list(zip(atoms[i[close]].tolist(), atoms[j[close]].tolist(), strict=True))


def _pairs_within(xyz: Floats, cutoff: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Find pairs i < j of points (n, 3) within about `cutoff` of each other, and their distances (p,)."""
    if len(xyz) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    pairs = cKDTree(xyz).query_pairs(cutoff * (1 + 1e-9), output_type="ndarray")
    i, j = pairs.T
    return i, j, np.linalg.norm(xyz[i] - xyz[j], axis=-1)
