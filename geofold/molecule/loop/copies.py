"""Copies of a loop in other chains: the same residues around it, whatever their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from geofold.errors import GeofoldError
from geofold.molecule.loop.anchors import require_anchors
from geofold.molecule.loop.build_plan import STANDARD, BuildPlan
from geofold.molecule.residues import standard_name
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import find_gaps

Range = tuple[int, int]
FLANK, MIN_FLANK = 6, 2
"""Residues on each side of a loop that its copies have, too, and that they are superposed on: at most, and at least."""


@dataclass(frozen=True)
class CopyPair:
    """A loop and its copy in another chain: first and last residues of both."""

    reference: Range
    copy: Range


@dataclass(frozen=True)
class LoopsWithCopies:
    """Loops of a run with their copies in other chains.

    Attributes
    ----------
    builds : list of BuildPlan
        Loops to build, in the order of the file.
    built : dict of int to int
        For each of them that is a copy, the number of its reference.
    ranges : list of (int, int)
        Loops to repair; copies come last.
    repaired : list of CopyPair
        Copies among them.
    left : list of str
        Copies that are not modelled, and why.
    """

    builds: list[BuildPlan]
    built: dict[int, int]
    ranges: list[Range]
    repaired: list[CopyPair]
    left: list[str]


def add_copies(structure: Structure, builds: Sequence[BuildPlan], ranges: Sequence[Range]) -> LoopsWithCopies:
    """Find the copies of loops in other chains.

    Of requested loops that are copies of one another, the first one is modelled and the others are its copies.
    """
    references, left, pairs, remaining = dict[BuildPlan, BuildPlan](), list[str](), list[CopyPair](), list[Range]()
    for build in builds:
        if any(_is_same(build, copy) for copy in references):
            continue
        plans, reasons = copies_of_build(structure, build)
        others = [other for other in [*builds, *references] if not any(_is_same(other, plan) for plan in plans)]
        references |= {p: build for p in plans if not any(p.before < o.after and o.before < p.after for o in others)}
        left += reasons
    for span in ranges:
        if span in [pair.copy for pair in pairs]:
            continue
        remaining.append(span)
        for first, last in copies_of_loop(structure, *span):
            taken = [*(other for other in ranges if other != (first, last)), *(pair.copy for pair in pairs)]
            if not any(first <= end + 1 and start <= last + 1 for start, end in taken):
                pairs.append(CopyPair(span, (first, last)))
    requested = [build for build in builds if not any(_is_same(build, copy) for copy in references)]
    ordered = sorted([*requested, *references], key=lambda build: build.place)
    built = {k: ordered.index(references[build]) for k, build in enumerate(ordered) if build in references}
    return LoopsWithCopies(ordered, built, [*remaining, *(pair.copy for pair in pairs)], pairs, left)


def _is_same(one: BuildPlan, other: BuildPlan) -> bool:
    """Whether two plans build the same residues in the same place."""
    return (one.place, one.after, one.names) == (other.place, other.after, other.names)


def copies_of_loop(structure: Structure, first: int, last: int) -> list[tuple[int, int]]:
    """First and last residues of the copies of a loop in other chains."""
    found = []
    for start, end in _same_residues(structure, first - 1, last + 1):
        complete = None not in backbone_atoms(structure, start + 1, end - 1, structure.conformer_mask)
        if complete and all(structure.bonded(k, k + 1) for k in range(start, end)):
            found.append((start + 1, end - 1))
    return found


def copies_of_build(structure: Structure, build: BuildPlan) -> tuple[list[BuildPlan], list[str]]:
    """Plans of the copies of a missing loop in other chains, and why other chains with these residues have none."""
    plans, left = list[BuildPlan](), list[str]()
    if build.is_chain_end:
        return plans, [f"{build.label}: a chain end, of which no copies are made"]
    for before, after in _same_residues(structure, build.before, build.after):
        residues = structure.residues
        chain, inside = residues[before].chain, tuple(range(before + 1, after))
        shift = residues[before].resnum - residues[build.before].resnum
        numbers = tuple((number + shift, icode) for number, icode in build.numbers)
        plan = replace(build, chain=chain, before=before, after=after, removed=inside, numbers=numbers, notes=())
        reason = _obstacle(structure, plan)
        if reason is None:
            plans.append(plan)
        else:
            left.append(f"{plan.label}: {reason}")
    return plans, left


def _same_residues(structure: Structure, before: int, after: int) -> Iterator[tuple[int, int]]:
    """Yield the residues in other chains that correspond to two anchors, by the names around and between them."""
    chain, residues = structure.residues[before].chain, structure.residues
    left, right = (_flank(structure, k, side) for k, side in ((before, -1), (after, 1)))
    if min(len(left), len(right)) < MIN_FLANK:
        return
    window = [standard_name(residues[k].resname) for k in [*reversed(left), *range(before + 1, after), *right]]
    chains: dict[str, list[int]] = {}
    for k, residue in enumerate(residues):
        if structure.is_amino_acid(k) and residue.chain != chain:
            chains.setdefault(residue.chain, []).append(k)
    for indices in chains.values():
        names = [standard_name(residues[k].resname) for k in indices]
        for start in range(len(names) - len(window) + 1):
            place = indices[start : start + len(window)]
            if names[start : start + len(window)] == window and place[-1] - place[0] == len(window) - 1:
                yield place[len(left) - 1], place[len(window) - len(right)]


def _flank(structure: Structure, k: int, side: int) -> list[int]:
    """Residue k and those bonded to it on one side, before (-1) or after it (1), at most `FLANK`."""
    found = [k]
    while len(found) < FLANK:
        beyond = found[-1] + side
        if not 0 <= beyond < len(structure.residues) or not structure.bonded(*sorted((found[-1], beyond))):
            break
        found.append(beyond)
    return found


def _obstacle(structure: Structure, plan: BuildPlan) -> str | None:
    """Reason why a copy cannot be built; None if it can."""
    residues = [plan.before, *plan.removed, plan.after]
    if all(structure.bonded(one, other) for one, other in pairwise(residues)):
        return "nothing is missing there"
    try:
        require_anchors(structure, plan.before, plan.after)
    except GeofoldError as error:
        return str(error)
    ends = [(structure.residues[k].resnum, structure.residues[k].icode) for k in (plan.before, plan.after)]
    if not ends[0] < plan.numbers[0] <= plan.numbers[-1] < ends[1]:
        return "its numbers leave no room for the residues"
    gaps = find_gaps(structure, plan.chain, frozenset(plan.removed))
    gap = next((gap for gap in gaps if (gap.before, gap.after) == (plan.before, plan.after)), None)
    if gap is not None and gap.names is not None and tuple(STANDARD.get(n, n) for n in gap.names) != plan.names:
        return f"{gap.source} has another sequence there"
    return None
