"""Covalent bonds of a structure: templates for known residues, distances for the rest, records for links.

Distances alone would be wrong exactly where we are needed: in a clashing loop, atoms that are not bonded
come as close as atoms that are. So standard residues take OpenMM's residue templates, other residues are
bonded by distance within the residue only (whose inner geometry a bent loop keeps), peptide bonds join
consecutive residues, and anything else between residues needs a record (LINK, SSBOND, CONECT,
_struct_conn), two cysteine sulphurs at bonding distance, or what `links` can tell from a clash.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.molecule.residues import AMINO_NAMES, standard_name
from geofold.molecule.structure import Floats, Link, Mask, Structure
from geofold.molecule.topology.covalent_links import unrecorded_links

COVALENT_RADIUS = {"H": 0.031, "D": 0.031, "C": 0.076, "N": 0.071, "O": 0.066, "S": 0.105, "SE": 0.120, "P": 0.107}
"""Cordero et al., Dalton Trans. 2008, 2832, in nm; other elements take 0.14."""
BOND_TOLERANCE = 0.045
DISULFIDE = (0.18, 0.25)
CYSTEINES = sorted(name for name in AMINO_NAMES if standard_name(name) == "CYS")


@cache
def templates() -> dict[str, list[tuple[str, str]]]:
    """Bonds inside each residue that OpenMM knows, as pairs of atom names."""
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


def bond_list(structure: Structure, steering: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Every covalent bond between steering atoms, as pairs of atom indices.

    Parameters
    ----------
    structure
        The molecule.
    steering : (n,) bool
        One conformer per residue, see `Structure.steering`.

    Returns
    -------
    list of (int, int)
        Bonds inside residues, peptide bonds, disulfides and recorded links, each pair once, lower index first.
    """
    bonds: set[tuple[int, int]] = set()
    known = templates()
    for index, residue in enumerate(structure.residues):
        atoms = residue.atoms[steering[residue.atoms]]
        bonds.update(_inside(structure, atoms, known.get(standard_name(residue.resname))))
        if structure.is_amino_acid(index):
            bonds.update(_backbone_bonds(structure, index, steering))
    for index in range(len(structure.residues) - 1):
        if structure.bonded(index, index + 1):
            carbon = structure.atom(index, "C", steering)
            nitrogen = structure.atom(index + 1, "N", steering)
            if carbon is not None and nitrogen is not None:
                bonds.add((min(carbon, nitrogen), max(carbon, nitrogen)))
    bonds.update(link_bonds(structure, steering))
    return sorted(bonds)


