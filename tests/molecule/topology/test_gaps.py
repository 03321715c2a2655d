"""Gaps of chains: numbers, sequences by SEQRES and by mmCIF's records, and what cannot be told."""

from __future__ import annotations

from app_cases import STRUCTURES
from build_cases import without, without_records

from geofold.molecule.io.read import read
from geofold.molecule.numbering import numbers_between, numbers_of
from geofold.molecule.selection import parse_range
from geofold.molecule.topology.gaps import find_gaps


def names_of(content: bytes) -> list[tuple[str, ...] | None]:
    return [gap.names for gap in find_gaps(read(content))]


def test_numbers_follow_each_other_with_insertion_codes() -> None:
    def of(text: str) -> list[tuple[int, str]]:
        return list(numbers_of(parse_range(text)))

    def between(*ends: tuple[int, str]) -> list[tuple[int, str]]:
        return list(numbers_between(*ends))

    assert of("A:99-100B") == [(99, ""), (100, ""), (100, "A"), (100, "B")]
    assert of("A:100A-100C") == [(100, "A"), (100, "B"), (100, "C")]
    assert of("A:-1-1") == [(-1, ""), (0, ""), (1, "")]
    assert of("A:5-3") == []
    assert between((137, ""), (139, "")) == [(138, "")]
    assert between((100, ""), (100, "C")) == [(100, "A"), (100, "B")]
    assert between((99, ""), (100, "B")) == [(100, ""), (100, "A")]
    assert between((100, ""), (101, "")) == [] == between((7, ""), (3, ""))


def test_a_real_gap_has_the_numbers_and_the_sequence_of_remark_465() -> None:
    path = STRUCTURES / "1bhl.pdb"
    told = [line.split() for line in path.read_text().splitlines() if line.startswith("REMARK 465     ")]
    missing = [words for words in told if len(words) == 5]
    (gap,) = find_gaps(read(path))
    assert [(int(words[4]), "") for words in missing] == list(gap.numbers)
    assert tuple(words[2] for words in missing) == gap.names
    assert gap.source == "SEQRES"


def test_two_gaps_in_one_chain_are_distinguished() -> None:
    whole = read(STRUCTURES / "1ubi.pdb")
    content = without("1ubi.pdb", (7, 10))
    both = b"".join(
        line for line in content.splitlines(keepends=True)
        if not (line.startswith(b"ATOM") and 45 <= int(line[22:26]) <= 56)
    )  # fmt: skip
    found = [[residue.resname for residue in whole.residues[a:b]] for a, b in ((6, 10), (44, 56))]
    assert names_of(both) == [tuple(own) for own in found]


def test_a_piece_of_one_residue_is_placed_by_the_numbers() -> None:
    content = without("1ubi.pdb", (45, 49))  # leaves 50 alone between two gaps; leucine stands in many places
    content = b"".join(
        line for line in content.splitlines(keepends=True)
        if not (line.startswith(b"ATOM") and 51 <= int(line[22:26]) <= 56)
    )  # fmt: skip
    names = [residue.resname for residue in read(STRUCTURES / "1ubi.pdb").residues]
    assert names_of(content) == [tuple(names[44:49]), tuple(names[50:56])]


def test_mmcif_records_it_by_scheme_or_by_entity() -> None:
    content = without("1fas.cif", (6, 9))
    (gap,) = find_gaps(read(content))
    assert gap.names == ("HIS", "THR", "THR", "THR") and gap.source == "pdbx_poly_seq_scheme"
    assert gap.numbers == ((6, ""), (7, ""), (8, ""), (9, ""))
    (gap,) = find_gaps(read(content.replace(b"_pdbx_poly_seq_scheme.", b"_another_scheme.")))
    assert gap.names == ("HIS", "THR", "THR", "THR") and gap.source == "entity_poly_seq"


def test_without_a_fitting_record_only_numbers_are_reported() -> None:
    content = without("1ubi.pdb", (45, 48))
    (gap,) = find_gaps(read(without_records(content, "SEQRES")))
    assert gap.names is None and len(gap.numbers) == 4
    (gap,) = find_gaps(read(content.replace(b"SEQRES   1 A   76  MET", b"SEQRES   1 A   76  GLY")))
    assert gap.names is None
    (gap,) = find_gaps(read(without("1ubi.pdb", (45, 48))))
    assert gap.names == ("PHE", "ALA", "GLY", "LYS")


def test_residues_can_be_thought_away() -> None:
    (gap,) = find_gaps(read(STRUCTURES / "1ubi.pdb"), "A", frozenset(range(44, 48)))
    assert (gap.before, gap.after, gap.names) == (43, 48, ("PHE", "ALA", "GLY", "LYS"))
