"""Covalent links between residues that are not neighbours in sequence: lactams, rings, glycans; not disulfides.

Disulfides are in `geofold.molecule.topology.bonds`. A link is one that the file records (LINK, CONECT, struct_conn), or
a bond that can be told from a clash by what is missing: an amide whose carbon lacks a second oxygen or nitrogen, or a
carbon of a sugar at bonding distance from an atom at which proteins are glycosylated.
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
"""nm: a recorded bond that is longer ties nothing."""
AMIDE = (0.115, 0.16)
"""nm, C-N."""
GLYCOSIDIC = (0.12, 0.17)
"""nm, from a sugar's carbon to N or O."""
NONMETALS = ("B", "C", "N", "O", "F", "SI", "P", "S", "CL", "SE", "BR", "I")
ACYL = {"ASP": "CG", "ASN": "CG", "GLU": "CD", "GLN": "CD"}
"""Side-chain carbons that become an amide's."""
AMINE = {"LYS": "NZ", "ORN": "NE", "DAB": "ND", "DPR": "NG"}
"""Side-chain nitrogens that become an amide's."""
GLYCOSYLATED = {"ASN": "ND2", "SER": "OG", "THR": "OG1"}
ANOMERIC = ("C1", "C2")
"""Carbons by which sugars are bound."""


def covalent_links(structure: Structure, steering: Mask) -> list[Pair]:
    """Covalent links of amino acids, neither peptide bonds along the chain nor disulfides nor bonds to metals.

    Parameters
    ----------
    steering : (n,) bool
        One conformer per residue.
    """
    recorded = [(link.i, link.j) for link in structure.links if steering[link.i] and steering[link.j]]
    found = {(min(i, j), max(i, j)) for i, j in recorded if _ties(structure, i, j)}
    return sorted(found | set(unrecorded_links(structure, steering)))


def unrecorded_links(structure: Structure, steering: Mask) -> list[Pair]:
    """Amides and glycosidic bonds that are recognised without a record."""
    amides = _pairs(structure, _acyl_carbons(structure, steering), _amines(structure, steering), AMIDE)
    linked = np.isin(structure.resname, list(GLYCOSYLATED)) & steering
    bound = [a for a in np.flatnonzero(linked).tolist() if structure.name[a] == GLYCOSYLATED[str(structure.resname[a])]]
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])[structure.residue_of]
    sugars = np.flatnonzero(steering & ~amino & np.isin(structure.name, ANOMERIC) & (structure.element == "C"))
    return sorted({*amides, *_pairs(structure, bound, sugars.tolist(), GLYCOSIDIC)})


def link_notes(structure: Structure, steering: Mask) -> list[str]:
    """A note that names the links; none where there are none."""
    names = [f"{_site(structure, i)} - {_site(structure, j)}" for i, j in covalent_links(structure, steering)]
    return [f"covalent links: {', '.join(names)}"] if names else []


def _site(structure: Structure, atom: int) -> str:
    residue = structure.residues[structure.residue_of[atom]]
    return f"{residue.label} {residue.resname}@{structure.name[atom]}"


def _ties(structure: Structure, i: int, j: int) -> bool:
    """Whether a recorded bond is such a link."""
    one, two = sorted((int(structure.residue_of[i]), int(structure.residue_of[j])))
    if one == two or not (structure.is_amino_acid(one) or structure.is_amino_acid(two)):
        return False
    if not np.isin(structure.element[[i, j]], NONMETALS).all() or (structure.name[[i, j]] == "SG").all():
        return False
    names = (str(structure.name[i]), str(structure.name[j]))
    along = (names == ("C", "N") and _follows(structure, i, j)) or (names == ("N", "C") and _follows(structure, j, i))
    return not along and float(np.linalg.norm(structure.xyz[i] - structure.xyz[j])) <= RECORDED


def _follows(structure: Structure, carbon: int, nitrogen: int) -> bool:
    """Whether the nitrogen's residue is the next of the chain, by its place in the file or its number."""
    one, two = (int(structure.residue_of[a]) for a in (carbon, nitrogen))
    before, after = structure.residues[one], structure.residues[two]
    return before.chain == after.chain and (two == one + 1 or after.resnum == before.resnum + 1)


def _acyl_carbons(structure: Structure, steering: Mask) -> list[int]:
    """Carbons with one oxygen or nitrogen of their own where an acid has two: of ends of chains and of side chains."""
    found = []
    for k, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(k):
            continue
        names = [ACYL.get(standard_name(residue.resname))]
        if k + 1 == len(structure.residues) or not structure.bonded(k, k + 1):
            names.append("C")
        atoms = residue.atoms[steering[residue.atoms]]
        polar = atoms[np.isin(structure.element[atoms], ("O", "N"))]
        for name in names:
            carbon = structure.atom(k, name, steering) if name else None
            if carbon is not None:
                own = np.linalg.norm(structure.xyz[polar] - structure.xyz[carbon], axis=1) < AMIDE[1]
                found += [carbon] * int(own.sum() <= 1)
    return found


def _amines(structure: Structure, steering: Mask) -> list[int]:
    """Nitrogens of beginnings of chains and of side chains."""
    found = []
    for k, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(k):
            continue
        names = [AMINE.get(standard_name(residue.resname))]
        if k == 0 or not structure.bonded(k - 1, k):
            names.append("N")
        found += [a for name in names if name and (a := structure.atom(k, name, steering)) is not None]
    return found


def _pairs(structure: Structure, one: list[int], two: list[int], length: tuple[float, float]) -> list[Pair]:
    """Atoms of different residues within bonding distance, excluding peptide bonds along the chain."""
    if not one or not two:
        return []
    places: NDArray[np.float64] = structure.xyz[two]
    near = cKDTree(places).query_ball_point(structure.xyz[one], length[1])
    found = []
    for i, rows in zip(one, near, strict=True):
        for j in (two[row] for row in rows):
            apart = float(np.linalg.norm(structure.xyz[i] - structure.xyz[j]))
            along = (structure.name[i], structure.name[j]) == ("C", "N") and _follows(structure, i, j)
            if apart >= length[0] and structure.residue_of[i] != structure.residue_of[j] and not along:
                found.append((min(i, j), max(i, j)))
    return found
