"""Chain ends that can be capped, and the residue numbers of the caps."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geofold.errors import BuildError
from geofold.molecule.numbering import MAX_INSERTION_CODES, numbers_between, with_insertion_codes
from geofold.molecule.selection import Number
from geofold.molecule.structure import Mask, Structure
from geofold.molecule.topology.gaps import Segment, chain_segments

ACE, NME = "ACE", "NME"
CAP_NAMES = (ACE, NME)
GAPS, ENDS, ALL = "gaps", "ends", "all"
"""Where caps are put: at gaps, at the ends of chains, or at both."""
CAP_PLACES = (GAPS, ENDS, ALL)
BOND = 0.17
"""Distance (nm) within which a heavy atom is bonded to the N or C of a chain's end."""
OF_N, OF_C = ("CA", "CD"), ("CA", "O", "OXT", "OT1", "OT2")
"""Atoms of their own residue that N and C are bonded to; CD is proline's."""


@dataclass(frozen=True)
class CapSite:
    """A chain end that gets a cap.

    Attributes
    ----------
    residue : int
        Index of the residue at the chain's end.
    name : str
        ACE before the residue, or NME after it.
    number : (int, str)
        Number and insertion code of the cap.
    """

    residue: int
    name: str
    number: Number


def find_cap_sites(
    structure: Structure,
    where: str,
    conformer: Mask,
    built: Collection[tuple[int, int]] = (),
    moving: Collection[tuple[int, int]] = (),
) -> tuple[list[CapSite], list[str]]:
    """Find the chain ends to cap, and those that stay as they are.

    Parameters
    ----------
    structure : Structure
    where : str
        `GAPS`, `ENDS` or `ALL`.
    conformer : (n_atoms,) bool
        Atoms of the conformer that caps are bonded to.
    built : collection of (int, int)
        Residues before and after the gaps that are built, and so not capped; one of the two is at a chain end that is
        built.
    moving : collection of (int, int)
        First and last residues of the loops that are repaired; an end among them is not capped.

    Returns
    -------
    list of CapSite, list of str
        Sites in the order of the file, and the reasons why other ends stay as they are.

    Raises
    ------
    BuildError
        If no residue number is free for a cap.
    """
    sites, left = list[CapSite](), list[str]()
    taken = {(r.chain, r.resnum, r.icode) for r in structure.residues}
    for last, first in _ends(structure, where, built):
        for k, name in ((last, NME), (first, ACE)):
            if k is None:
                continue
            reason = _obstacle(structure, k, name, conformer)
            if any(start <= k <= end for start, end in moving):
                reason = "part of a loop that moves; cap it in another run"
            if reason is not None:
                left.append(f"{structure.residues[k].label}: {reason}")
                continue
            chain = structure.residues[k].chain
            number = next((n for n in _numbers(structure, last, first, name) if (chain, *n) not in taken), None)
            if number is None:
                raise BuildError(
                    f"no residue number is free for a cap next to {structure.residues[k].label}",
                    "a number or an insertion code that nothing in the chain has",
                    "renumber the chain",
                )
            taken.add((chain, *number))
            sites.append(CapSite(k, name, number))
    return sorted(sites, key=lambda site: (site.residue, site.name)), left


def _ends(
    structure: Structure, where: str, built: Collection[tuple[int, int]]
) -> Iterator[tuple[int | None, int | None]]:
    """Yield the last residue before and the first one after each gap; None in place of one for an end of a chain."""
    chains: dict[str, list[Segment]] = {}
    for first, last in chain_segments(structure):
        if first < last or not structure.hetatm[structure.residues[first].atoms].all():  # else an amino acid as ligand
            chains.setdefault(structure.residues[first].chain, []).append((first, last))
    for segments in chains.values():
        if where in (ENDS, ALL) and segments[0][0] not in {end for _, end in built}:
            yield None, segments[0][0]
        for (_, last), (first, _) in pairwise(segments):
            if where in (GAPS, ALL) and not any(start <= last and first <= end for start, end in built):
                yield last, first
        if where in (ENDS, ALL) and segments[-1][1] not in {start for start, _ in built}:
            yield segments[-1][1], None


def _obstacle(structure: Structure, k: int, name: str, conformer: Mask) -> str | None:
    """Reason why a residue at a chain's end cannot be capped; None if it can."""
    needed, own = (("N", "CA", "C"), OF_N) if name == ACE else (("CA", "C", "O"), OF_C)
    absent = [atom for atom in needed if structure.atom(k, atom, conformer) is None]
    if absent:
        return f"its backbone lacks {', '.join(absent)}"
    centre = structure.atom(k, "N" if name == ACE else "C", conformer)
    heavy = conformer & ~np.isin(structure.element, ("H", "D"))
    near = np.flatnonzero(heavy & (np.linalg.norm(structure.xyz - structure.xyz[centre], axis=1) < BOND))
    others = [
        a for a in near.tolist() if a != centre and (structure.residue_of[a] != k or structure.name[a] not in own)
    ]
    if not others:
        return None
    residue = structure.residues[structure.residue_of[others[0]]]
    return f"bonded to {residue.label} {residue.resname}"


def _numbers(structure: Structure, last: int | None, first: int | None, name: str) -> Iterator[Number]:
    """Yield numbers that a cap may have, the best one first; they lie in the gap, or beyond the end of the chain."""
    before, after = (
        None if k is None else (structure.residues[k].resnum, structure.residues[k].icode) for k in (last, first)
    )
    if before is None and after is not None:
        yield from ((after[0] - step, "") for step in range(1, len(structure.residues) + 2))
        return
    assert before is not None
    coded = before
    if after is None:
        yield before[0] + 1, ""
    elif name == NME:  # the number right after the residue
        yield from numbers_between(before, after)
    else:  # the number right before it
        free = numbers_between(before, after)
        yield from (free[k] for k in reversed(range(len(free))))
        coded = free[len(free) - 1] if len(free) else before
    letter = ord(coded[1].upper()) - 64 if coded[1] else 0
    yield from with_insertion_codes(coded[0], letter + 1, MAX_INSERTION_CODES)
