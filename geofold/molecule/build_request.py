"""What is to be built: ``A:45-56=GSWTYENGKWAA`` (the sequence may be left to the file) made sure of.

Residues of the range that are there already are removed and built anew. The residues on both sides stay, and have to
have their whole backbones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from geofold.errors import BuildError, OverlappingLoopsError, ResidueRangeError, SequenceError
from geofold.molecule.builder import LETTERS
from geofold.molecule.gaps import SAME, Gap, gaps
from geofold.molecule.numbering import numbers_between, numbers_of
from geofold.molecule.residue_range import (
    BACKBONE,
    EXAMPLES,
    STANDARD_RESIDUES,
    Number,
    ResidueRange,
    holds,
    parse_range,
    require_backbone,
)
from geofold.molecule.rotamers import letter_of, names_of
from geofold.molecule.structure import Structure

SHORTEST, LONGEST = 3, 40
"""Residues that can be built: fewer cannot meet both anchors by their torsions alone."""


@dataclass(frozen=True)
class Build:
    """Residues to build between residues `before` and `after` (indices) of a structure.

    Attributes
    ----------
    removed : tuple of int
        Residues that are there and make room.
    numbers : tuple of (int, str)
        Number and insertion code of each new residue (n).
    names : tuple of str
        Their names (n).
    source : str
        Where the sequence comes from: 'given', 'file' (the residues that were there), or the name of a record.
    notes : tuple of str
        What the user should know.
    """

    chain: str
    before: int
    after: int
    removed: tuple[int, ...]
    numbers: tuple[Number, ...]
    names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The range as users write it."""
        return str(ResidueRange(self.chain, self.numbers[0], self.numbers[-1]))

    @property
    def sequence(self) -> str:
        """One-letter codes."""
        return "".join(letter_of(name) for name in self.names)


def find_builds(structure: Structure, texts: Sequence[str]) -> list[Build]:
    """What the texts ask for, in the order of the file.

    Raises
    ------
    ResidueRangeError, SequenceError, BuildError, BackboneError
        For what cannot be built.
    OverlappingLoopsError
        If no residue that stays lies between two of them.
    """
    builds = sorted((find_build(structure, text) for text in texts), key=lambda build: build.before)
    for one, two in pairwise(builds):
        if one.after > two.before:
            raise OverlappingLoopsError(
                f"{one.label} and {two.label}", "ranges with at least one residue between them that stays",
                "join them into one range, or shorten one",
            )  # fmt: skip
    return builds


def find_build(structure: Structure, text: str) -> Build:
    """What one text asks for; see `find_builds`."""
    span, _, given = text.partition("=")
    wanted = parse_range(span)
    if "=" in text and not given.strip():
        raise SequenceError(f"'{text}' ends without a sequence", "A:45-56=SEQUENCE or A:45-56", "add it, or drop the =")
    own = numbers_of(wanted)
    if not own:
        raise ResidueRangeError(f"{wanted} runs backwards", EXAMPLES, "swap its ends")
    before, after, removed = _anchors(structure, wanted, own)
    gap = _gap(structure, before, after, removed)
    there = [structure.residues[k] for k in removed]
    joined = [before, *removed, after]
    whole = bool(removed) and all(structure.bonded(one, two) for one, two in pairwise(joined))
    if whole:
        own = tuple((residue.resnum, residue.icode) for residue in there)
    elif gap.names is not None and len(gap.names) == len(gap.numbers) == len(own):
        own = gap.numbers
    build = Build(wanted.chain, before, after, removed, own, (), "given")
    if not whole:
        _require_all(structure, build, gap)
    if given.strip():
        build = _given(build, text, given)
    elif whole:
        build = _named(replace(build, source="file"), [residue.resname for residue in there], structure)
    else:
        build = _recorded(build, gap, structure)
    if not SHORTEST <= len(build.names) <= LONGEST:
        raise BuildError(
            f"{build.label} has {len(build.names)} residues", f"{SHORTEST} to {LONGEST} residues",
            _longer(structure, build) if len(build.names) < SHORTEST else "build it with a template-based program",
        )  # fmt: skip
    told = tuple(SAME.get(name, name) for name in gap.names or ())
    if build.source == "given" and gap.names is not None and told != build.names:
        letters = "".join(letter_of(name) for name in told).replace("-", "X")
        build = replace(build, notes=(f"{build.label}: {gap.source} says {letters}, {build.sequence} was given",))
    return build


