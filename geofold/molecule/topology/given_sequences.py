"""Sequences given by the user, in FASTA or UniProt text, aligned to the chains of a structure.

The aligned sequence of a chain has the residues of the structure where it has any, and those of the given sequence
where the chain is broken or has not begun; so gaps are found in it as in a record of the file. Every disagreement is
in the notes. Alignments are Biopython's (Cock et al., Bioinformatics 25:1422, 2009).

Glossary: a target is a given sequence, a query is the sequence of a chain; both are one-letter codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from geofold.errors import InputFileError, SequenceError
from geofold.molecule.io.content import content_of, decode, unpack
from geofold.molecule.numbers import abbreviate
from geofold.molecule.residues import AMINO_ACID_LETTERS, STANDARD_PARENT, one_letter_code, three_letter_names
from geofold.molecule.structure import RecordedSequence, Structure

EXPECTED = "sequences in FASTA or UniProt text"
LETTERS, IGNORED, UNIPROT = re.compile(r"[A-Z]+"), re.compile(r"[\s*.0-9-]"), re.compile(r"ID   \S")
NAMES = {"U": "SEC", "O": "PYL"}
"""Residue names of the letters beyond the twenty; other letters are unknown residues, UNK."""
MIN_IDENTITY = 0.7
"""Fraction of a chain's residues that have to agree with a sequence for it to be that of the chain."""
MATCH, MISMATCH = 4.0, -2.0
MISSING, LONGER = (-8.0, -0.05), (-8.0, -2.0)
"""Scores of opening and extending a run of residues that the chain lacks, and of those that it has in addition.
Residues that the chain lacks at its ends cost nothing."""


@dataclass(frozen=True)
class GivenSequence:
    """A sequence with its name and the format that it was read from."""

    name: str
    letters: str
    source: str


def with_given_sequences(structure: Structure, fasta: str | Path | None) -> Structure:
    """Structure whose chains have the sequences of a file, in place of those that its own file records.

    Parameters
    ----------
    structure : Structure
    fasta : str, Path or None
        A file, or its text (of several lines); None leaves the structure as it is.

    Raises
    ------
    InputFileError, SequenceError
        If the file has no sequences, or none that fits a chain.
    """
    if fasta is None:
        return structure
    label, text = _text_of(fasta)
    sequences = read_sequences(text, label)
    given, notes, best = dict(structure.given), list[str](), (0.0, "")
    for chain, residues in _chains(structure).items():
        fits = [align_chain(structure, residues, sequence) for sequence in sequences]
        fit = max(fits, key=lambda one: one.identity)
        best = max(best, (fit.identity, chain))
        if fit.identity >= MIN_IDENTITY:
            given[chain] = fit.record
            notes += fit.notes
    if not notes:
        raise SequenceError(
            f"{label} fits no chain of {structure.source} (best: {best[0]:.0%} identical, chain '{best[1]}')",
            f"a sequence with at least {MIN_IDENTITY:.0%} of the residues of a chain",
            "give the sequence of the structure",
        )
    source = label if label == str(fasta) else ""
    return replace(structure, given=given, given_from=source, notes=(*structure.notes, *notes))


@dataclass(frozen=True)
class ChainAlignment:
    """A given sequence aligned to a chain: the sequence to build from, the identical fraction, and what was found."""

    record: RecordedSequence
    identity: float
    notes: tuple[str, ...]


def align_chain(structure: Structure, residues: Sequence[int], sequence: GivenSequence) -> ChainAlignment:
    """Align a given sequence to the residues (indices) of a chain."""
    letters = [_letter(structure.residues[k].resname) for k in residues]
    broken = [not structure.bonded(a, b) for a, b in pairwise(residues)]
    place = place_at_breaks(aligned_places("".join(letters), sequence.letters), sequence.letters, broken)
    names, different, longer, done = list[str](), list[str](), list[str](), 0
    extra: list[str] = []
    for k, (residue, letter) in enumerate(zip(residues, letters, strict=True)):
        shown, at = structure.residues[residue], place[k]
        if at is None:
            extra.append(f"{shown.label} {shown.resname}")
        else:
            missing = sequence.letters[done:at]
            if missing and k and not broken[k - 1]:
                longer.append(f"{missing} between {structure.residues[residues[k - 1]].label} and {shown.label}")
            else:
                names += _names(missing)
            if sequence.letters[at] not in (letter, "X") and letter != "X":
                different.append(f"{shown.label} is {shown.resname}, {sequence.letters[at]} in the sequence")
            done = at + 1
        names.append(shown.resname)
    names += _names(sequence.letters[done:])
    same = sum(at is not None and sequence.letters[at] == letter for at, letter in zip(place, letters, strict=True))
    identity, chain = same / len(letters), structure.residues[residues[0]].chain
    said = f"chain '{chain}': sequence {abbreviate(sequence.name)} of {sequence.source}, {identity:.0%} identical"
    parts = [
        *different,
        *(f"{label} is not in the sequence" for label in extra),
        *(f"the sequence has {text}, which are bonded" for text in longer),
    ]
    record = RecordedSequence(tuple(names), (None,) * len(names), sequence.source)
    return ChainAlignment(record, identity, (": ".join(filter(None, [said, "; ".join(parts)])),))


