"""Gaps of chains: which residues are missing, by the numbers and by what the file says of its sequences.

Glossary: a stretch is an unbroken piece of chain; a place is where it begins in the recorded sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from geofold.molecule.io.sequence_records import recorded_sequences
from geofold.molecule.numbering import numbers_between
from geofold.molecule.residues import standard_name
from geofold.molecule.selection import Number
from geofold.molecule.structure import RecordedSequence, Structure

Stretch = tuple[int, int]
"""First and last residue index."""
LEFT_OUT = 1000
"""Cost of a residue that the recorded sequence has no place for: a ligand that is an amino acid, for example."""
FAR_OFF = 50
"""A gap whose length disagrees with the numbers costs its difference, up to this."""
MOST_PLACES = 400
"""A chain in so many small pieces that these have more places together is not compared with its record."""


@dataclass(frozen=True)
class Gap:
    """Missing residues between residues `before` and `after` (indices).

    Attributes
    ----------
    numbers : sequence of (int, str)
        Numbers of the missing residues: the record's, else as many as the numbering leaves.
    names : tuple of str or None
        Their names by the record; None if it is ambiguous or missing.
    source : str
        Name of the record, '' without one.
    """

    before: int
    after: int
    numbers: Sequence[Number]
    names: tuple[str, ...] | None
    source: str


def stretches(structure: Structure, chain: str | None = None) -> list[Stretch]:
    """First and last residue of the unbroken stretches of amino acids, of all chains or of one."""
    spans: list[Stretch] = []
    for k in range(len(structure.residues)):
        if chain not in (None, structure.residues[k].chain) or not structure.is_amino_acid(k):
            continue
        if spans and spans[-1][1] == k - 1 and structure.bonded(k - 1, k):
            spans[-1] = (spans[-1][0], k)
        else:
            spans.append((k, k))
    return spans


def gaps(structure: Structure, chain: str | None = None, removed: frozenset[int] = frozenset()) -> list[Gap]:
    """Gaps between stretches of each chain id, or of one, as if the residues `removed` were not there."""
    recorded = recorded_sequences(structure)
    chains: dict[str, list[Stretch]] = {}
    for first, last in stretches(structure, chain):
        for part in _without(first, last, removed):
            chains.setdefault(structure.residues[first].chain, []).append(part)
    found = []
    for own, spans in chains.items():
        told = _contents(structure, spans, recorded[own]) if own in recorded else {}
        for k, ((_, before), (after, _)) in enumerate(pairwise(spans)):
            one, two = ((structure.residues[i].resnum, structure.residues[i].icode) for i in (before, after))
            content = told.get(k)
            if content is None:
                found.append(Gap(before, after, numbers_between(one, two), None, ""))
                continue
            record, place = recorded[own], slice(*content)
            known = tuple(number for number in record.numbers[place] if number is not None)
            complete = len(known) == len(record.names[place])
            found.append(
                Gap(before, after, known if complete else numbers_between(one, two), record.names[place], record.source)
            )
    return found


def _without(first: int, last: int, removed: frozenset[int]) -> list[Stretch]:
    """Remaining residues of a segment."""
    kept = np.array([False, *(k not in removed for k in range(first, last + 1)), False])
    edge = np.flatnonzero(np.diff(kept.astype(int)))
    return [(first + int(a), first + int(b) - 1) for a, b in edge.reshape(-1, 2)]


def _contents(structure: Structure, spans: Sequence[Stretch], record: RecordedSequence) -> dict[int, tuple[int, int]]:
    """Where in the record the gap behind each stretch lies, for those where all best placements agree."""
    names, places = [standard_name(name) for name in record.names], list[list[int]]()
    count = 0
    for span in spans:
        places.append(_places(structure, span, record, names))
        count += len(places[-1])
        if count > MOST_PLACES:
            return {}
    size = [last - first + 1 for first, last in spans]
    start = [0, *accumulate(size)]
    forward, backward = _costs(structure, spans, places, start)
    best = min((cost + backward[node] for node, cost in forward.items()), default=None)
    found: dict[int, tuple[int, int]] = {}
    for k in range(len(spans) - 1):
        ways = {
            (q + size[k], p)
            for q in places[k]
            for p in places[k + 1]
            if q + size[k] <= p
            and forward[k, q] + _step(structure, spans, start, (k, q), (k + 1, p)) + backward[k + 1, p] == best
        }
        if len({record.names[start:end] for start, end in ways}) == 1:
            found[k] = min(ways)
    return found


def _places(structure: Structure, span: Stretch, record: RecordedSequence, there: list[str]) -> list[int]:
    """Places where the record, by its standard names, reads as the stretch does, numbers included where it has them."""
    residues = [structure.residues[k] for k in range(span[0], span[1] + 1)]
    own = [standard_name(residue.resname) for residue in residues]
    number = (residues[0].resnum, residues[0].icode)
    return [
        place
        for place in range(len(there) - len(own) + 1)
        if there[place] == own[0] and record.numbers[place] in (None, number) and there[place : place + len(own)] == own
    ]


Node = tuple[int, int]
"""A stretch and its place."""


def _costs(
    structure: Structure, spans: Sequence[Stretch], places: list[list[int]], start: list[int]
) -> tuple[dict[Node, int], dict[Node, int]]:
    """Cost of the best way from the chain's start to each placed stretch, and from there to its end.

    `start` (k + 1) counts the residues before each stretch, and those of all.
    """
    size = [two - one for one, two in pairwise(start)]
    nodes = [(k, p) for k, own in enumerate(places) for p in own]
    forward = {node: LEFT_OUT * start[node[0]] for node in nodes}
    for j, node in enumerate(nodes):
        for other in nodes[:j]:
            if other[0] < node[0] and other[1] + size[other[0]] <= node[1]:
                forward[node] = min(forward[node], forward[other] + _step(structure, spans, start, other, node))
    backward = {node: LEFT_OUT * (start[-1] - start[node[0] + 1]) for node in nodes}
    for j, node in reversed(list(enumerate(nodes))):
        for other in nodes[j + 1 :]:
            if other[0] > node[0] and node[1] + size[node[0]] <= other[1]:
                backward[node] = min(backward[node], backward[other] + _step(structure, spans, start, node, other))
    return forward, backward


def _step(structure: Structure, spans: Sequence[Stretch], start: list[int], one: Node, two: Node) -> int:
    """Cost of two placed stretches in a row: those left out between them, and a gap that the numbers deny."""
    if two[0] != one[0] + 1:
        return LEFT_OUT * (start[two[0]] - start[one[0] + 1])
    before, after = (structure.residues[k] for k in (spans[one[0]][1], spans[two[0]][0]))
    expected = len(numbers_between((before.resnum, before.icode), (after.resnum, after.icode)))
    return min(abs(two[1] - one[1] - (start[two[0]] - start[one[0]]) - expected), FAR_OFF)