def _anchors(structure: Structure, wanted: ResidueRange, own: tuple[Number, ...]) -> tuple[int, int, tuple[int, ...]]:
    """The residues before and after, and those between that are there."""
    chain = [
        k for k, residue in enumerate(structure.residues)
        if residue.chain == wanted.chain and (structure.is_amino_acid(k) or residue.resname in STANDARD_RESIDUES)
    ]  # fmt: skip
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
            (place, place + 1) for place, (one, two) in enumerate(pairwise(chain))
            if number[one] < own[0] and own[-1] < number[two]
        ]  # fmt: skip
    if not pairs or pairs[0][0] < 0 or pairs[0][1] >= len(chain):
        raise BuildError(
            f"{structure.source} has no residue on one side of {wanted}", "residues of the chain on both sides",
            f"build between residues that are there; {holds(structure)}",
        )  # fmt: skip
    before, after = (chain[place] for place in pairs[0])
    if len(pairs) > 1 or after - before - 1 != len(inside):
        given = f"{structure.residues[before].label} and {structure.residues[after].label} of {structure.source}"
        raise BuildError(
            f"{given} do not follow each other in the file", f"nothing but {wanted} between them",
            "put the residues of the chain in order, each number once",
        )  # fmt: skip
    for k in (before, after):
        require_backbone(structure, k, BACKBONE)
    return before, after, inside


def _gap(structure: Structure, before: int, after: int, removed: tuple[int, ...]) -> Gap:
    found = [g for g in gaps(structure, frozenset(removed)) if (g.before, g.after) == (before, after)]
    if found:
        return found[0]
    one, two = (structure.residues[k].label for k in (before, after))
    raise BuildError(
        f"nothing is missing between {one} and {two} of {structure.source}, only numbers are skipped",
        "a gap of the chain, or residues that are there and are to be built anew", "look at what check lists",
    )  # fmt: skip


def _require_all(structure: Structure, build: Build, gap: Gap) -> None:
    """The range has to fill the whole gap, by the numbers or by the record."""
    if gap.names is not None and len(gap.names) == len(build.numbers):
        return
    one, two = (structure.residues[k] for k in (build.before, build.after))
    room = numbers_between((one.resnum, one.icode), (two.resnum, two.icode))
    if room != build.numbers:
        whole = str(ResidueRange(build.chain, room[0], room[-1])) if room else "nothing, for the numbers leave no room"
        raise BuildError(
            f"{build.label} is not all that the numbers leave between {one.label} and {two.label}", whole,
            f"build all of it, or give insertion codes such as {one.label}A-{one.resnum}C",
        )  # fmt: skip


def _given(build: Build, text: str, given: str) -> Build:
    letters = "".join(given.split()).upper()
    unknown = [f"'{letter}' at position {k + 1}" for k, letter in enumerate(letters) if letter not in LETTERS]
    if unknown:
        raise SequenceError(
            f"the sequence of '{text}' holds {', '.join(unknown[:3])}", f"letters out of {LETTERS}",
            "replace each by one of the twenty amino acids",
        )  # fmt: skip
    if len(letters) != len(build.numbers):
        raise SequenceError(
            f"{build.label} has {len(build.numbers)} numbers and the sequence {letters} {len(letters)} letters",
            "a letter for each number", "give another sequence, or another range (insertion codes count: A:45-46B)",
        )  # fmt: skip
    return replace(build, names=tuple(names_of(letters)))


def _recorded(build: Build, gap: Gap, structure: Structure) -> Build:
    remedy = f"give it, as {build.label}={'G' * min(len(build.numbers), 3)}..."
    if gap.names is None:
        raise BuildError(f"{structure.source} does not tell the sequence of {build.label}",
                         "SEQRES records (PDB) or entity_poly_seq (mmCIF) that fit the chain", remedy)  # fmt: skip
    if len(gap.names) != len(build.numbers):
        letters = "".join(letter_of(name) for name in gap.names).replace("-", "X")
        raise BuildError(
            f"{build.label} has {len(build.numbers)} numbers, {gap.source} {len(gap.names)} residues there ({letters})",
            "a number for each residue", "give another range (insertion codes count: A:45-46B), or the sequence",
        )  # fmt: skip
    return _named(replace(build, source=gap.source), list(gap.names), structure)


def _named(build: Build, names: list[str], structure: Structure) -> Build:
    """Residues by the names of a record: selenomethionine as methionine, other unusual ones refused."""
    standard = [SAME.get(name, "MET" if name == "MSE" else name) for name in names]
    labels = [f"{build.chain}:{number}{icode}" for number, icode in build.numbers]
    odd = [f"{label} {name}" for label, name in zip(labels, standard, strict=True) if name not in STANDARD_RESIDUES]
    if odd:
        raise SequenceError(
            f"{structure.source} has {', '.join(odd[:3])} in {build.label}", "the twenty amino acids",
            f"give the sequence with what is to stand there, as {build.label}=...",
        )  # fmt: skip
    changed = [label for label, name in zip(labels, names, strict=True) if name == "MSE"]
    notes = (f"{', '.join(changed)}: methionine is built for selenomethionine",) if changed else ()
    return replace(build, names=tuple(standard), notes=notes)


def _longer(structure: Structure, build: Build) -> str:
    """Advice to take neighbours along."""
    ends = max(build.before - 1, 0), min(build.after + 1, len(structure.residues) - 1)
    one, two = (structure.residues[k] for k in ends)
    span = ResidueRange(build.chain, (one.resnum, one.icode), (two.resnum, two.icode))
    return f"take neighbours along, which are built anew: {span}"