def aligned_places(query: str, target: str) -> list[int | None]:
    """Place in a target of each residue of a query, in increasing order; None for one that the target lacks."""
    from Bio.Align import PairwiseAligner

    aligner = PairwiseAligner(mode="global", match_score=MATCH, mismatch_score=MISMATCH)
    aligner.open_internal_deletion_score, aligner.extend_internal_deletion_score = MISSING
    aligner.end_deletion_score = 0.0
    aligner.open_insertion_score, aligner.extend_insertion_score = LONGER
    places: list[int | None] = [None] * len(query)
    # of the best alignments, the first; the target is Biopython's target, so that a deletion is a missing residue
    for (first, last), (start, _) in zip(*aligner.align(target, query)[0].aligned, strict=True):
        places[start : start + last - first] = range(int(first), int(last))
    return places


def place_at_breaks(places: Sequence[int | None], target: str, broken: Sequence[bool]) -> list[int | None]:
    """Shift runs of missing residues along equal letters to where the chain is broken.

    Parameters
    ----------
    places : sequence of int or None
        Place in the target of each of the n residues of the query.
    target : str
    broken : sequence of bool
        Whether the chain is broken after each residue but the last (n - 1).
    """
    moved = list(places)
    for k in range(1, len(moved)):
        left, right = moved[k - 1], moved[k]
        if left is None or right is None or right - left < 2 or broken[k - 1]:
            continue
        missing = right - left - 1
        for shift in (*_shifts(moved, target, k, -1, missing), *_shifts(moved, target, k, 1, missing)):
            if broken[k + shift - 1]:
                step = missing if shift < 0 else -missing
                for other in range(min(k, k + shift), max(k, k + shift)):
                    moved[other] = (moved[other] or 0) + step
                break
    return moved


def _shifts(places: Sequence[int | None], target: str, k: int, side: int, missing: int) -> Iterator[int]:
    """Shifts of a run of missing residues before residue k to one side that keep every aligned letter."""
    shift = 0
    while 0 < k + shift + side < len(places):
        place = places[k + shift - 1 if side < 0 else k + shift]
        if place is None or target[place] != target[place - side * missing]:
            return
        shift += side
        yield shift


def read_sequences(text: str, label: str) -> list[GivenSequence]:
    """Sequences of a text in FASTA or UniProt format; `label` is its name in messages.

    Raises
    ------
    InputFileError
        If there are none, or a line is not a sequence.
    """
    lines = text.splitlines()
    is_uniprot = any(UNIPROT.match(line) for line in lines)
    found: list[GivenSequence] = []
    for number, line in enumerate(_fasta_lines(lines) if is_uniprot else lines, 1):
        letters = IGNORED.sub("", line).upper()
        if line.startswith(">"):
            name = (line[1:].split() or ["without a name"])[0]
            found.append(GivenSequence(name, "", "UniProt" if is_uniprot else "FASTA"))
        elif line.startswith(";") or not letters:
            continue
        elif not found or not LETTERS.fullmatch(letters):
            raise InputFileError(f"{label}, line {number}: '{abbreviate(line)}'", EXPECTED, "correct that line")
        else:
            found[-1] = replace(found[-1], letters=found[-1].letters + letters)
    if not any(sequence.letters for sequence in found):
        raise InputFileError(f"{label} has no sequence", EXPECTED, "give another file")
    return [sequence for sequence in found if sequence.letters]


def _fasta_lines(lines: Sequence[str]) -> Iterator[str]:
    """Lines of UniProt text as those of FASTA, empty where nothing belongs to a sequence."""
    inside = False
    for line in lines:
        inside = inside and line[:2] == "  "
        yield line if inside else f">{line[5:]}" if UNIPROT.match(line) else ""
        inside = inside or line.startswith("SQ ")


def _text_of(fasta: str | Path) -> tuple[str, str]:
    """Name and text of a file of sequences, or of a text of several lines."""
    if isinstance(fasta, str) and "\n" in fasta:
        return "the given sequences", fasta
    label = str(fasta)
    return label, decode(unpack(content_of(label, EXPECTED), label), label)[0]


def _chains(structure: Structure) -> dict[str, list[int]]:
    """Amino acids of each chain, in the order of the file."""
    chains: dict[str, list[int]] = {}
    for k, residue in enumerate(structure.residues):
        if structure.is_amino_acid(k):
            chains.setdefault(residue.chain, []).append(k)
    return chains


def _letter(name: str) -> str:
    return one_letter_code(STANDARD_PARENT.get(name, name)).replace("-", "X")


def _names(letters: str) -> list[str]:
    """Residue names of one-letter codes, UNK for letters beyond the twenty, selenocysteine and pyrrolysine."""
    return [
        three_letter_names(letter)[0] if letter in AMINO_ACID_LETTERS else NAMES.get(letter, "UNK")
        for letter in letters
    ]
