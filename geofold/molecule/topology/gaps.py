"""Gaps of chains: missing residues, from residue numbers and from the sequences recorded in the file; chain ends, too.

Glossary: a segment is an unbroken part of a chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from geofold.molecule.io.sequence_records import recorded_sequences
from geofold.molecule.numbering import numbers_between
from geofold.molecule.records import RecordedSequence, Side
from geofold.molecule.residues import AMINO_NAMES, CAPS
from geofold.molecule.selection import Number
from geofold.molecule.structure import Structure
from geofold.molecule.topology.record_placement import Segment, place_segments


@dataclass(frozen=True)
class Gap:
    """Missing residues between residues `before` and `after` (indices).

    Attributes
    ----------
    numbers : sequence of (int, str)
        Numbers of the missing residues from the record, otherwise all that the numbering leaves free.
    names : tuple of str or None
        Their names in the record; None if it is ambiguous or missing.
    source : str
        Name of the record; empty without one.
    """

    before: int
    after: int
    numbers: Sequence[Number]
    names: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class MissingEnd:
    """Residues of the recorded sequence beyond a chain end.

    Attributes
    ----------
    anchor : int
        Index of the residue at the chain end.
    side : 'before' or 'after'
        Where the missing residues are.
    numbers : sequence of (int, str)
        Their numbers: those of the record, otherwise counted on from the anchor.
    names : tuple of str
    source : str
        Name of the record.
    """

    anchor: int
    side: Side
    numbers: Sequence[Number]
    names: tuple[str, ...]
    source: str


def chain_segments(structure: Structure, chain: str | None = None) -> list[Segment]:
    """Find the unbroken segments of amino acids of all chains, or of one."""
    segments: list[Segment] = []
    for k in range(len(structure.residues)):
        if chain not in (None, structure.residues[k].chain) or not structure.is_amino_acid(k):
            continue
        if segments and segments[-1][1] == k - 1 and structure.bonded(k - 1, k):
            segments[-1] = (segments[-1][0], k)
        else:
            segments.append((k, k))
    return segments


def find_gaps(structure: Structure, chain: str | None = None, removed: frozenset[int] = frozenset()) -> list[Gap]:
    """Find the gaps between segments of each chain, or of one, as if the residues `removed` were missing."""
    recorded = recorded_sequences(structure)
    gaps = []
    for name, segments in _segments_of_chains(structure, chain, removed).items():
        contents = _contents(structure, segments, recorded[name]) if name in recorded else {}
        for k, ((_, before), (after, _)) in enumerate(pairwise(segments)):
            ends = ((structure.residues[i].resnum, structure.residues[i].icode) for i in (before, after))
            free = numbers_between(*ends)
            content = contents.get(k)
            if content is None:
                torn = _torn_residues(structure, before, after, free)
                if torn:
                    numbers, names = zip(*torn, strict=True)
                    gaps.append(Gap(before, after, numbers, names, "atoms of the file"))
                else:
                    gaps.append(Gap(before, after, free, None, ""))
                continue
            record, missing = recorded[name], slice(*content)
            gaps.append(
                Gap(before, after, _recorded_numbers(record, missing) or free, record.names[missing], record.source)
            )
    return gaps


def _torn_residues(structure: Structure, before: int, after: int, free: Sequence[Number]) -> list[tuple[Number, str]]:
    """Numbers and names of the residues of a gap, if the file has each of them in part; else empty."""
    first, last = structure.residues[before], structure.residues[after]
    between = [residue for residue in structure.residues[before + 1 : after] if residue.chain == first.chain]
    numbers = [(residue.resnum, residue.icode) for residue in between]
    in_order = [(first.resnum, first.icode), *numbers, (last.resnum, last.icode)]
    rising = all(one < other for one, other in pairwise(in_order))
    whole = between and rising and len(free) <= len(between) and set(free) <= set(numbers)
    if not whole or any(residue.resname not in AMINO_NAMES for residue in between):
        return []
    return [(number, residue.resname) for number, residue in zip(numbers, between, strict=True)]


def find_missing_ends(structure: Structure, chain: str | None = None) -> list[MissingEnd]:
    """Find the ends of chains, or of one, beyond which the recorded sequence has residues, caps aside."""
    recorded, missing_ends = recorded_sequences(structure), list[MissingEnd]()
    for name, segments in _segments_of_chains(structure, chain, frozenset()).items():
        if name not in recorded:
            continue
        record, (first, last) = recorded[name], _ends_of_record(structure, segments, recorded[name])
        sides: tuple[Side, Side] = ("before", "after")
        for side, end in zip(sides, (first, last), strict=True):
            if end is None:
                continue
            anchor, (start, stop) = end
            while start < stop and record.names[stop - 1 if side == "after" else start] in CAPS:
                start, stop = (start, stop - 1) if side == "after" else (start + 1, stop)
            if count := stop - start:
                at = structure.residues[anchor].resnum
                counted = range(at - count, at) if side == "before" else range(at + 1, at + 1 + count)
                numbers = _recorded_numbers(record, slice(start, stop)) or tuple((k, "") for k in counted)
                missing_ends.append(MissingEnd(anchor, side, numbers, record.names[start:stop], record.source))
    return missing_ends


def _segments_of_chains(structure: Structure, chain: str | None, removed: frozenset[int]) -> dict[str, list[Segment]]:
    """Segments of each chain, or of one, as if the residues `removed` were missing."""
    chains: dict[str, list[Segment]] = {}
    for first, last in chain_segments(structure, chain):
        for part in _without(first, last, removed):
            chains.setdefault(structure.residues[first].chain, []).append(part)
    return chains


def _recorded_numbers(record: RecordedSequence, part: slice) -> tuple[Number, ...]:
    """Numbers of a part of a record; empty if it lacks some of them."""
    numbers = tuple(number for number in record.numbers[part] if number is not None)
    return numbers if len(numbers) == len(record.names[part]) else ()


def _without(first: int, last: int, removed: frozenset[int]) -> list[Segment]:
    """List the remaining parts of a segment."""
    present = np.array([False, *(k not in removed for k in range(first, last + 1)), False])
    edge = np.flatnonzero(np.diff(present.astype(int)))
    return [(first + int(a), first + int(b) - 1) for a, b in edge.reshape(-1, 2)]


def _contents(
    structure: Structure, segments: Sequence[Segment], record: RecordedSequence
) -> dict[int, tuple[int, int]]:
    """Find the slice of the record of the gap after each segment, if all optimal alignments agree on its names."""
    placed = place_segments(structure, segments, record)
    steps = [] if placed is None else placed.steps
    return {k: min(step) for k, step in enumerate(steps) if len({record.names[start:end] for start, end in step}) == 1}


def _ends_of_record(
    structure: Structure, segments: Sequence[Segment], record: RecordedSequence
) -> tuple[tuple[int, tuple[int, int]] | None, tuple[int, tuple[int, int]] | None]:
    """Find the first and the last residue of a chain that are in its record, each with the slice of the record beyond.

    Segments that all optimal alignments leave out are ligands; None where alignments disagree.
    """
    placed = place_segments(structure, segments, record)
    inside = [] if placed is None else [k for k, positions in enumerate(placed.nodes) if positions]
    if placed is None or not inside:
        return None, None
    (first, last), total = (inside[0], inside[-1]), len(record.names)
    starts, ends = placed.nodes[first], {p + placed.size[last] for p in placed.nodes[last]}
    return (
        (segments[first][0], (0, min(starts))) if len(starts) == 1 else None,
        (segments[last][1], (min(ends), total)) if len(ends) == 1 else None,
    )
