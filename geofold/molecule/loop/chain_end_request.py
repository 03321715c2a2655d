"""Requests to build a chain end, such as ``A:1-8`` where the chain begins with A:9; the sequence is optional.

The residues follow on the chain's present end without a gap. They need not be all that is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from geofold.errors import BuildError
from geofold.molecule.loop.anchors import require_anchors
from geofold.molecule.loop.build_plan import BuildPlan, with_given_sequence, with_recorded_sequence
from geofold.molecule.numbering import numbers_of
from geofold.molecule.selection import Number, ResidueRange
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import Gap, MissingEnd, chain_segments, find_missing_ends

LONGEST_END = 15
"""Largest number of residues of a chain end: nothing determines more."""


def find_requested_end(structure: Structure, span: ResidueRange, requested: Sequence[Number]) -> MissingEnd | None:
    """Return the chain end that a range belongs to; None if it is not beyond an end of its chain.

    Without a record of the missing residues, an end is beyond all amino acids of the chain, and its names are empty.
    """
    ends = find_missing_ends(structure, span.chain)
    for end in ends:
        if any(number in requested for number in end.numbers):
            return end
    chain = chain_segments(structure, span.chain)
    if not chain:
        return None
    first, last = chain[0][0], chain[-1][1]
    residues = structure.residues
    if requested[-1] < (residues[first].resnum, residues[first].icode):
        return MissingEnd(first, "before", (), (), "")
    if (residues[last].resnum, residues[last].icode) < requested[0]:
        return MissingEnd(last, "after", (), (), "")
    return None


def plan_chain_end(
    structure: Structure, span: ResidueRange, end: MissingEnd, text: str, given: str | None
) -> BuildPlan:
    """Return the plan of a chain end.

    Parameters
    ----------
    structure : Structure
    span : ResidueRange
    end : MissingEnd
        See `find_requested_end`.
    text : str
        Request as the user wrote it, for messages.
    given : str or None
        One-letter sequence.

    Raises
    ------
    BuildError, SequenceError, BackboneError
        If the request cannot be built.
    """
    requested = _numbers(structure, span, end)
    is_start = end.side == "before"
    if len(requested) > LONGEST_END:
        raise BuildError(
            f"{span} has {len(requested)} residues",
            f"a chain end of at most {LONGEST_END} residues",
            "build the part next to the chain",
        )
    numbers = tuple(requested)
    before, after = (end.anchor - 1, end.anchor) if is_start else (end.anchor, end.anchor + 1)
    require_anchors(structure, None if is_start else before, after if is_start else None)
    if before >= 0 and after < len(structure.residues) and structure.bonded(before, after):
        raise BuildError(
            f"{structure.residues[end.anchor].label} of {structure.source} is bonded to "
            f"{structure.residues[before if is_start else after].label}",
            "a free chain end",
            "remove what is bonded to it first",
        )
    taken = {(r.resnum, r.icode) for r in structure.residues if r.chain == span.chain}
    if clash := [ResidueRange(span.chain, number, number) for number in numbers if number in taken]:
        raise BuildError(
            f"the numbers of {span} belong to other residues of {structure.source} ({clash[0].first[0]})",
            "numbers that nothing in the chain has",
            "renumber these, for example waters",
        )
    part = (slice(len(end.names) - len(numbers), None) if is_start else slice(len(numbers))) if end.names else None
    names = None if part is None else end.names[part]
    gap = Gap(before, after, numbers, names, end.source)
    build = BuildPlan(span.chain, before, after, (), numbers, (), "given", side=end.side)
    if given is None:
        build = with_recorded_sequence(build, gap, structure)
    else:
        build = with_given_sequence(build, gap, text, given)
    note = f"{build.label} is a chain end: nothing but the space around it determines where it is"
    return replace(build, notes=(*build.notes, note))


def _numbers(structure: Structure, span: ResidueRange, end: MissingEnd) -> Sequence[Number]:
    """Numbers of a requested chain end, which have to follow on the anchor."""
    anchor = structure.residues[end.anchor]
    is_start, own = end.side == "before", (anchor.resnum, anchor.icode)
    if end.names:
        known = tuple(end.numbers)
        inside = tuple(number for number in known if span.first <= number <= span.last)
        expected = known[len(known) - len(inside) :] if is_start else known[: len(inside)]
        far = known[0] if is_start else known[-1]
        if inside == expected and span.first in known and span.last in known:
            return inside
        near = (far, known[-1]) if is_start else (known[0], far)
    else:
        if (
            not span.first[1]
            and not span.last[1]
            and (span.last[0] == own[0] - 1 if is_start else span.first[0] == own[0] + 1)
        ):
            return numbers_of(span)
        near = (span.first, (own[0] - 1, "")) if is_start else ((own[0] + 1, ""), span.last)
    raise BuildError(
        f"{span} does not follow on {anchor.label}, the end of its chain",
        f"{ResidueRange(span.chain, *near)}, or the part of it next to {anchor.label}",
        "give another range",
    )
