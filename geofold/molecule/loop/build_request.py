"""Parsing and validation of build requests such as ``A:45-56=GSWTYENGKWAA``; the sequence is optional.

Residues of the range that exist in the file are removed and rebuilt, so a gap of one or two residues can be extended
by its neighbours. The anchor residues on both sides are kept and need complete backbones.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from geofold.errors import BuildError, OverlappingLoopsError, ResidueRangeError, SequenceError
from geofold.molecule.loop.build_plan import Build, with_given, with_recorded
from geofold.molecule.numbering import numbers_between, numbers_of
from geofold.molecule.residues import AMINO_NAMES, BACKBONE
from geofold.molecule.selection import EXAMPLES, Number, ResidueRange, holds, parse_range, require_backbone
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import Gap, gaps

CHAIN_END, CHAIN_START = frozenset({"OXT", "OT2"}), frozenset({"H2", "H3", "HT2", "HT3"})
"""Atoms of chain termini, which occupy the position of the following and of the preceding residue."""
SHORTEST, LONGEST = 3, 40
"""Bounds on the number of residues: fewer cannot connect both anchors by their torsions alone."""


def find_builds(structure: Structure, texts: Sequence[str]) -> list[Build]:
    """Return the plans of the requests, in the order of the file.

    Raises
    ------
    ResidueRangeError, SequenceError, BuildError, BackboneError
        If a request cannot be built.
    OverlappingLoopsError
        If two requests have no remaining residue between them.
    """
    builds = sorted((find_build(structure, text) for text in texts), key=lambda build: build.before)
    for left, right in pairwise(builds):
        if left.after > right.before:
            raise OverlappingLoopsError(
                f"{left.label} and {right.label}",
                "ranges separated by at least one residue that is kept",
                "join them into one range, or shorten one",
            )
    return builds


def find_build(structure: Structure, text: str) -> Build:
    """Return the plan of one request; see `find_builds`."""
    if structure.n_models > 1:  # many programs reject files whose models differ in their atoms
        raise BuildError(f"{structure.source} has {structure.n_models} models", "a single model", "keep one of them")
    span, equals, given = text.partition("=")
    wanted = parse_range(span)
    if equals and not given.strip():
        raise SequenceError(f"'{text}' ends without a sequence", "A:45-56=SEQUENCE or A:45-56", "add it, or drop the =")
    own = numbers_of(wanted)
    if not own:
        raise ResidueRangeError(f"{wanted} runs backwards", EXAMPLES, "swap its ends")
    before, after, removed = _anchors(structure, wanted, own)
    gap = _gap(structure, wanted, before, after, removed)
    known = gap.names is not None and len(gap.names) == len(gap.numbers)
    if known and (own[0], own[-1]) == (gap.numbers[0], gap.numbers[-1]):
        numbers = tuple(gap.numbers)  # insertion codes and skipped numbers included
    else:
        _require_length(str(wanted), len(own))
        there = [(structure.residues[k].resnum, structure.residues[k].icode) for k in removed]
        numbers = tuple(sorted({*own, *there}))
    build = Build(wanted.chain, before, after, removed, numbers, (), "given")
    _require_all(structure, build, gap)
    build = with_given(build, gap, text, given) if equals else with_recorded(build, gap, structure)
    if len(build.names) < SHORTEST:
        raise BuildError(
            f"{build.label} has {len(build.names)} residues",
            f"{SHORTEST} to {LONGEST} residues",
            "include neighbouring residues, which are rebuilt",
        )
    _require_length(build.label, len(build.names))
    return build


def _require_length(label: str, count: int) -> None:
    """Raise BuildError if there are more residues than can be built."""
    if count > LONGEST:
        raise BuildError(
            f"{label} has {count} residues",
            f"{SHORTEST} to {LONGEST} residues",
            "build it with a template-based program",
        )


def _anchors(structure: Structure, wanted: ResidueRange, own: Sequence[Number]) -> tuple[int, int, tuple[int, ...]]:
    """Return indices of the residues before and after the range, and of the existing residues inside it."""
    chain = [
        k
        for k, residue in enumerate(structure.residues)
        if residue.chain == wanted.chain and (structure.is_amino_acid(k) or residue.resname in AMINO_NAMES)
    ]
    if not chain:
        ids = dict.fromkeys(r.chain for k, r in enumerate(structure.residues) if structure.is_amino_acid(k))
        expected = f"a chain of {' '.join(repr(one) for one in ids)}"
        raise ResidueRangeError(f"{structure.source} has no chain '{wanted.chain}'", expected, holds(structure))
    number = {k: (structure.residues[k].resnum, structure.residues[k].icode) for k in chain}
    inside = tuple(k for k in chain if own[0] <= number[k] <= own[-1])
    if inside:
        places = (chain.index(inside[0]), chain.index(inside[-1]))
        pairs = [(places[0] - 1, places[1] + 1)]
    else:
        pairs = [
            (place, place + 1)
            for place, (one, two) in enumerate(pairwise(chain))
            if number[one] < own[0] and own[-1] < number[two]
        ]
    if not pairs or pairs[0][0] < 0 or pairs[0][1] >= len(chain):
        raise BuildError(
            f"{structure.source} has no residue on one side of {wanted}",
            "a gap between two residues of a chain (chain ends are not built)",
            f"choose a range between existing residues; {holds(structure)}",
        )
    before, after = (chain[place] for place in pairs[0])
    if len(pairs) > 1 or after - before - 1 != len(inside):
        given = f"{structure.residues[before].label} and {structure.residues[after].label} of {structure.source}"
        raise BuildError(
            f"{given} do not follow each other in the file",
            f"nothing but {wanted} between them",
            "put the residues of the chain in order, each number once",
        )
    for k, ends in ((before, CHAIN_END), (after, CHAIN_START)):
        require_backbone(structure, k, BACKBONE)
        atoms = sorted(set(structure.name[structure.residues[k].atoms].tolist()) & ends)
        if atoms:
            raise BuildError(
                f"{structure.residues[k].label} of {structure.source} has {', '.join(atoms)}: its chain ends there",
                "a residue that another one can be bonded to",
                "remove these atoms first",
            )
    return before, after, inside


def _gap(structure: Structure, wanted: ResidueRange, before: int, after: int, removed: tuple[int, ...]) -> Gap:
    """Return the gap that remains without the residues `removed`.

    Raises
    ------
    BuildError
        If nothing is missing.
    """
    joined = [before, *removed, after]
    if not all(structure.bonded(one, two) for one, two in pairwise(joined)):
        found = gaps(structure, wanted.chain, frozenset(removed))
        return next(gap for gap in found if (gap.before, gap.after) == (before, after))
    if removed:
        raise BuildError(
            f"all residues of {wanted} are in {structure.source}",
            "a range with missing residues",
            f"repair it (--loop {wanted}), or remove its atoms from the file first",
        )
    one, two = (structure.residues[k].label for k in (before, after))
    raise BuildError(
        f"nothing is missing between {one} and {two} of {structure.source}, only numbers are skipped",
        "a range with missing residues",
        "look at what check lists",
    )


def _require_all(structure: Structure, build: Build, gap: Gap) -> None:
    """Raise BuildError if a gap without a recorded sequence has more free residue numbers than the range covers."""
    if gap.names is not None and len(gap.names) == len(build.numbers):
        return
    one, two = (structure.residues[k] for k in (build.before, build.after))
    room = numbers_between((one.resnum, one.icode), (two.resnum, two.icode))
    if len(room) <= len(build.numbers) and set(room) <= set(build.numbers):
        return
    first, last = min(room[0], build.numbers[0]), max(room[-1], build.numbers[-1])
    raise BuildError(
        f"{build.label} is not all that is missing between {one.label} and {two.label} of {structure.source}",
        str(ResidueRange(build.chain, first, last)),
        "build all of it",
    )
