"""The rotatable torsions of a segment and the tree that they form.

Glossary: ``n`` torsions, ``m`` moving atoms. A torsion moves all atoms beyond its bond, seen from the root; its parent
is the last torsion on the way from the root. Only the bonds depend on coordinates, so a tree is built once and used for
a whole stream.

The tree is found by a walk over the bond graph from the root, which treats rings, hydrogens, ligands bonded to the
chain and unusual residues correctly without tables of their atoms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geofold.errors import AltlocError, BackboneError
from geofold.molecule.residues import CAPS, standard_name
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bond_walk import BACKBONE, TorsionTree, Walk
from geofold.molecule.topology.bonds import bond_graph

CHI_ATOMS: dict[str, tuple[str, ...]] = {
    "ARG": ("CA", "CB", "CG", "CD", "NE"),
    "ASN": ("CA", "CB", "CG"),
    "ASP": ("CA", "CB", "CG"),
    "CYS": ("CA", "CB"),
    "GLN": ("CA", "CB", "CG", "CD"),
    "GLU": ("CA", "CB", "CG", "CD"),
    "HIS": ("CA", "CB", "CG"),
    "ILE": ("CA", "CB", "CG1"),
    "LEU": ("CA", "CB", "CG"),
    "LYS": ("CA", "CB", "CG", "CD", "CE"),
    "MET": ("CA", "CB", "CG", "SD"),
    "MSE": ("CA", "CB", "CG", "SE"),
    "PHE": ("CA", "CB", "CG"),
    "SER": ("CA", "CB"),
    "THR": ("CA", "CB"),
    "TRP": ("CA", "CB", "CG"),
    "TYR": ("CA", "CB", "CG"),
    "VAL": ("CA", "CB"),
}
"""Axis atoms of the side-chain torsions by IUPAC: chi k is the rotation about the bond between atoms k-1 and k.

