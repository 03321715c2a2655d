"""What cannot be built is refused in one line, and `check` says beforehand what can."""

from __future__ import annotations

import pytest
from app_cases import STRUCTURES, with_stray_carbons
from build_cases import renumbered, without, without_records

import geofold as gf
from geofold.errors import (
    BackboneError,
    BuildError,
    ForceFieldError,
    OverlappingLoopsError,
    ResidueRangeError,
    SequenceError,
)

WHOLE = (STRUCTURES / "1ubi.pdb").read_bytes()
GAP = without(WHOLE, (58, 61))


def refused(content: bytes, text: str | list[str], error: type[Exception], *words: str) -> None:
    with pytest.raises(error) as caught:
        gf.repair(content, build=text, energy=False)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_ranges_that_name_no_gap() -> None:
    refused(GAP, "58-61", ResidueRangeError, "CHAIN:FIRST-LAST")
    refused(GAP, "A:61-58", ResidueRangeError, "runs backwards")
    refused(GAP, "B:58-61", ResidueRangeError, "no chain 'B'")
    refused(GAP, "A:59-60", BuildError, "not all that is missing", "expected A:58-61")
    refused(WHOLE, "A:45-50", BuildError, "all residues of A:45-50 are in", "--loop A:45-50")
    refused(WHOLE, "A:1-4", BuildError, "no residue on one side of A:1-4", "next to a chain end")
    refused(WHOLE, "A:77-80=GGGG", BuildError, "A:76", "has OXT: its chain ends there")
    refused(renumbered(WHOLE, 44, 20), "A:50-55=GGGGGG", BuildError, "A:44 and A:65", "only numbers are skipped")
    refused(without(WHOLE, (8, 8)), "A:8-8", BuildError, "3 to 40 residues", "include neighbouring residues")
    refused(without(WHOLE, (8, 8), (11, 11)), ["A:10-12", "A:7-9"], OverlappingLoopsError, "A:7-9 and A:10-12")


def test_several_models_are_refused() -> None:
    refused(without("1a1p.pdb", (5, 8)), "A:5-8", BuildError, "21 models", "a single model")


def test_sequences_that_do_not_fit() -> None:
    bare = without_records(GAP, "SEQRES")
    refused(GAP, "A:58-61=DYN", SequenceError, "4 numbers", "DYN 3 letters")
    refused(GAP, "A:58-61=DYXI", SequenceError, "'X' at position 3")
    refused(GAP, "A:58-61=", SequenceError, "without a sequence")
    refused(GAP, "A:58-61=DYNA", SequenceError, "disagrees with SEQRES", "expected DYNI")
    refused(bare, "A:58-61", BuildError, "does not contain the sequence", "SEQRES", "A:58-61=GGG...")
    odd = GAP.replace(b"ASP TYR ASN ILE", b"ASP TPO ASN ILE")
    refused(odd, "A:58-61", SequenceError, "A:59 TPO", "twenty amino acids")
    # four residues are missing, and the numbers leave room for three
    refused(renumbered(GAP, 57, -1), "A:58-60", BuildError, "3 numbers", "SEQRES 4 residues", "insertion codes")


def test_anchors_that_cannot_be_joined() -> None:
    lines = GAP.splitlines(keepends=True)
    bare = b"".join(x for x in lines if not (x.startswith(b"ATOM") and x[22:26] == b"  57" and x[12:16] == b" O  "))
    refused(bare, "A:58-61", BackboneError, "A:57", "lacks O")
    last = max(k for k, line in enumerate(lines) if line.startswith(b"ATOM") and line[22:26] == b"  57")
    capped = [*lines[: last + 1], lines[last].replace(lines[last][12:16], b" OXT"), *lines[last + 1 :]]
    refused(b"".join(capped), "A:58-61", BuildError, "A:57", "OXT")


def test_a_gap_that_is_too_wide_says_how_wide() -> None:
    content = without_records(without(WHOLE, (45, 56)), "SEQRES")
    refused(renumbered(content, 56, -9), "A:45-47=GSG", BuildError, "12.9 A", "3 residues", "at most 12.")
    # near enough, but two prolines point elsewhere
    content = without_records(without(WHOLE, (45, 50)), "SEQRES")
    refused(content, "A:45-50=PGPWCS", BuildError, "8.9 A", "none of 512 samples closes it")


def test_check_lists_what_is_missing_and_what_builds_it() -> None:
    (gap,) = gf.check(STRUCTURES / "1bhl.pdb", energy=False)["chain_breaks"]
    assert gap == {
        "after": "A:137", "before": "A:154", "distance_angstrom": 19.35, "missing": 16, "numbers_left": 16,
        "sequence": "EFGIPYNPQSQGVIES", "sequence_from": "SEQRES", "build": "A:138-153", "not_built_because": None,
    }  # fmt: skip
    (gap,) = gf.check(without_records(GAP, "SEQRES"), energy=False)["chain_breaks"]
    assert (gap["missing"], gap["sequence"], gap["build"]) == (4, None, "A:58-61=SEQUENCE")
    (gap,) = gf.check(without(WHOLE, (10, 60)), energy=False)["chain_breaks"]
    assert gap["build"] is None and "51 residues are too many" in gap["not_built_because"]
    (gap,) = gf.check(without(WHOLE, (2, 2)), energy=False)["chain_breaks"]
    assert gap["build"] is None and "chain's end" in gap["not_built_because"]


def test_residues_without_parameters_are_refused_before_the_search(monkeypatch):
    """A stray carbon on an alanine far from the gap; in the range itself, it is built anew and so no matter."""
    from geofold.modelling.build import missing_loops

    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    monkeypatch.setattr(missing_loops, "initial_models", begin)
    lines = without(WHOLE, (46, 49)).decode().splitlines(keepends=True)
    with pytest.raises(ForceFieldError, match="--no-energy"):
        gf.repair("".join(with_stray_carbons(lines, " CB  ALA A  28")).encode(), build="A:46-49=AGKQ")
    with pytest.raises(Begun):
        gf.repair("".join(with_stray_carbons(lines, " CB  TYR A  59")).encode(), build="A:46-59=AGKQLEDGRTLSDY")
