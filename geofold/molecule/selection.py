"""Selection of residues and atoms: written ranges, atom sites of a file's records, elements of atom names.

A range is written ``A:45-56``, with insertion codes ``A:45A-56``, for a blank chain id ``:45-56``, with negative
numbers ``A:-5--2``, and for one residue ``A:45``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from geofold.errors import BackboneError, ChainBreakError, ResidueRangeError
from geofold.molecule.numbers import LARGEST_INTEGER, abbreviate, parse_int
from geofold.molecule.residues import AMINO_NAMES, BACKBONE
from geofold.molecule.structure import Link, Mask, Structure
from geofold.terminal import shell_quoted

Number = tuple[int, str]
"""Residue number and insertion code."""
AtomSite = tuple[str, int, str, str]
"""Chain, residue number, insertion code and atom name."""

SYMBOLS = (
    "H D HE LI BE B C N O F NE NA MG AL SI P S CL AR K CA SC TI V CR MN FE CO NI CU ZN GA GE AS SE BR KR RB SR Y ZR NB "
    "MO TC RU RH PD AG CD IN SN SB TE I XE CS BA LA CE PR ND SM EU GD TB DY HO ER TM YB LU HF TA W RE OS IR PT AU HG "
    "TL PB BI TH U"
)
ELEMENTS = frozenset(SYMBOLS.split())
MAX_LISTED = 12
"""Largest number of segments or chains listed in a message."""
RANGE = re.compile(r"([^:]*):(-?[0-9]+)([A-Za-z]?)(?:-(-?[0-9]+)([A-Za-z]?))?")
RANGE_EXAMPLES = "CHAIN:FIRST-LAST such as A:45-56, A:45A-56, :45-56 for a blank chain id, or A:45"


@dataclass(frozen=True)
class ResidueRange:
    """Range of residues of a chain.

    Attributes
    ----------
    chain : str
        Chain id.
    first, last : (int, str)
        Number and insertion code of the ends, both included.
    """

    chain: str
    first: Number
    last: Number

    def __str__(self) -> str:
        """Write the range, as `parse_range` reads it."""
        start, end = (f"{number}{icode}" for number, icode in (self.first, self.last))
        return f"{self.chain}:{start}" + (f"-{end}" if end != start else "")


def atom_label(structure: Structure, atom: int) -> str:
    """Label of an atom, as in ``A:45@CB``."""
    return f"{structure.residues[structure.residue_of[atom]].label}@{structure.name[atom]}"


def parse_range(text: str) -> ResidueRange:
    """Parse a written range.

    Raises
    ------
    ResidueRangeError
        If the text is not a range.
    """
    match = RANGE.fullmatch(text.strip())
    if match is None:
        raise ResidueRangeError(
            f"'{abbreviate(text)}' is not a residue range", RANGE_EXAMPLES, "write the range like that"
        )
    chain, first, first_icode, last, last_icode = match.groups()
    start = (_number(first), first_icode)
    return ResidueRange(chain.strip(), start, start if last is None else (_number(last), last_icode))


def _number(text: str) -> int:
    number = parse_int(text)
    if number is None:
        raise ResidueRangeError(
            f"residue number {abbreviate(text)}", f"a number up to {LARGEST_INTEGER}", "give a number of the file"
        )
    return number


def backbone_atoms(structure: Structure, first: int, last: int, conformer: Mask) -> list[int | None]:
    """List N, CA, C and O of residues `first` to `last`, residue by residue, None for a missing atom.

    Parameters
    ----------
    structure : Structure
        Structure with the residues.
    first, last : int
        Indices of the first and the last residue.
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    """
    return [structure.atom(k, name, conformer) for k in range(first, last + 1) for name in BACKBONE]


def _missing(structure: Structure, residue: int, names: tuple[str, ...] = BACKBONE) -> list[str]:
    return [name for name in names if structure.atom(residue, name, structure.conformer_mask) is None]


def segment_labels(structure: Structure) -> list[str]:
    """List the ranges of the unbroken segments of amino acids, e.g. ``['A:1-76', 'B:5-9']``."""
    segments: list[list[int]] = []
    for index, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(index):
            continue
        last = segments[-1][1] if segments else None
        same = last is not None and structure.residues[last].chain == residue.chain
        if last is not None and same and structure.bonded(last, index):
            segments[-1][1] = index
        else:
            segments.append([index, index])
    ends = [(structure.residues[first], structure.residues[last]) for first, last in segments]
    return [str(ResidueRange(a.chain, (a.resnum, a.icode), (b.resnum, b.icode))) for a, b in ends]


def incomplete_backbones(structure: Structure) -> list[str]:
    """List the amino acids that lack backbone atoms, e.g. ``['A:20 SER lacks CA, C']``."""
    incomplete = []
    for index, residue in enumerate(structure.residues):
        absent = _missing(structure, index) if residue.resname in AMINO_NAMES else []
        if absent:
            incomplete.append(f"{residue.label} {residue.resname} lacks {', '.join(absent)}")
    return incomplete


def describe_contents(structure: Structure) -> str:
    """Describe the ranges of a structure for the end of a message."""
    labels = segment_labels(structure)
    rest = f" and {len(labels) - MAX_LISTED} more pieces" if len(labels) > MAX_LISTED else ""
    return f"residues it holds: {', '.join(labels[:MAX_LISTED])}{rest}"


def _lookup(structure: Structure, chain: str, number: Number) -> int:
    """Find the index of an amino acid by chain and number.

    An amino acid that lacks N, CA or C is found, too, so that the caller can report the missing atoms.
    """
    label = f"{chain}:{number[0]}{number[1]}"
    named = [i for i, r in enumerate(structure.residues) if (r.chain, r.resnum, r.icode) == (chain, *number)]
    matches = [i for i in named if structure.is_amino_acid(i) or structure.residues[i].resname in AMINO_NAMES]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ResidueRangeError(
            f"{structure.source} has {len(matches)} residues {label}",
            "one residue of that name",
            "give every chain its own id",
        )
    if named:
        given = f"{label} of {structure.source} is {structure.residues[named[0]].resname}"
        raise ResidueRangeError(given, "an amino acid", describe_contents(structure))
    chains = dict.fromkeys(r.chain for i, r in enumerate(structure.residues) if structure.is_amino_acid(i))
    absent = f"chain '{chain}'" if chain not in chains else f"residue {label}"
    ids = " ".join(f"'{c}'" for c in list(chains)[:MAX_LISTED]) + (" ..." if len(chains) > MAX_LISTED else "")
    expected = f"a chain of {ids}" if chain not in chains else f"a residue number of chain '{chain}'"
    raise ResidueRangeError(f"{structure.source} has no {absent}", expected, describe_contents(structure))


def find_residue(structure: Structure, text: str) -> int:
    """Find the index of one amino acid, written ``A:3``.

    Raises
    ------
    ResidueRangeError
        If the text is not a residue, or the residue is absent, ambiguous, or not an amino acid.
    BackboneError
        If it lacks N, CA or C.
    """
    requested = parse_range(text)
    if requested.first != requested.last:
        raise ResidueRangeError(f"'{text}' is a range", "one residue such as A:45", "give a single residue")
    index = _lookup(structure, requested.chain, requested.first)
    require_backbone(structure, index, ("N", "CA", "C"))
    return index


def find_range(structure: Structure, text: str) -> tuple[int, int]:
    """Find the first and the last residue index (both included) of a written range of an unbroken chain.

    Raises
    ------
    ResidueRangeError
        If the range cannot be read, is not in the file, or runs backwards.
    BackboneError
        If one of its residues lacks N, CA, C or O.
    ChainBreakError
        If consecutive residues are not bonded.
    """
    requested = parse_range(text)
    first, last = (_lookup(structure, requested.chain, number) for number in (requested.first, requested.last))
    if first > last:
        swapped = ResidueRange(requested.chain, requested.last, requested.first)
        raise ResidueRangeError(f"{requested} runs backwards in {structure.source}", f"{swapped}", "swap its ends")
    inside = range(first, last + 1)
    for index in inside:
        require_backbone(structure, index, BACKBONE)
    for index in inside[:-1]:
        _require_connection(structure, index)
    return first, last


def require_backbone(structure: Structure, index: int, names: tuple[str, ...]) -> None:
    """Raise BackboneError if a residue lacks one of these atoms, or has them as other elements."""
    absent = _missing(structure, index, names)
    residue = structure.residues[index]
    label = f"{residue.label} {residue.resname} of {structure.source}"
    if not absent and not structure.is_amino_acid(index):
        raise BackboneError(
            f"{label} has N, CA or C of another element",
            "elements N, C and C",
            "correct the element columns of these atoms",
        )
    if absent:
        given = f"{label} lacks {', '.join(absent)}"
        raise BackboneError(
            given,
            f"{', '.join(names)} in every residue that is used",
            "add the atoms, or choose a range without this residue",
        )


def _require_connection(structure: Structure, index: int) -> None:
    """Raise ChainBreakError if a residue is not bonded to the next; numbers may skip, as in chymotrypsin."""
    before, after = structure.residues[index], structure.residues[index + 1]
    if before.chain == after.chain and structure.bonded(index, index + 1):
        return
    distance = (structure.peptide_distance(index, index + 1) or 0.0) * 10.0
    given = (
        f"{structure.source}: the chain breaks between {before.label} and {after.label} (C-N distance {distance:.2f} A)"
    )
    remedy = "choose a range on one side of it"
    if before.chain == after.chain and after.resnum - before.resnum > 1:
        absent = ResidueRange(before.chain, (before.resnum + 1, ""), (after.resnum - 1, ""))
        remedy += f", or build the missing residues first: --build {shell_quoted(str(absent))}"
    raise ChainBreakError(given, "consecutive residues bonded at 1.0 to 2.0 A", remedy)


def guess_element(field: str, resname: str) -> str:
    """Guess the element of an atom with a blank element column from its name in columns 13-16."""
    name = field.strip().upper()
    if resname == "UNX":
        return "X"  # wwPDB's unknown atom or ion
    if name in ELEMENTS and (name == resname or name == "SE"):
        return name
    if resname not in AMINO_NAMES and field[:1].isalpha() and len(name) < 4 and name[:2] in ELEMENTS:
        return name[:2]  # the format right-justifies the element in columns 13-14
    return next((letter for letter in name if letter.isalpha()), "")


def atoms_by_site(structure: Structure) -> dict[AtomSite, dict[str, int]]:
    """Index the atoms by site, then by letter of the conformer; of repeated atoms the first counts."""
    sites: dict[AtomSite, dict[str, int]] = {}
    columns = (column.tolist() for column in (structure.chain, structure.resnum, structure.icode, structure.name))
    for i, (site, letter) in enumerate(zip(zip(*columns, strict=True), structure.altloc.tolist(), strict=True)):
        sites.setdefault(site, {}).setdefault(letter, i)
    return sites


def links_between(
    structure: Structure, atoms: dict[AtomSite, dict[str, int]], ends: list[tuple[AtomSite, str]], source: str
) -> list[Link]:
    """List the links between two sites, for all pairs of conformers that occur together.

    Parameters
    ----------
    structure : Structure
        Structure with the atoms.
    atoms : dict
        Its `atoms_by_site`.
    ends : list of (AtomSite, str)
        Both sites, each with the letter of a conformer or an empty string.
    source : str
        Name of the record.
    """
    letters = structure.altloc
    first, second = (
        [i for i in atoms.get(site, {}).values() if not altloc or letters[i] in ("", altloc)] for site, altloc in ends
    )
    pairs = [(i, j) for i in first for j in second if not letters[i] or letters[j] in ("", letters[i])]
    return [Link(i, j, source) for i, j in pairs]


def unique_links(links: Iterable[Link]) -> tuple[Link, ...]:
    """Remove repeated links; the first source counts, and the lower atom comes first."""
    unique: dict[tuple[int, int], str] = {}
    for link in links:
        if link.i != link.j:
            unique.setdefault((min(link.i, link.j), max(link.i, link.j)), link.source)
    return tuple(Link(i, j, source) for (i, j), source in unique.items())
