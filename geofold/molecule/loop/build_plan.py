"""A loop that is to be built, and where its sequence comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from geofold.errors import BuildError, SequenceError
from geofold.molecule.io.ideal_peptide import parse_sequence
from geofold.molecule.residues import FORCE_FIELD_NAMES, STANDARD_RESIDUES, letter_of, names_of
from geofold.molecule.selection import Number, ResidueRange
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import Gap

STANDARD = FORCE_FIELD_NAMES | {"MSE": "MET"}
"""Names that stand for one of the twenty amino acids."""


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
        Where the sequence comes from: 'given', or the name of a record.
    notes : tuple of str
        What the user should know.
    cis : tuple of int
        Which of the new residues have a cis peptide bond before them.
    """

    chain: str
    before: int
    after: int
    removed: tuple[int, ...]
    numbers: tuple[Number, ...]
    names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()
    cis: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The range as users write it."""
        return str(ResidueRange(self.chain, self.numbers[0], self.numbers[-1]))

    @property
    def sequence(self) -> str:
        """One-letter codes."""
        return "".join(letter_of(name) for name in self.names)

    def cis_prolines(self) -> list[Build]:
        """The same loop with each of its prolines cis, one at a time."""
        return [replace(self, cis=(k,)) for k, name in enumerate(self.names) if name == "PRO"]


def with_given(build: Build, gap: Gap, text: str, given: str) -> Build:
    """The build with the sequence that a user gave: a letter for each number, the record's where it has one."""
    letters = parse_sequence(given, f"the sequence of '{text}'")
    if len(letters) != len(build.numbers):
        raise SequenceError(
            f"{build.label} has {len(build.numbers)} numbers and the sequence {letters} {len(letters)} letters",
            "a letter for each number",
            "give another sequence, or another range (insertion codes count: A:45-46B)",
        )
    names = tuple(names_of(letters))
    if gap.names is not None and not _agree(names, gap.names):
        raise SequenceError(
            f"{build.label}={letters} is not what {gap.source} has there",
            sequence_of(gap.names),
            f"leave the sequence out, or correct {gap.source}",
        )
    return replace(build, names=names)


def with_recorded(build: Build, gap: Gap, structure: Structure) -> Build:
    """The build with the sequence that the file's record has for the gap.

    Selenomethionine is built as methionine; other unusual residues are refused.
    """
    if gap.names is None:
        raise BuildError(
            f"{structure.source} does not tell the sequence of {build.label}",
            "SEQRES records (PDB) or entity_poly_seq (mmCIF) that fit the chain",
            f"give it, as {build.label}={'G' * min(len(build.numbers), 3)}...",
        )
    if len(gap.names) != len(build.numbers):
        raise BuildError(
            f"{build.label} has {len(build.numbers)} numbers, {gap.source} {len(gap.names)} residues there "
            f"({sequence_of(gap.names)})",
            "a number for each residue",
            "give another range (insertion codes count: A:45-46B)",
        )
    names = [STANDARD.get(name, name) for name in gap.names]
    labels = [f"{build.chain}:{number}{icode}" for number, icode in build.numbers]
    odd = [f"{label} {name}" for label, name in zip(labels, names, strict=True) if name not in STANDARD_RESIDUES]
    if odd:
        raise SequenceError(
            f"{gap.source} of {structure.source} has {', '.join(odd[:3])}",
            "the twenty amino acids",
            f"give the sequence with what is to stand there, as {build.label}=...",
        )
    changed = [label for label, name in zip(labels, gap.names, strict=True) if name == "MSE"]
    notes = (f"{', '.join(changed)}: methionine is built for selenomethionine",) if changed else ()
    return replace(build, names=tuple(names), source=gap.source, notes=notes)


def sequence_of(names: Iterable[str]) -> str:
    """One-letter codes of a record's names, X for unusual ones."""
    return "".join(letter_of(STANDARD.get(name, name)) for name in names).replace("-", "X")


def _agree(given: tuple[str, ...], recorded: tuple[str, ...]) -> bool:
    """Whether a sequence is the record's; for an unusual residue anything may stand."""
    known = [STANDARD.get(name, name) for name in recorded]
    return len(given) == len(known) and all(
        one == two or two not in STANDARD_RESIDUES for one, two in zip(given, known, strict=True)
    )