Polar hydrogens, methyl groups and the last chi of lysine do not turn; proline's ring is rigid.
"""


def torsion_tree(
    structure: Structure,
    first: int,
    last: int,
    *,
    chi: bool = True,
    altloc: str | None = None,
    torn: bool = False,
    root: int | None = None,
    anchor_phi: bool = False,
) -> TorsionTree:
    """Build the torsion tree of residues ``first`` to ``last`` (inclusive).

    A segment with a bonded residue on both sides is closed, and its root is its N end. The root of a segment at a chain
    end is its other end; that of a whole chain is the CA of its middle residue, unless `root` names another one.

    Parameters
    ----------
    structure : Structure
        Structure with the segment.
    first, last : int
        Indices of the first and the last residue.
    chi : bool
        Include side-chain torsions.
    altloc : str or None
        Letter of the conformer.
    torn : bool
        Treat a next residue that lacks CA as a chain end instead of raising.
    root : int, optional
        Residue whose CA stays in place, of a segment without a bonded residue on either side; ignored for others.
    anchor_phi : bool
        Let a segment at the N end of a chain also turn about phi of the residue after it, which then is its root,
        unless a ring or an amide hydrogen fixes that torsion.

    Returns
    -------
    TorsionTree

    Raises
    ------
    AltlocError
        If a backbone atom of the segment has several conformers and none was chosen.
    BackboneError
        If N, CA or C of a residue of the segment, or an anchor atom, is missing.
    """
    conformer = structure.conformer(altloc)
    if altloc is None:
        _require_single_backbone(structure, first, last)
    adjacency = bond_graph(structure, conformer)
    backbone = {(k, name): structure.atom(k, name, conformer) for k in range(first, last + 1) for name in BACKBONE}
    for (k, name), atom in backbone.items():
        if atom is None and name != "O":
            raise BackboneError(
                f"residue {structure.residues[k].label} lacks its {name} atom",
                "N, CA and C in every residue that moves",
                "rebuild the residue first, or leave it out of the range",
            )
    before = first > 0 and _is_anchor(structure, first - 1, first - 1, first)
    after = last + 1 < len(structure.residues) and _is_anchor(structure, last + 1, last, last + 1)
    after = after and not (torn and structure.atom(last + 1, "CA", conformer) is None)
    axes = _axes(structure, first, last, conformer, chi)
    pivot = _free_phi(structure, last + 1, conformer, adjacency) if anchor_phi and after and not before else None
    start = backbone[_root(first, last, before, after, root)] if pivot is None else pivot[0]
    assert start is not None
    walk = Walk(structure, conformer, adjacency, axes, first, last)
    if pivot is not None:
        axes[min(pivot), max(pivot)] = ("phi", last + 1)
    walk.run(start, None if pivot is None else pivot[1])
    anchor = _anchor(structure, last + 1, conformer) if before and after else None
    end = -1
    if anchor is not None:
        carbon = backbone[(last, "C")]
        assert carbon is not None
        end = walk.torsion_of(carbon)
    return walk.tree(closed=before and after, anchor=anchor, end=end)


def _free_phi(
    structure: Structure, k: int, conformer: NDArray[np.bool_], adjacency: list[list[int]]
) -> tuple[int, int] | None:
    """Return CA and N of a residue whose phi can turn what precedes it; None if a ring or a hydrogen fixes it."""
    ca, n = structure.atom(k, "CA", conformer), structure.atom(k, "N", conformer)
    if ca is None or n is None:
        return None
    others = [a for a in adjacency[n] if a != ca and structure.residue_of[a] == k]
    return None if others else (ca, n)


def _is_anchor(structure: Structure, neighbour: int, first: int, second: int) -> bool:
    """Return whether a neighbour bonded to the segment anchors it; a cap moves with the end of the chain."""
    return structure.residues[neighbour].resname not in CAPS and structure.bonded(first, second)


def _root(first: int, last: int, before: bool, after: bool, root: int | None) -> tuple[int, str]:
    if before:
        return first, "N"
    if after:
        return last, "C"
    return (first + last) // 2 if root is None else root, "CA"


def _require_single_backbone(structure: Structure, first: int, last: int) -> None:
    for residue in structure.residues[first : last + 1]:
        for atom in residue.atoms:
            if structure.altloc[atom].strip() and str(structure.name[atom]) in BACKBONE:
                letters = sorted({str(structure.altloc[a]) for a in residue.atoms if structure.altloc[a].strip()})
                raise AltlocError(
                    f"residue {residue.label} has its backbone atom {structure.name[atom]} in several conformers "
                    f"({', '.join(letters)})",
                    "a single backbone conformer inside the segment that moves",
                    f"choose one with --altloc {letters[0]}",
                )


def _axes(
    structure: Structure, first: int, last: int, conformer: NDArray[np.bool_], chi: bool
) -> dict[tuple[int, int], tuple[str, int]]:
    """List the rotatable bonds: (lower atom, higher atom) -> (kind, residue)."""
    axes: dict[tuple[int, int], tuple[str, int]] = {}

    def add(k: int, near: str, far: str, kind: str) -> None:
        a, b = structure.atom(k, near, conformer), structure.atom(k, far, conformer)
        if a is not None and b is not None:
            axes[(min(a, b), max(a, b))] = (kind, k)

    for k in range(first, last + 1):
        # a change of phi would open proline's ring
        ring = structure.residues[k].resname in ("PRO", "HYP") or structure.atom(k, "CD", conformer) in _bonded_to_n(
            structure, k, conformer
        )
        if not ring:
            add(k, "N", "CA", "phi")
        add(k, "CA", "C", "psi")
        if chi and not ring:
            names = CHI_ATOMS.get(standard_name(structure.residues[k].resname), ())
            for level in range(1, len(names)):
                add(k, names[level - 1], names[level], f"chi{level}")
    return axes


def _bonded_to_n(structure: Structure, k: int, conformer: NDArray[np.bool_]) -> list[int]:
    """List the CD of a residue that forms a ring with its N (an unusual proline), for a membership test."""
    n, cd = structure.atom(k, "N", conformer), structure.atom(k, "CD", conformer)
    if n is None or cd is None:
        return []
    return [cd] if np.linalg.norm(structure.xyz[n] - structure.xyz[cd]) < 0.17 else []


def _anchor(structure: Structure, k: int, conformer: NDArray[np.bool_]) -> tuple[int, int, int]:
    n, ca, c = (structure.atom(k, name, conformer) for name in ("N", "CA", "C"))
    if n is None or ca is None:
        raise BackboneError(
            f"anchor residue {structure.residues[k].label} lacks N or CA",
            "a complete residue on each side of the loop",
            "rebuild the residue first, or choose a longer loop",
        )
    return n, ca, c if c is not None else ca
