"""Where text becomes numbers: digits of other scripts, underscores, exponents, and numbers beyond the limits."""

from __future__ import annotations

import warnings

import mdtraj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geofold.app.sources import load
from geofold.errors import ContactError, CoordinateError, GeofoldError, InputFileError, ResidueRangeError
from geofold.molecule.io.hybrid36 import decode36
from geofold.molecule.io.read import read
from geofold.molecule.io.sequence_records import recorded_sequences
from geofold.molecule.numbers import LARGEST_INTEGER, LARGEST_REAL, parse_cif_real, parse_decimal, parse_int
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.selection import find_range, find_residue, parse_range
from geofold.molecule.topology.gaps import find_gaps
from geofold.resources import find

UBIQUITIN = find("structures", "1ubi.pdb").read_text()
PRION = find("structures", "1yjp.cif").read_text()
FASCICULIN = find("structures", "1fas.cif").read_text()
ENDLESS = "9" * 6000


@given(st.integers(-LARGEST_INTEGER, LARGEST_INTEGER))
def test_integers_are_read(number):
    assert parse_int(str(number)) == parse_int(f"  {number:+d} ") == number


@given(st.integers(-(10**8), 10**8))
def test_decimals_are_read(thousandths):
    text = f"{thousandths / 1000:.3f}"
    assert parse_decimal(f" {text}") == parse_cif_real(text) == parse_cif_real(f"{text}(12)") == thousandths / 1000


@pytest.mark.parametrize(
    "text", ["", "-", "--5", "1_2", "1 2", "\u0661", "\uff11\uff12", "\u00b2", "1.0", "1e3", "0x1", str(2**31),
             str(-(2**63)), ENDLESS, "\x1c5"],
)  # fmt: skip
def test_what_is_no_integer(text):
    assert parse_int(text) is None and decode36(text, 5) is None


@pytest.mark.parametrize(
    "text", ["", ".", "-", "nan", "inf", "-inf", "1_2.34", "1,5", "\u0661.5", "1e308", "1e400", "0x1p3", "100000.1",
             "1.5.2", ENDLESS],
)  # fmt: skip
def test_texts_that_are_not_real_numbers(text):
    assert parse_decimal(text) is None and parse_cif_real(text) is None


def test_exponents_and_uncertainties_are_numbers_of_cif_alone():
    assert (parse_cif_real("1.5e-1"), parse_cif_real("-2E2(3)"), parse_cif_real("+.5")) == (0.15, -200.0, 0.5)
    assert parse_decimal("1e2") is None and parse_decimal("1.5(3)") is None and parse_decimal("5.") == 5.0
    assert parse_cif_real("1.5(3") is None and parse_decimal("-00100000.000") == -LARGEST_REAL


def with_x(text: str) -> str:
    """Ubiquitin with another x for its first atom."""
    lines = UBIQUITIN.splitlines(True)
    k = next(k for k, line in enumerate(lines) if line.startswith("ATOM"))
    lines[k] = f"{lines[k][:30]}{text:>8s}{lines[k][38:]}"
    return "".join(lines)


@pytest.mark.parametrize("text", ["1_2.34", "1e5", "1e308", "\u0661\u0662.\u0663", "9999999.", "-100001.", "0x10"])
def test_coordinates_of_pdb_files_are_plain_and_within_the_limit(text):
    with warnings.catch_warnings(), pytest.raises(CoordinateError, match=r"line \d+: atom N of A:1 .*100,000 A"):
        warnings.simplefilter("error")
        read(with_x(text).encode())
    far = read(with_x("12345.67").encode())
    assert far.xyz[0, 0] == pytest.approx(1234.567)
    assert far.notes[0].startswith("1 atoms lie beyond -999.999 to 9999.999 A")


