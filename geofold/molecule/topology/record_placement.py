"""Positions of the segments of a chain in its recorded sequence, by the alignments of least cost.

Glossary: a segment is an unbroken part of a chain; a position is the index of its first residue in the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from geofold.molecule.numbering import numbers_between
from geofold.molecule.records import RecordedSequence
from geofold.molecule.residues import standard_name
from geofold.molecule.structure import Structure

Segment = tuple[int, int]
"""First and last residue index."""
UNPLACED_COST = 1000
"""Cost of a residue that is not in the recorded sequence, such as a ligand that is an amino acid."""
MAX_MISMATCH_COST = 50
"""Largest cost of a gap whose length disagrees with the residue numbers; the cost is the difference."""
MAX_POSITIONS = 400
"""Number of possible positions of all segments up to which a chain is compared with its record."""


@dataclass(frozen=True)
class Placements:
    """Positions of segments in a record, as alignments of least cost have them.

    Attributes
    ----------
    size : list of int
        Residues of each segment.
    nodes : list of set of int
        Positions that an optimal alignment gives to each segment; empty if all leave it out.
    steps : list of set of (int, int)
        Slices of the record between each segment and the next one.
    """

    size: list[int]
    nodes: list[set[int]]
    steps: list[set[tuple[int, int]]]


def place_segments(structure: Structure, segments: Sequence[Segment], record: RecordedSequence) -> Placements | None:
    """Place the segments of a chain in its record; None if there are too many possible positions."""
    names, positions = [standard_name(name) for name in record.names], list[list[int]]()
    count = 0
    for segment in segments:
        positions.append(_positions(structure, segment, record, names))
        count += len(positions[-1])
        if count > MAX_POSITIONS:
            return None
    size = [last - first + 1 for first, last in segments]
    start = [0, *accumulate(size)]
    forward, backward = _costs(structure, segments, positions, start)
    best = min((cost + backward[node] for node, cost in forward.items()), default=None)
    nodes = [{q for q in possible if forward[k, q] + backward[k, q] == best} for k, possible in enumerate(positions)]
    steps = [
        {
            (q + size[k], p)
            for q in positions[k]
            for p in positions[k + 1]
            if q + size[k] <= p
            and forward[k, q] + _step(structure, segments, start, (k, q), (k + 1, p)) + backward[k + 1, p] == best
        }
        for k in range(len(segments) - 1)
    ]
    return Placements(size, nodes, steps)


def _positions(structure: Structure, segment: Segment, record: RecordedSequence, names: list[str]) -> list[int]:
    """List the positions at which the record has the names of a segment and, if recorded, its first number.

    Parameters
    ----------
    structure : Structure
        Structure with the segment.
    segment : Segment
        First and last residue index.
    record : RecordedSequence
        Recorded sequence of the chain.
    names : list of str
        Its standard names.
    """
    residues = [structure.residues[k] for k in range(segment[0], segment[1] + 1)]
    query = [standard_name(residue.resname) for residue in residues]
    number = (residues[0].resnum, residues[0].icode)
    return [
        k
        for k in range(len(names) - len(query) + 1)
        if names[k] == query[0] and record.numbers[k] in (None, number) and names[k : k + len(query)] == query
    ]


Node = tuple[int, int]
"""Index of a segment and its position."""


def _costs(
    structure: Structure, segments: Sequence[Segment], positions: list[list[int]], start: list[int]
) -> tuple[dict[Node, int], dict[Node, int]]:
    """Compute the least cost from the start of the chain to each placed segment, and from there to its end.

    Parameters
    ----------
    structure : Structure
        Structure with the chain.
    segments : sequence of Segment
        Segments of the chain.
    positions : list of list of int
        Possible positions of each segment.
    start : list of int
        Number of residues before each segment, then the total.
    """
    size = [end - begin for begin, end in pairwise(start)]
    nodes = [(k, p) for k, possible in enumerate(positions) for p in possible]
    forward = {node: UNPLACED_COST * start[node[0]] for node in nodes}
    for j, node in enumerate(nodes):
        for neighbour in nodes[:j]:
            if neighbour[0] < node[0] and neighbour[1] + size[neighbour[0]] <= node[1]:
                forward[node] = min(
                    forward[node], forward[neighbour] + _step(structure, segments, start, neighbour, node)
                )
    backward = {node: UNPLACED_COST * (start[-1] - start[node[0] + 1]) for node in nodes}
    for j, node in reversed(list(enumerate(nodes))):
        for neighbour in nodes[j + 1 :]:
            if neighbour[0] > node[0] and node[1] + size[node[0]] <= neighbour[1]:
                backward[node] = min(
                    backward[node], backward[neighbour] + _step(structure, segments, start, node, neighbour)
                )
    return forward, backward


def _step(structure: Structure, segments: Sequence[Segment], start: list[int], first: Node, second: Node) -> int:
    """Compute the cost between two placed segments: unplaced segments, and a gap that disagrees with the numbers.

    Parameters
    ----------
    structure : Structure
        Structure with the chain.
    segments : sequence of Segment
        Segments of the chain.
    start : list of int
        Number of residues before each segment, then the total.
    first, second : Node
        Two segments with their positions.
    """
    if second[0] != first[0] + 1:
        return UNPLACED_COST * (start[second[0]] - start[first[0] + 1])
    before, after = (structure.residues[k] for k in (segments[first[0]][1], segments[second[0]][0]))
    expected = len(numbers_between((before.resnum, before.icode), (after.resnum, after.icode)))
    return min(abs(second[1] - first[1] - (start[second[0]] - start[first[0]]) - expected), MAX_MISMATCH_COST)
