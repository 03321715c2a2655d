"""What names mean: ranges as people write them, sites as a file's records name them, elements of atom names.

A range is written ``A:45-56``, with insertion codes ``A:45A-56``, for a blank chain id ``:45-56``, with
negative numbers ``A:-5--2``, and for one residue ``A:45``.
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
"""chain, resnum, icode, atom name."""

SYMBOLS = (
    "H D HE LI BE B C N O F NE NA MG AL SI P S CL AR K CA SC TI V CR MN FE CO NI CU ZN GA GE AS SE BR KR RB SR Y ZR NB "
    "MO TC RU RH PD AG CD IN SN SB TE I XE CS BA LA CE PR ND SM EU GD TB DY HO ER TM YB LU HF TA W RE OS IR PT AU HG "
    "TL PB BI TH U"
)
ELEMENTS = frozenset(SYMBOLS.split())
MAX_LISTED = 12
"""As many pieces of chain as a message lists."""
RANGE = re.compile(r"([^:]*):(-?[0-9]+)([A-Za-z]?)(?:-(-?[0-9]+)([A-Za-z]?))?")
RANGE_EXAMPLES = "CHAIN:FIRST-LAST such as A:45-56, A:45A-56, :45-56 for a blank chain id, or A:45"


@dataclass(frozen=True)
class ResidueRange:
    """A range as written: ``first`` and ``last`` are (number, insertion code), both included."""

    chain: str
    first: Number
    last: Number

    def __str__(self) -> str:
        start, end = (f"{number}{icode}" for number, icode in (self.first, self.last))
        return f"{self.chain}:{start}" + (f"-{end}" if end != start else "")


def parse_range(text: str) -> ResidueRange:
    """Range from its written form.

    Raises
    ------
    ResidueRangeError
        If it cannot be read.
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


def backbone_atoms(structure: Structure, first: int, last: int, steering: Mask) -> list[int | None]:
    """N, CA, C and O of residues `first` to `last` in turn, None for one that is not there."""
    return [structure.atom(k, name, steering) for k in range(first, last + 1) for name in BACKBONE]


def _missing(structure: Structure, residue: int, names: tuple[str, ...] = BACKBONE) -> list[str]:
    return [name for name in names if structure.atom(residue, name, structure.steering_mask) is None]


def segment_labels(structure: Structure) -> list[str]:
    """Unbroken stretches of amino acids, e.g. ``['A:1-76', 'B:5-9']``."""
    spans: list[list[int]] = []
    for index, residue in enumerate(structure.residues):
        if not structure.is_amino_acid(index):
            continue
        last = spans[-1][1] if spans else None
        same = last is not None and structure.residues[last].chain == residue.chain
        if last is not None and same and structure.bonded(last, index):
            spans[-1][1] = index
        else:
            spans.append([index, index])
    ends = [(structure.residues[first], structure.residues[last]) for first, last in spans]
    return [str(ResidueRange(a.chain, (a.resnum, a.icode), (b.resnum, b.icode))) for a, b in ends]


def incomplete_backbones(structure: Structure) -> list[str]:
    """Residues of proteins that lack backbone atoms, with what they lack: ``['A:20 SER lacks CA, C']``."""
    found = []
    for index, residue in enumerate(structure.residues):
        absent = _missing(structure, index) if residue.resname in AMINO_NAMES else []
        if absent:
            found.append(f"{residue.label} {residue.resname} lacks {', '.join(absent)}")
    return found


def describe_contents(structure: Structure) -> str:
    """Chains and ranges of a structure, as the end of a message."""
    spans = segment_labels(structure)
    more = f" and {len(spans) - MAX_LISTED} more pieces" if len(spans) > MAX_LISTED else ""
    return f"residues it holds: {', '.join(spans[:MAX_LISTED])}{more}"