@pytest.mark.parametrize("text", ["1e308", "-1e200", "1_2.34", "1e9", "\u0661.5", "1.5(x", ENDLESS])
def test_coordinates_of_mmcif_files_are_within_the_same_limit(text):
    with warnings.catch_warnings(), pytest.raises(CoordinateError, match=r"line 747: atom N .*100,000 A") as caught:
        warnings.simplefilter("error")
        read(PRION.replace("-9.009 ", f"{text} ", 1).encode())
    assert len(str(caught.value)) < 400
    assert read(PRION.replace("-9.009 ", "-9.009e0(7) ", 1).encode()).xyz[0, 0] == pytest.approx(-0.9009)


def test_a_protein_far_away_is_refused():
    far = mdtraj.load(str(find("structures", "1ubi.pdb")))
    far.xyz += 1e8
    with pytest.raises(CoordinateError, match="beyond 100,000 A"):
        load(far)


@pytest.mark.parametrize("number", [str(2**31), str(2**63), "-" + ENDLESS, "1_0", "\u0661"])
def test_residue_numbers_beyond_the_limit_are_refused(number):
    row = next(line for line in PRION.splitlines() if line.startswith("ATOM"))
    words = row.split()
    words[16] = number
    with pytest.raises(InputFileError, match=r"line 747: .*integer auth_seq_id up to 2147483647") as caught:
        read(PRION.replace(row, " ".join(words)).encode())
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("number", [str(2**63), ENDLESS, "\u0661", "x"])
def test_atom_ids_beyond_the_limit_are_not_ids(number):
    row = next(line for line in PRION.splitlines() if line.startswith("ATOM"))
    words = row.split()
    words[1] = number
    structure = read(PRION.replace(row, " ".join(words)).encode())
    assert structure.serial[0] == 0 and structure.serial[1] == 2


@pytest.mark.parametrize("number", [str(2**31), str(2**63), ENDLESS])
def test_ranges_and_contacts_with_such_numbers_are_refused(number):
    structure = read(UBIQUITIN.encode())
    for text in (f"A:{number}", f"A:1-{number}", f"A:-{number}-3"):
        with pytest.raises(ResidueRangeError, match="a number up to 2147483647") as caught:
            parse_range(text)
        assert len(str(caught.value)) < 300
    for text in (f"A:3-A:{number}<6.0", f"A:{number}@CA-A:3<6.0"):
        with pytest.raises(ResidueRangeError, match="a number up to 2147483647"):
            parse_contact(structure, text)
    with pytest.raises(ContactError, match="from 1 to 1000") as caught:
        parse_contact(structure, f"A:3-A:40<{number}")
    assert len(str(caught.value)) < 300
    with pytest.raises(ResidueRangeError, match="no residue A:2147483647"):
        find_range(structure, "A:1-2147483647")


@pytest.mark.parametrize("text", ["A:\u0661", "A:1_0", "A:1-\uff12"])
def test_ranges_take_ascii_digits_alone(text):
    structure = read(UBIQUITIN.encode())
    with pytest.raises(GeofoldError, match="expected"):
        find_residue(structure, text)
    with pytest.raises(GeofoldError, match="expected"):
        parse_contact(structure, f"{text}-A:40<6.0")


@pytest.mark.parametrize("number", ["--5", "-", "\u0661", ENDLESS, "5-"])
def test_odd_numbers_in_the_sequence_record_are_unknown(number):
    lines = FASCICULIN.splitlines(True)
    start = next(k for k, line in enumerate(lines) if line.startswith("_pdbx_poly_seq_scheme."))
    row = next(k for k in range(start, len(lines)) if lines[k].startswith("A "))
    words = lines[row].split()
    items = [line.split(".")[1].strip() for line in lines[start:row] if line.startswith("_pdbx_poly_seq_scheme.")]
    words[items.index("pdb_seq_num")] = number
    lines[row] = " ".join(words) + "\n"
    structure = read("".join(lines).encode())
    record = recorded_sequences(structure)["A"]
    assert record.numbers[0] is None and None not in record.numbers[1:]
    assert find_gaps(structure) == []