def link_bonds(structure: Structure, steering: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Recorded links between residues; disulfides, amides and glycosidic bonds found without a record."""
    found = set(unrecorded_links(structure, steering))
    for link in structure.links:
        different = structure.residue_of[link.i] != structure.residue_of[link.j]
        if steering[link.i] and steering[link.j] and different:
            found.add((min(link.i, link.j), max(link.i, link.j)))
    sulphur = np.flatnonzero(steering & (structure.name == "SG") & np.isin(structure.resname, CYSTEINES))
    i, j, distance = _pairs_within(structure.xyz[sulphur], DISULFIDE[1])
    near = (distance >= DISULFIDE[0]) & (distance <= DISULFIDE[1])
    found.update(zip(sulphur[i[near]].tolist(), sulphur[j[near]].tolist(), strict=True))
    return found


def is_complete(structure: Structure, index: int, steering: NDArray[np.bool_]) -> bool:
    """Whether a residue has all heavy atoms of its template, OXT apart; one without a template counts as complete."""
    known = templates().get(standard_name(structure.residues[index].resname))
    if known is None:
        return True
    heavy = {name for bond in known for name in bond if not name.startswith("H") and name != "OXT"}
    there = {str(structure.name[a]) for a in structure.residues[index].atoms if steering[a]}
    if structure.residues[index].resname == "ILE" and "CD" in there:  # CHARMM's name
        there.add("CD1")
    return heavy <= there


def adjacency_list(bonds: list[tuple[int, int]], n: int) -> list[list[int]]:
    """Adjacency list of the bond graph, each list in ascending order."""
    adjacency: list[list[int]] = [[] for _ in range(n)]
    for i, j in bonds:
        adjacency[i].append(j)
        adjacency[j].append(i)
    return [sorted(row) for row in adjacency]


def pairs_within_bonds(adjacency: list[list[int]], atoms: NDArray[np.int64], depth: int) -> list[tuple[int, int]]:
    """Pairs (atom of `atoms`, other atom) at most `depth` bonds apart."""
    pairs: list[tuple[int, int]] = []
    for start in atoms:
        seen = {int(start)}
        frontier = [int(start)]
        for _ in range(depth):
            frontier = [b for a in frontier for b in adjacency[a] if b not in seen]
            frontier = list(dict.fromkeys(frontier))
            seen.update(frontier)
        pairs.extend((int(start), other) for other in sorted(seen) if other != start)
    return pairs


def _inside(
    structure: Structure, atoms: NDArray[np.int64], template: list[tuple[str, str]] | None
) -> list[tuple[int, int]]:
    """Bonds inside one residue: by template where it speaks, each left-over atom to its nearest heavy atom."""
    if len(atoms) < 2:
        return []
    if template is None:
        return _by_distance(structure, atoms)
    index = {str(structure.name[a]): int(a) for a in atoms}
    bonds = [(index[i], index[j]) for i, j in template if i in index and j in index]
    bonded = {a for bond in bonds for a in bond}
    heavy = np.array([a for a in atoms if structure.element[a] not in ("H", "D")], dtype=np.int64)
    rest = [a for a in atoms.tolist() if a not in bonded]
    if rest and len(heavy):  # an atom may be the nearest to itself, and of equally near ones the first is taken
        k = range(1, min(3, len(heavy)) + 1)
        distance, place = cKDTree(structure.xyz[heavy]).query(structure.xyz[rest], k=k)
        for atom, *near in zip(rest, distance.tolist(), heavy[place].tolist(), strict=True):
            others = [(apart, other) for apart, other in zip(*near, strict=True) if other != atom]
            bonds += [(atom, min(others)[1])] if others else []
    return [(min(b), max(b)) for b in bonds]


def _backbone_bonds(structure: Structure, index: int, steering: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """N-CA and CA-C of an amino acid: an unknown one with scattered atoms is a chain too, as a known one is."""
    atoms = [structure.atom(index, name, steering) for name in ("N", "CA", "C")]
    return [(min(i, j), max(i, j)) for i, j in pairwise(atoms) if i is not None and j is not None]


def links_among(structure: Structure, kept: Mask) -> tuple[Link, ...]:
    """Links between atoms that are kept, (n,) bool, by their numbers among those."""
    place = np.cumsum(kept) - 1
    return tuple(
        Link(int(place[link.i]), int(place[link.j]), link.source)
        for link in structure.links
        if kept[link.i] and kept[link.j]
    )


def _by_distance(structure: Structure, atoms: NDArray[np.int64]) -> list[tuple[int, int]]:
    radius = np.array([COVALENT_RADIUS.get(str(structure.element[a]), 0.14) for a in atoms])
    hydrogen = np.array([structure.element[a] in ("H", "D") for a in atoms])
    i, j, distance = _pairs_within(structure.xyz[atoms], 2 * radius.max() + BOND_TOLERANCE)
    close = (distance < radius[i] + radius[j] + BOND_TOLERANCE) & ~(hydrogen[i] & hydrogen[j])
    return list(zip(atoms[i[close]].tolist(), atoms[j[close]].tolist(), strict=True))


def _pairs_within(xyz: Floats, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Pairs i < j of places (n, 3) at most about `reach` apart, and their distances (p,)."""
    if len(xyz) < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0)
    pairs = cKDTree(xyz).query_pairs(reach * (1 + 1e-9), output_type="ndarray")
    i, j = pairs.T
    return i, j, np.linalg.norm(xyz[i] - xyz[j], axis=-1)
