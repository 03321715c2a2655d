"""Plan of a missing loop or chain end: its anchors, residue numbers, sequence, and the source of the sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geofold.errors import BuildError, SequenceError
from geofold.molecule.io.ideal_peptide import parse_sequence
from geofold.molecule.records import NewResidue, Side
from geofold.molecule.residues import (
    FORCE_FIELD_NAMES,
    STANDARD_PARENT,
    STANDARD_RESIDUES,
    one_letter_code,
    three_letter_names,
)
from geofold.molecule.selection import Number, ResidueRange
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.gaps import Gap

STANDARD = FORCE_FIELD_NAMES | {"MSE": "MET"}
"""Standard residue name of each residue name that denotes one of the twenty amino acids."""


@dataclass(frozen=True)
class BuildPlan:
    """Residues to build between residues `before` and `after` (indices) of a structure.

    Attributes
    ----------
    chain : str
        Chain identifier.
    before, after : int
        Indices of the anchor residues. A chain end has one of them; the other one is the index next to it, of whatever
        residue is there, if any.
    removed : tuple of int
        Indices of existing residues that are replaced.
    numbers : tuple of (int, str)
        Number and insertion code of each of the n new residues.
    names : tuple of str
        Names of the n new residues.
    source : str
        Source of the sequence: 'given', or the name of a record.
    notes : tuple of str
        Notes for the user.
    cis : tuple of int
        New residues (counted from 0) with a cis peptide bond before them.
    side : 'between', 'after' or 'before'
        'between': a loop, which joins both anchors. 'after' and 'before': a chain end, bonded to residue `before` or to
        residue `after`.
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
    side: Side = "between"

    @property
    def is_chain_end(self) -> bool:
        """Whether the new residues are bonded on one side only."""
        return self.side != "between"

    @property
    def anchor(self) -> int:
        """Residue that the new ones are inserted after; before the N end of a chain, the residue after them."""
        return self.after if self.side == "before" else self.before

    @property
    def anchors(self) -> tuple[int, ...]:
        """Residues that the new ones are bonded to."""
        return (self.anchor,) if self.is_chain_end else (self.before, self.after)

    @property
    def place(self) -> tuple[int, bool]:
        """Key that sorts plans in the order of the file; of two in one place, the end of a chain comes first."""
        return self.before, self.side == "before"

    @property
    def label(self) -> str:
        """The residue range in the notation of the command line."""
        return str(ResidueRange(self.chain, self.numbers[0], self.numbers[-1]))

    @property
    def sequence(self) -> str:
        """One-letter codes of the new residues."""
        return "".join(one_letter_code(name) for name in self.names)

    def residues(self, names: Sequence[tuple[str, ...]], xyz: Floats) -> list[NewResidue]:
        """Return the new residues with atoms of some names each, at coordinates (m, 3) in nm."""
        ends = np.cumsum([len(atoms) for atoms in names])[:-1]
        return [
            NewResidue(name, number, atoms, tuple(atom[0] for atom in atoms), points)
            for name, number, atoms, points in zip(self.names, self.numbers, names, np.split(xyz, ends), strict=True)
        ]

    def cis_prolines(self) -> list[BuildPlan]:
        """Plans of the same loop with one cis proline each, one plan per proline."""
        return [replace(self, cis=(k,)) for k, name in enumerate(self.names) if name == "PRO"]


def with_given_sequence(build: BuildPlan, gap: Gap, text: str, given: str) -> BuildPlan:
    """Return the plan with the sequence given by the user.

    Parameters
    ----------
    build : BuildPlan
        Plan without a sequence.
    gap : Gap
        Gap in the chain; its recorded sequence, if any, has to agree.
    text : str
        Request as the user wrote it, for messages.
    given : str
        One-letter sequence, one letter per residue number.

    Raises
    ------
    SequenceError
        If the length differs from the number of residues, or a residue differs from the record.
    """
    letters = parse_sequence(given, f"the sequence of '{text}'")
    if len(letters) != len(build.numbers):
        raise SequenceError(
            f"{build.label} has {len(build.numbers)} numbers and the sequence {letters} {len(letters)} letters",
            "a letter for each number",
            "give another sequence, or another range (insertion codes count: A:45-46B)",
        )
    names = tuple(three_letter_names(letters))
    if gap.names is not None and not _agree(names, gap.names):
        raise SequenceError(
            f"{build.label}={letters} disagrees with {gap.source}",
            sequence_of(gap.names),
            f"leave the sequence out, or correct {gap.source}",
        )
    return replace(build, names=names)


def with_recorded_sequence(build: BuildPlan, gap: Gap, structure: Structure) -> BuildPlan:
    """Return the plan with the sequence that the file records for the gap.

    Selenomethionine is built as methionine; other non-standard residues are refused.

    Raises
    ------
    BuildError
        If there is no record, or its length differs from the number of residues.
    SequenceError
        If the record has other non-standard residues.
    """
    if gap.names is None:
        raise BuildError(
            f"{structure.source} does not contain the sequence of {build.label}",
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
    unusual = [f"{label} {name}" for label, name in zip(labels, names, strict=True) if name not in STANDARD_RESIDUES]
    if unusual:
        raise SequenceError(
            f"{gap.source} of {structure.source} has {', '.join(unusual[:3])}",
            "the twenty amino acids",
            f"give the sequence to build, as {build.label}=...",
        )
    changed = [label for label, name in zip(labels, gap.names, strict=True) if name == "MSE"]
    notes = (f"{', '.join(changed)}: methionine is built for selenomethionine",) if changed else ()
    return replace(build, names=tuple(names), source=gap.source, notes=notes)


def sequence_of(names: Iterable[str]) -> str:
    """One-letter codes of residue names, X for non-standard ones."""
    return "".join(one_letter_code(STANDARD.get(name, name)) for name in names).replace("-", "X")


def _agree(given: tuple[str, ...], recorded: tuple[str, ...]) -> bool:
    """Whether a sequence agrees with the record; a non-standard residue in the record matches any residue."""
    known = [STANDARD.get(name, name) for name in recorded]
    return len(given) == len(known) and all(
        name == recorded_name or recorded_name not in STANDARD_RESIDUES
        for name, recorded_name in zip(given, known, strict=True)
    )


def rebuild_plan(structure: Structure, first: int, last: int) -> BuildPlan:
    """Plan to rebuild residues `first` to `last`, which are present."""
    residues = structure.residues[first : last + 1]
    return BuildPlan(
        residues[0].chain,
        first - 1,
        last + 1,
        tuple(range(first, last + 1)),
        tuple((residue.resnum, residue.icode) for residue in residues),
        tuple(STANDARD_PARENT.get(residue.resname, residue.resname) for residue in residues),
        "the file",
    )
