"""Parsing and validation of build requests such as ``A:45-56=GSWTYENGKWAA``; the sequence is optional.

Residues of the range that exist in the file are removed and rebuilt, so a gap of one or two residues can be extended
by its neighbours. The anchor residues on both sides are kept and need complete backbones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from geofold.errors import BuildError, GeofoldError, OverlappingLoopsError, ResidueRangeError, SequenceError
from geofold.molecule.caps.sites import CAP_NAMES
from geofold.molecule.io.edit import require_single_model
from geofold.molecule.loop.anchors import require_anchors
from geofold.molecule.loop.build_plan import STANDARD, BuildPlan, with_given_sequence, with_recorded_sequence
from geofold.molecule.loop.chain_end_request import find_requested_end, plan_chain_end
from geofold.molecule.numbering import numbers_between, numbers_of
from geofold.molecule.residues import AMINO_NAMES, STANDARD_RESIDUES
from geofold.molecule.selection import (
    RANGE_EXAMPLES,
    Number,
    ResidueRange,
    describe_contents,
    find_range,
    parse_range,
)
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import Gap, find_gaps

SHORTEST, LONGEST = 3, 40
"""Bounds on the number of residues: fewer cannot connect both anchors by their torsions alone."""


def plan_builds(structure: Structure, texts: Sequence[str]) -> list[BuildPlan]:
    """Return the plans of the requests, in the order of the file.

    Raises
    ------
    ResidueRangeError, SequenceError, BuildError, BackboneError
        If a request cannot be built.
    OverlappingLoopsError
        If two requests have no remaining residue between them.
    """
    builds = sorted((plan_build(structure, text) for text in texts), key=lambda build: build.place)
    for left, right in pairwise(builds):
        if left.anchors[-1] > right.anchors[0] or (left.place == right.place and left.is_chain_end):
            raise OverlappingLoopsError(
                f"{left.label} and {right.label}",
                "ranges separated by at least one residue that is kept",
                "join them into one range, or shorten one",
            )
    return builds


def plan_build(structure: Structure, text: str) -> BuildPlan:
    """Return the plan of one request; see `plan_builds`."""
    require_single_model(structure)
    range_text, equals, given = text.partition("=")
    span = parse_range(range_text)
    if equals and not given.strip():
        raise SequenceError(f"'{text}' ends without a sequence", "A:45-56=SEQUENCE or A:45-56", "add it, or drop the =")
    requested = numbers_of(span)
    if not requested:
        raise ResidueRangeError(f"{span} runs backwards", RANGE_EXAMPLES, "swap its ends")
    end = find_requested_end(structure, span, requested)
    if end is not None:
        return plan_chain_end(structure, span, end, text, given if equals else None)
    before, after, removed = _anchors(structure, span, requested)
    gap = _gap(structure, span, before, after, removed)
    is_recorded = gap.names is not None and len(gap.names) == len(gap.numbers)
    if is_recorded and (requested[0], requested[-1]) == (gap.numbers[0], gap.numbers[-1]):
        numbers = tuple(gap.numbers)  # insertion codes and skipped numbers included
    else:
        _require_length(str(span), len(requested))
        amino = [structure.residues[k] for k in removed if structure.residues[k].resname not in CAP_NAMES]
        existing = [(residue.resnum, residue.icode) for residue in amino]
        numbers = tuple(sorted({*requested, *existing}))
    build = BuildPlan(span.chain, before, after, removed, numbers, (), "given")
    _require_all(structure, build, gap)
    build = with_given_sequence(build, gap, text, given) if equals else with_recorded_sequence(build, gap, structure)
    if len(build.names) < SHORTEST:
        raise BuildError(
            f"{build.label} has {len(build.names)} residues",
            f"{SHORTEST} to {LONGEST} residues",
            "include neighbouring residues, which are rebuilt",
        )
    _require_length(build.label, len(build.names))
    return build


def join_loops(
    structure: Structure, texts: Sequence[str], loops: Sequence[str], detected: Sequence[str] = ()
) -> tuple[list[BuildPlan], list[str]]:
    """Return the plans of loops to build, joined with the loops to repair that leave no residue between them.

    Parameters
    ----------
    structure : Structure
    texts : sequence of str
        Requests to build.
    loops : sequence of str
        Ranges to repair.
    detected : sequence of str
        Further ranges; one that cannot be built together with a gap that it meets is left as it is, with a note.

    Returns
    -------
    list of BuildPlan, list of str
        Plans in the order of the file, and the ranges that remain to be repaired.

    Raises
    ------
    GeofoldError
        As `plan_builds`, or if a loop cannot be built together with the gap that it meets.
    """
    builds, left = plan_builds(structure, texts), list[str]()
    for text in [*loops, *detected]:
        first, last = find_range(structure, text)
        meeting = [build for build in builds if first <= build.anchors[-1] and build.anchors[0] <= last]
        if not meeting:
            left.append(text)
            continue
        try:
            joined = _joined(structure, meeting, first, last, text)
        except GeofoldError as error:
            if text not in detected:
                raise
            kept = replace(meeting[0], notes=(*meeting[0].notes, f"{text} looks wrong and stays as it is: {error}"))
            builds = [kept if build is meeting[0] else build for build in builds]
            continue
        builds = sorted([joined, *(b for b in builds if b not in meeting)], key=lambda build: build.place)
    return builds, left


def _joined(structure: Structure, builds: Sequence[BuildPlan], first: int, last: int, text: str) -> BuildPlan:
    """Plan that builds residues `first` to `last`, the loop `text`, together with the gaps that they meet."""
    ends = [build.label for build in builds if build.is_chain_end]
    if ends:
        raise BuildError(
            f"{text} contains the residue that the chain end {ends[0]} is built on",
            "a loop that leaves this residue where it is",
            "build and repair in two runs",
        )
    before, after = min(first - 1, builds[0].before), max(last + 1, builds[-1].after)
    for k, inside in ((before, first), (after, last)):
        is_end = k == before < builds[0].before or k == after > builds[-1].after
        if is_end and not (0 <= k < len(structure.residues) and structure.bonded(*sorted((k, inside)))):
            raise BuildError(
                f"{text} ends at a chain end and meets the gap of {builds[0].label}",
                "a residue of the chain on either side of what is built",
                "shorten the loop, or leave it out",
            )
    require_anchors(structure, before, after)
    gone = {k for build in builds for k in build.removed}
    present = [
        (k, (residue.resnum, residue.icode), STANDARD.get(residue.resname, residue.resname))
        for k, residue in enumerate(structure.residues[before + 1 : after], before + 1)
        if k not in gone
    ]
    new = [(b.before + 0.5, *residue) for b in builds for residue in zip(b.numbers, b.names, strict=True)]
    residues = sorted([*present, *new], key=lambda residue: residue[0])
    unusual = [structure.residues[k].label for k, _, name in present if name not in STANDARD_RESIDUES]
    if unusual:
        raise SequenceError(
            f"{text} meets the gap of {builds[0].label} and contains {', '.join(unusual)}",
            "the twenty amino acids in what is built",
            "shorten the loop, or leave it out",
        )
    joined = BuildPlan(
        builds[0].chain,
        before,
        after,
        tuple(range(before + 1, after)),
        tuple(number for _, number, _ in residues),
        tuple(name for _, _, name in residues),
        builds[0].source,
        (*(note for build in builds for note in build.notes), f"{text} meets a gap and is built together with it"),
    )
    _require_length(joined.label, len(joined.names))
    return joined


def _require_length(label: str, count: int) -> None:
    """Raise BuildError if there are more residues than can be built."""
    if count > LONGEST:
        raise BuildError(
            f"{label} has {count} residues",
            f"{SHORTEST} to {LONGEST} residues",
            "build it with a template-based program",
        )


def _anchors(structure: Structure, span: ResidueRange, requested: Sequence[Number]) -> tuple[int, int, tuple[int, ...]]:
    """Return indices of the residues before and after the range, and of the existing ones inside it, caps included."""
    chain = [
        k
        for k, residue in enumerate(structure.residues)
        if residue.chain == span.chain and (structure.is_amino_acid(k) or residue.resname in AMINO_NAMES)
    ]
    if not chain:
        ids = dict.fromkeys(r.chain for k, r in enumerate(structure.residues) if structure.is_amino_acid(k))
        expected = f"a chain of {' '.join(repr(name) for name in ids)}"
        raise ResidueRangeError(
            f"{structure.source} has no chain '{span.chain}'", expected, describe_contents(structure)
        )
    number = {k: (structure.residues[k].resnum, structure.residues[k].icode) for k in chain}
    inside = tuple(k for k in chain if requested[0] <= number[k] <= requested[-1])
    if inside:
        positions = (chain.index(inside[0]), chain.index(inside[-1]))
        pairs = [(positions[0] - 1, positions[1] + 1)]
    else:
        pairs = [
            (position, position + 1)
            for position, (left, right) in enumerate(pairwise(chain))
            if number[left] < requested[0] and requested[-1] < number[right]
        ]
    if not pairs or pairs[0][0] < 0 or pairs[0][1] >= len(chain):
        raise BuildError(
            f"{structure.source} has no residue on one side of {span}",
            "a gap between two residues of a chain, or missing residues next to a chain end",
            f"choose a range between existing residues; {describe_contents(structure)}",
        )
    before, after = (chain[position] for position in pairs[0])
    caps = [k for k in range(before + 1, after) if structure.residues[k].resname in CAP_NAMES]
    if len(pairs) > 1 or after - before - 1 != len(inside) + len(caps):
        given = f"{structure.residues[before].label} and {structure.residues[after].label} of {structure.source}"
        raise BuildError(
            f"{given} do not follow each other in the file",
            f"nothing but {span} between them",
            "put the residues of the chain in order, each number once",
        )
    require_anchors(structure, before, after)
    return before, after, tuple(sorted({*inside, *caps}))


def _gap(structure: Structure, span: ResidueRange, before: int, after: int, removed: tuple[int, ...]) -> Gap:
    """Return the gap that remains without the residues `removed`.

    Raises
    ------
    BuildError
        If nothing is missing.
    """
    residues = [before, *removed, after]
    torn = [k for k in removed if structure.residues[k].resname in AMINO_NAMES and not structure.is_amino_acid(k)]
    if torn or not all(structure.bonded(left, right) for left, right in pairwise(residues)):
        all_gaps = find_gaps(structure, span.chain, frozenset(removed))
        return next(gap for gap in all_gaps if (gap.before, gap.after) == (before, after))
    if removed:
        raise BuildError(
            f"all residues of {span} are in {structure.source}",
            "a range with missing residues",
            f"repair it (--loop {span}), or remove its atoms from the file first",
        )
    left, right = (structure.residues[k].label for k in (before, after))
    raise BuildError(
        f"nothing is missing between {left} and {right} of {structure.source}, only numbers are skipped",
        "a range with missing residues",
        "run `geofold check` to list missing residues",
    )


def _require_all(structure: Structure, build: BuildPlan, gap: Gap) -> None:
    """Raise BuildError if a gap without a recorded sequence has more free residue numbers than the range covers."""
    if gap.names is not None and len(gap.names) == len(build.numbers):
        return
    left, right = (structure.residues[k] for k in (build.before, build.after))
    free_numbers = numbers_between((left.resnum, left.icode), (right.resnum, right.icode))
    if len(free_numbers) <= len(build.numbers) and set(free_numbers) <= set(build.numbers):
        return
    first, last = min(free_numbers[0], build.numbers[0]), max(free_numbers[-1], build.numbers[-1])
    raise BuildError(
        f"{build.label} is not all that is missing between {left.label} and {right.label} of {structure.source}",
        str(ResidueRange(build.chain, first, last)),
        "build all of it",
    )