def _lookup(structure: Structure, chain: str, number: Number) -> int:
    """Index of the one amino acid of that name.

    A residue of a protein that lacks N, CA or C is found too, so that the caller can say what it lacks.
    """
    label = f"{chain}:{number[0]}{number[1]}"
    named = [i for i, r in enumerate(structure.residues) if (r.chain, r.resnum, r.icode) == (chain, *number)]
    found = [i for i in named if structure.is_amino_acid(i) or structure.residues[i].resname in AMINO_NAMES]
    if len(found) == 1:
        return found[0]
    if found:
        raise ResidueRangeError(
            f"{structure.source} has {len(found)} residues {label}",
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
    """Index of one amino acid, ``A:3``.

    Raises
    ------
    ResidueRangeError
        If it cannot be read, is absent, ambiguous, or no amino acid.
    BackboneError
        If it lacks N, CA or C.
    """
    wanted = parse_range(text)
    if wanted.first != wanted.last:
        raise ResidueRangeError(f"'{text}' is a range", "one residue such as A:45", "give a single residue")
    index = _lookup(structure, wanted.chain, wanted.first)
    require_backbone(structure, index, ("N", "CA", "C"))
    return index


def find_range(structure: Structure, text: str) -> tuple[int, int]:
    """First and last residue index (both included) of an unbroken stretch of chain.

    Raises
    ------
    ResidueRangeError
        If the range cannot be read, is not in the file, or runs backwards.
    BackboneError
        If a residue of it lacks N, CA, C or O.
    ChainBreakError
        If neighbours inside it are not bonded, or numbers between them are missing.
    """
    wanted = parse_range(text)
    first, last = (_lookup(structure, wanted.chain, number) for number in (wanted.first, wanted.last))
    if first > last:
        turned = ResidueRange(wanted.chain, wanted.last, wanted.first)
        raise ResidueRangeError(f"{wanted} runs backwards in {structure.source}", f"{turned}", "swap its ends")
    inside = range(first, last + 1)
    for index in inside:
        require_backbone(structure, index, BACKBONE)
    for index in inside[:-1]:
        _require_connection(structure, index)
    return first, last


def require_backbone(structure: Structure, index: int, names: tuple[str, ...]) -> None:
    """BackboneError if a residue lacks one of these atoms, or has them as other elements."""
    absent = _missing(structure, index, names)
    residue = structure.residues[index]
    label = f"{residue.label} {residue.resname} of {structure.source}"
    if not absent and not structure.is_amino_acid(index):
        raise BackboneError(
            f"{label} has N, CA or C of another element",
            "elements N, C and C",
            "mend the element columns of these atoms",
        )
    if absent:
        given = f"{label} lacks {', '.join(absent)}"
        raise BackboneError(
            given,
            f"{', '.join(names)} in every residue that is used",
            "add the atoms, or choose a range without this residue",
        )


def _require_connection(structure: Structure, index: int) -> None:
    """Bonded is what counts: numbering may skip where the chain does not (chymotrypsin's does)."""
    one, two = structure.residues[index], structure.residues[index + 1]
    if one.chain == two.chain and structure.bonded(index, index + 1):
        return
    distance = (structure.peptide_distance(index, index + 1) or 0.0) * 10.0
    given = f"{structure.source}: the chain breaks between {one.label} and {two.label} (C-N distance {distance:.2f} A)"
    remedy = "choose a range on one side of it"
    if one.chain == two.chain and two.resnum - one.resnum > 1:
        absent = ResidueRange(one.chain, (one.resnum + 1, ""), (two.resnum - 1, ""))
        remedy += f", or build the missing residues first: --build {shell_quoted(str(absent))}"
    raise ChainBreakError(given, "consecutive residues bonded at 1.0 to 2.0 A", remedy)


def guess_element(field: str, resname: str) -> str:
    """Element of an atom whose element column is blank, from its name in columns 13-16."""
    name = field.strip().upper()
    if resname == "UNX":
        return "X"  # wwPDB's unknown atom or ion
    if name in ELEMENTS and (name == resname or name == "SE"):
        return name
    if resname not in AMINO_NAMES and field[:1].isalpha() and len(name) < 4 and name[:2] in ELEMENTS:
        return name[:2]  # the format right-justifies the element in columns 13-14
    return next((letter for letter in name if letter.isalpha()), "")


def atoms_by_site(structure: Structure) -> dict[AtomSite, dict[str, int]]:
    """Index of the first atom of each conformer, by its letter, under each place."""
    places: dict[AtomSite, dict[str, int]] = {}
    columns = (column.tolist() for column in (structure.chain, structure.resnum, structure.icode, structure.name))
    for i, (place, letter) in enumerate(zip(zip(*columns, strict=True), structure.altloc.tolist(), strict=True)):
        places.setdefault(place, {}).setdefault(letter, i)
    return places


def links_between(
    structure: Structure, places: dict[AtomSite, dict[str, int]], sites: list[tuple[AtomSite, str]], source: str
) -> list[Link]:
    """Links between two sites, (place, altloc) each, for every two conformers that exist together.

    Of atoms that share a place and a conformer, the first is meant.
    """
    letters = structure.altloc
    first, second = (
        [i for i in places.get(place, {}).values() if not altloc or letters[i] in ("", altloc)]
        for place, altloc in sites
    )
    pairs = [(i, j) for i in first for j in second if not letters[i] or letters[j] in ("", letters[i])]
    return [Link(i, j, source) for i, j in pairs]


def unique_links(links: Iterable[Link]) -> tuple[Link, ...]:
    """Each bond once, by its first source, the lower atom first."""
    unique: dict[tuple[int, int], str] = {}
    for link in links:
        if link.i != link.j:
            unique.setdefault((min(link.i, link.j), max(link.i, link.j)), link.source)
    return tuple(Link(i, j, source) for (i, j), source in unique.items())
