"""Side chains of which some atoms are present: torsions that these decide, and the places of the other atoms.

Glossary: ``K`` rotamers of a residue, ``L`` its chi torsions, ``m`` its side-chain atoms beyond CB.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from geofold.geometry import dihedral, frames, wrap
from geofold.molecule.sidechains.rotamer_library import SideChain, side_chain
from geofold.molecule.structure import Floats, Mask, Structure

LONGEST_BOND = 0.21
"""Upper bound of the length of a bond in a side chain (nm): Se-C is 0.195, and atoms two bonds apart are beyond it."""
STEM = ("N", "CA", "CB")
"""Atoms that precede the side chain."""
UNCHANGED = 1e-9
"""Angle (radian) by which two chi torsions differ that count as equal."""


class Attachment(NamedTuple):
    """Where an atom of a side chain is attached: three atoms before it, and the chi that turns it.

    Attributes
    ----------
    before : (int, int, int)
        Bonded atom, the one before, and the one before that, as indices into N, CA, CB and the atoms beyond CB.
    level : int
        Number of the last chi that moves the atom.
    """

    before: tuple[int, int, int]
    level: int


class PartialSideChain(NamedTuple):
    """A side chain of which atoms are present.

    Attributes
    ----------
    stem : (3, 3)
        N, CA and CB (nm).
    xyz : (m, 3)
        Atoms beyond CB in the order of `side_chain(name).names` (nm); NaN for missing ones.
    """

    stem: Floats
    xyz: Floats


@cache
def attachments(name: str) -> tuple[Attachment, ...]:
    """Return where the atoms beyond CB of a residue type are attached, each after those that it is attached to.

    Raises
    ------
    ValueError
        If the residue type has no atoms beyond CB.
    """
    chain = side_chain(name)
    if chain is None:
        raise ValueError(f"{name} has no atoms beyond CB")
    points = _template_points(chain)
    parents = [0, 0, 1]
    for atom in range(3, len(points)):
        distance = np.linalg.norm(points[2:atom] - points[atom], axis=-1)
        parents.append(2 + int(np.flatnonzero(distance < LONGEST_BOND)[-1]))
    moved = chain.moved_atoms
    return tuple(
        Attachment(
            (parents[atom], parents[parents[atom]], parents[parents[parents[atom]]]),
            int(np.flatnonzero(moved[:, atom - 3])[-1]),
        )
        for atom in range(3, len(points))
    )


def find_atom(structure: Structure, k: int, name: str, conformer: Mask) -> int | None:
    """Index of an atom of a side chain; CD of an isoleucine, CHARMM's name, is CD1.

    Parameters
    ----------
    structure : Structure
    k : int
        Index of the residue.
    name : str
    conformer : (n_atoms,) bool
    """
    atom = structure.atom(k, name, conformer)
    if atom is None and name == "CD1" and structure.residues[k].resname == "ILE":
        return structure.atom(k, "CD", conformer)
    return atom


def has_detached_atoms(structure: Structure, k: int, conformer: Mask) -> bool:
    """Whether a residue has side-chain atoms beyond one that it lacks, so that they do not decide where that one is."""
    chain = side_chain(structure.residues[k].resname)
    if chain is None:
        return False
    names = (*STEM, *chain.names)
    present = [find_atom(structure, k, name, conformer) is not None for name in names]
    present[2] = True  # CB is where the backbone puts it
    rows = range(3, len(names))
    return any(
        present[row] and not present[place.before[0]]
        for row, place in zip(rows, attachments(structure.residues[k].resname), strict=True)
    )


def partial_side_chain(structure: Structure, k: int, cb: Floats | None, conformer: Mask) -> PartialSideChain:
    """Return the side-chain atoms that a residue has.

    Parameters
    ----------
    structure : Structure
        Structure with N and CA of the residue.
    k : int
        Index of the residue, which has atoms beyond CB if it is complete.
    cb : (3,) or None
        CB (nm), if the structure lacks it.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    """
    chain = side_chain(structure.residues[k].resname)
    assert chain is not None
    xyz = np.full((3 + len(chain.names), 3), np.nan)
    for row, name in enumerate((*STEM, *chain.names)):
        atom = find_atom(structure, k, name, conformer)
        if atom is not None:
            xyz[row] = structure.xyz[atom]
    if cb is not None:
        xyz[2] = cb
    return PartialSideChain(xyz[:3], xyz[3:])


def present_chi(name: str, partial: PartialSideChain) -> Floats:
    """Chi torsions (L,) in radian that present atoms decide; NaN for the others.

    Any of the atoms that a chi turns first decides it: CD2 of a leucine without CD1 does.
    """
    chain = side_chain(name)
    assert chain is not None
    template, points = _template_points(chain), np.concatenate([partial.stem, partial.xyz])
    chi = np.full(len(chain.axes), np.nan)
    for row, (before, level) in enumerate(attachments(name), 3):
        parent, axis, third = before
        if [axis, parent] != list(chain.axes[level]) or np.isfinite(chi[level]):
            continue
        torsion, ideal = (float(dihedral(*(xyz[a] for a in (third, axis, parent, row)))) for xyz in (points, template))
        chi[level] = wrap(chain.chi[level] + torsion - ideal)
    return chi


def attach_missing(name: str, partial: PartialSideChain, rotamers: Floats, cb: Floats) -> Floats:
    """Place the missing atoms of a side chain as they are in rotamers; present atoms keep their places.

    Parameters
    ----------
    name : str
        Type of the residue.
    partial : PartialSideChain
        Atoms that are present.
    rotamers : (K, m, 3)
        Atoms beyond CB of rotamers with the present chi (nm).
    cb : (3,)
        CB that the rotamers are built on (nm).

    Returns
    -------
    (K, m, 3)
    """
    chain = side_chain(name)
    assert chain is not None
    stem = np.broadcast_to(partial.stem, (len(rotamers), 3, 3))
    placed, ideal = (np.concatenate([stem, rotamers], axis=1) for _ in range(2))
    ideal[:, 2] = cb
    present = np.isfinite(partial.xyz[:, 0])
    placed[:, 3:][:, present] = partial.xyz[present]
    for row, (before, _) in enumerate(attachments(name), 3):
        if present[row - 3]:
            continue
        parent, axis, third = before
        here, there = (frames(xyz[:, parent] - xyz[:, axis], xyz[:, third] - xyz[:, axis]) for xyz in (placed, ideal))
        local = np.einsum("kij,kj->ki", there, ideal[:, row] - ideal[:, parent])
        placed[:, row] = placed[:, parent] + np.einsum("kji,kj->ki", here, local)
    if chain.names == ("CG", "CD") and not present[1]:  # proline
        _close_ring(placed, chain)
    return placed[:, 3:]


def _close_ring(placed: Floats, chain: SideChain) -> None:
    """Move CD of prolines, in place, to the nearest point at the lengths of its bonds from CG and N.

    Parameters
    ----------
    placed : (K, 5, 3)
        N, CA, CB, CG and CD (nm).
    chain : SideChain
        Template of proline.
    """
    template = _template_points(chain)
    to_cg, to_n = (float(np.linalg.norm(template[4] - template[a])) for a in (3, 0))
    n, cg, cd = placed[:, 0], placed[:, 3], placed[:, 4]
    axis = n - cg
    distance = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = axis / distance
    along = (distance**2 + to_cg**2 - to_n**2) / (2 * distance)
    radius = np.sqrt(np.maximum(to_cg**2 - along**2, 0.0))
    off = cd - cg
    off = off - (off * axis).sum(-1, keepdims=True) * axis
    placed[:, 4] = cg + along * axis + radius * off / np.linalg.norm(off, axis=-1, keepdims=True)


def with_present_chi(
    name: str, partial: PartialSideChain, chi: Floats, sigma: Floats, surprisal: Floats
) -> tuple[Floats, Floats]:
    """Rotamers with the chi that present atoms decide, weighted by their density there.

    Parameters
    ----------
    name : str
        Type of the residue.
    partial : PartialSideChain
        Atoms that are present.
    chi, sigma : (K, L)
        Torsions of rotamers and their standard deviations (radian).
    surprisal : (K,)
        Minus the logarithm of their probability.

    Returns
    -------
    (R, L), (R,)
        Torsions and surprisal of those that still differ.
    """
    known = present_chi(name, partial)
    decided = np.isfinite(known)
    deviation = np.where(decided, wrap(chi - known) / sigma, 0.0)
    surprisal = surprisal + np.square(deviation).sum(-1) / 2
    chi = np.where(decided, known, chi)
    chosen: list[int] = []
    for k in np.argsort(surprisal, kind="stable").tolist():
        if all(np.abs(wrap(chi[k] - chi[j])).max() > UNCHANGED for j in chosen):
            chosen.append(k)
    return chi[chosen], surprisal[chosen]


def _template_points(chain: SideChain) -> Floats:
    """N, CA, CB and the atoms beyond CB of a template, (3 + m, 3) in nm."""
    return np.concatenate([[chain.n, np.zeros(3), chain.cb], chain.xyz])
