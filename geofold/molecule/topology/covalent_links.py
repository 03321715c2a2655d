"""Covalent links between residues that are not neighbours in sequence: lactams, rings, glycans; not disulfides.

Disulfides are in `geofold.molecule.topology.bonds`. A link is recorded in the file (LINK, CONECT, struct_conn),
or is a bond that differs from a clash: an amide whose carbon lacks a second oxygen or nitrogen, or a carbon of a sugar
at bonding distance from an atom at which proteins are glycosylated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.molecule.residues import standard_name
from geofold.molecule.structure import Mask, Structure

Pair = tuple[int, int]
"""Two atoms, the lower index first."""
RECORDED = 0.25
"""Length (nm) up to which a recorded bond is a constraint."""
AMIDE = (0.115, 0.16)
"""Range of the C-N distance of an amide, nm."""
GLYCOSIDIC = (0.12, 0.17)
"""Range of the distance from a sugar's carbon to N or O in a glycosidic bond, nm."""
NONMETALS = ("B", "C", "N", "O", "F", "SI", "P", "S", "CL", "SE", "BR", "I")
ACYL = {"ASP": "CG", "ASN": "CG", "GLU": "CD", "GLN": "CD"}
"""Side-chain carbons that form amides."""
AMINE = {"LYS": "NZ", "ORN": "NE", "DAB": "ND", "DPR": "NG"}
"""Side-chain nitrogens that form amides."""
GLYCOSYLATED = {"ASN": "ND2", "SER": "OG", "THR": "OG1"}
ANOMERIC = ("C1", "C2")
"""Carbons that form glycosidic bonds."""


def covalent_links(structure: Structure, conformer: Mask) -> list[Pair]:
    """Find covalent links of amino acids except peptide bonds along the chain, disulfides and bonds to metals.

    Parameters
    ----------
    structure : Structure
        Structure.
    conformer : (n,) bool
        One conformer per residue.
    """
    recorded = [(link.i, link.j) for link in structure.links if conformer[link.i] and conformer[link.j]]
    links = {(min(i, j), max(i, j)) for i, j in recorded if _is_link(structure, i, j)}
    return sorted(links | set(unrecorded_links(structure, conformer)))


def unrecorded_links(structure: Structure, conformer: Mask) -> list[Pair]:
    """Find amides and glycosidic bonds without a record."""
    amides = _pairs(structure, _acyl_carbons(structure, conformer), _amines(structure, conformer), AMIDE)
    linked = np.isin(structure.resname, list(GLYCOSYLATED)) & conformer
    bound = [a for a in np.flatnonzero(linked).tolist() if structure.name[a] == GLYCOSYLATED[str(structure.resname[a])]]
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])[structure.residue_of]
    sugars = np.flatnonzero(conformer & ~amino & np.isin(structure.name, ANOMERIC) & (structure.element == "C"))
    return sorted({*amides, *_pairs(structure, bound, sugars.tolist(), GLYCOSIDIC)})


def link_notes(structure: Structure, conformer: Mask) -> list[str]:
    """Write a note that lists the links; empty without links."""
    names = [f"{_site(structure, i)} - {_site(structure, j)}" for i, j in covalent_links(structure, conformer)]
    return [f"covalent links: {', '.join(names)}"] if names else []


def _site(structure: Structure, atom: int) -> str:
    residue = structure.residues[structure.residue_of[atom]]
    return f"{residue.label} {residue.resname}@{structure.name[atom]}"


def _is_link(structure: Structure, i: int, j: int) -> bool:
    """Return whether a recorded bond is a link in the sense of `covalent_links`."""
    first, second = sorted((int(structure.residue_of[i]), int(structure.residue_of[j])))
    if first == second or not (structure.is_amino_acid(first) or structure.is_amino_acid(second)):
        return False
    if not np.isin(structure.element[[i, j]], NONMETALS).all() or (structure.name[[i, j]] == "SG").all():
        return False
    names = (str(structure.name[i]), str(structure.name[j]))
    along = (names == ("C", "N") and _follows(structure, i, j)) or (names == ("N", "C") and _follows(structure, j, i))
    return not along and float(np.linalg.norm(structure.xyz[i] - structure.xyz[j])) <= RECORDED


def _follows(structure: Structure, carbon: int, nitrogen: int) -> bool:
    """Return whether the nitrogen's residue is next in the chain, by its position in the file or its number."""
    first, second = (int(structure.residue_of[a]) for a in (carbon, nitrogen))
    before, after = structure.residues[first], structure.residues[second]
    return before.chain == after.chain and (second == first + 1 or after.resnum == before.resnum + 1)


def _acyl_carbons(structure: Structure, conformer: Mask) -> list[int]:
    """Find acyl carbons of chain ends and side chains that have one oxygen or nitrogen where an acid has two."""
    carbons = []
    for k, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(k):
            continue
        names = [ACYL.get(standard_name(residue.resname))]
        if k + 1 == len(structure.residues) or not structure.bonded(k, k + 1):
            names.append("C")
        atoms = residue.atoms[conformer[residue.atoms]]
        polar = atoms[np.isin(structure.element[atoms], ("O", "N"))]
        for name in names:
            carbon = structure.atom(k, name, conformer) if name else None
            if carbon is not None:
                bonded = np.linalg.norm(structure.xyz[polar] - structure.xyz[carbon], axis=1) < AMIDE[1]
                carbons += [carbon] * int(bonded.sum() <= 1)
    return carbons


def _amines(structure: Structure, conformer: Mask) -> list[int]:
    """Find amine nitrogens of chain starts and side chains."""
    nitrogens = []
    for k, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(k):
            continue
        names = [AMINE.get(standard_name(residue.resname))]
        if k == 0 or not structure.bonded(k - 1, k):
            names.append("N")
        nitrogens += [a for name in names if name and (a := structure.atom(k, name, conformer)) is not None]
    return nitrogens


def _pairs(structure: Structure, first: list[int], second: list[int], length: tuple[float, float]) -> list[Pair]:
    """Find atoms of different residues at bonding distance, excluding peptide bonds along the chain.

    Parameters
    ----------
    structure : Structure
        Structure.
    first, second : list of int
        Atoms that may form the bonds.
    length : (float, float)
        Range of the bond length, nm.
    """
    if not first or not second:
        return []
    points: NDArray[np.float64] = structure.xyz[second]
    near = cKDTree(points).query_ball_point(structure.xyz[first], length[1])
    pairs = []
    for i, rows in zip(first, near, strict=True):
        for j in (second[row] for row in rows):
            distance = float(np.linalg.norm(structure.xyz[i] - structure.xyz[j]))
            along = (structure.name[i], structure.name[j]) == ("C", "N") and _follows(structure, i, j)
            if distance >= length[0] and structure.residue_of[i] != structure.residue_of[j] and not along:
                pairs.append((min(i, j), max(i, j)))
    return pairs
