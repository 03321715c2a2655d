"""Given sequences: what is built from them, and that every disagreement is listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from build_cases import without, without_records
from hypothesis import given
from hypothesis import strategies as st

import geofold as gf
from geofold.cli import main
from geofold.errors import GeofoldError, InputFileError, SequenceError
from geofold.molecule.io.read import read
from geofold.molecule.residues import AMINO_ACID_LETTERS, one_letter_code
from geofold.molecule.structure import Structure
from geofold.molecule.topology.gaps import find_gaps
from geofold.molecule.topology.given_sequences import (
    aligned_places,
    place_at_breaks,
    read_sequences,
    with_given_sequences,
)

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
FASTA = f">sp|P0CG48|UBC_HUMAN\n{UBIQUITIN[:60]}\n{UBIQUITIN[60:]}\n"
UNIPROT = f"""ID   UBC_HUMAN               Reviewed;         685 AA.
AC   P0CG48;
SQ   SEQUENCE   76 AA;  8565 MW;  0 CRC64;
     {UBIQUITIN[:10]} {UBIQUITIN[10:20]} {UBIQUITIN[20:60]}
     {UBIQUITIN[60:]}
//
"""
GAP = without_records(without("1ubi.pdb", (58, 61)), "SEQRES")
sequences = st.text(AMINO_ACID_LETTERS, min_size=1, max_size=40)


def gap_sequences(structure: Structure) -> list[str]:
    return ["".join(map(one_letter_code, gap.names or ())) for gap in find_gaps(structure)]


@pytest.mark.parametrize("text", [FASTA, UNIPROT, FASTA.lower().replace(">sp", ";a comment\n>sp")])
def test_a_gap_without_a_record_gets_its_sequence(text: str) -> None:
    assert gap_sequences(read(GAP)) == [""]
    structure = with_given_sequences(read(GAP), text)
    assert gap_sequences(structure) == ["DYNI"]
    (note,) = structure.notes
    assert note.startswith("chain 'A': sequence") and note.endswith("100% identical")


def test_the_given_sequence_takes_the_place_of_a_wrong_record() -> None:
    wrong = without("1ubi.pdb", (58, 61)).replace(b"ASP TYR ASN ILE", b"ALA ALA ALA ALA")
    assert gap_sequences(read(wrong)) == ["AAAA"]
    assert gap_sequences(with_given_sequences(read(wrong), FASTA)) == ["DYNI"]


def test_disagreements_are_listed_residue_by_residue_and_the_gap_is_still_found() -> None:
    mutated = UBIQUITIN[:9] + "W" + UBIQUITIN[10:47] + UBIQUITIN[48:]  # G10W, and K48 is left out
    longer = mutated[:22] + "GSG" + mutated[22:]
    structure = with_given_sequences(read(GAP), f">x\nMKK{longer}HHHHHH\n")
    assert gap_sequences(structure) == ["DYNI"]
    (note,) = structure.notes
    assert "A:10 is GLY, W in the sequence" in note and "A:48 LYS is not in the sequence" in note
    assert "the sequence has GSG between A:22 and A:23, which are bonded" in note
    assert note.count(";") == 2


def test_each_chain_gets_the_sequence_that_fits_it_best() -> None:
    other = "".join(reversed(UBIQUITIN))
    structure = with_given_sequences(read(GAP), f">no\n{other}\n{FASTA}>near\n{'A' * 6}{UBIQUITIN[6:]}\n")
    assert list(structure.given) == ["A"] and "P0CG48" in structure.notes[0]
    with pytest.raises(SequenceError, match=r"fits no chain of .* identical, chain 'A'"):
        with_given_sequences(read(GAP), f">no\n{other}\n")


@given(sequences, sequences, sequences)
def test_a_run_that_is_missing_is_put_where_the_chain_is_broken(left: str, missing: str, right: str) -> None:
    query, target, count = left + right, left + missing + right, len(left)
    places = aligned_places(query, target)
    broken = [k == count - 1 for k in range(len(query) - 1)]
    moved = place_at_breaks(places, target, broken)
    agreed = [place for place in moved if place is not None]
    assert agreed == sorted(set(agreed)) and len(moved) == len(query)
    same = sum(at is not None and target[at] == letter for at, letter in zip(moved, query, strict=True))
    assert same == sum(at is not None and target[at] == letter for at, letter in zip(places, query, strict=True))


def test_letters_that_repeat_do_not_move_the_gap() -> None:
    """Biopython may put a run of missing residues anywhere along letters that repeat."""
    target = "MKLAAGAAGAAGWERT"
    for count in range(4, 12):
        query = target[:count] + target[count + 3 :]
        broken = [k == count - 1 for k in range(len(query) - 1)]
        moved = place_at_breaks(aligned_places(query, target), target, broken)
        assert moved == [*range(count), *range(count + 3, len(target))]


def test_edits_keep_the_given_sequences() -> None:
    from geofold.molecule.io.edit import without_atoms

    structure = with_given_sequences(read(GAP), FASTA)
    again = without_atoms(structure, structure.name == "OXT")
    assert again.given == structure.given
    assert gap_sequences(replace(again, document=None)) == ["DYNI"]


@pytest.mark.parametrize(
    "text, message",
    [("", "no sequence"), ("hello", "hello"), (">x\nMK?L\n", "line 2: 'MK\\?L'"), (">x\n>y\n", "no sequence")],
)
def test_text_without_a_sequence_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        read_sequences(text, "given.fasta")


def test_check_and_repair_take_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, fasta = tmp_path / "gap.pdb", tmp_path / "ub.fasta"
    source.write_bytes(GAP)
    fasta.write_text(FASTA)
    (gap,) = gf.check(source, energy=False, fasta=fasta)["chain_breaks"]
    assert (gap["sequence"], gap["sequence_from"], gap["build"]) == ("DYNI", "FASTA", "A:58-61")
    assert main(["check", str(source), "--no-energy", "--fasta", str(fasta)]) == 0
    shown = capsys.readouterr().out
    assert "DYNI (FASTA)" in shown and "note: chain 'A': sequence" in shown
    assert f"--build A:58-61 --fasta {fasta}" in shown
    assert main(["check", str(source), "--no-energy", "--fasta", str(tmp_path / "no.fasta")]) == 2
    with pytest.raises(GeofoldError):
        gf.repair(source, build="A:58-61=AAAA", fasta=FASTA)


@pytest.mark.slow
def test_a_gap_is_built_from_the_file_of_sequences() -> None:
    result = gf.repair(GAP, build="all", fasta=FASTA, streams=2, rounds=1, energy=False)
    (built,) = result.report["built"]
    assert (built["sequence"], built["sequence_from"]) == ("DYNI", "FASTA")
    assert any("100% identical" in note for note in result.report["notes"])
