"""Inputs that cannot be used: the right exception, one line, the file named, and what to do."""

from __future__ import annotations

import gzip
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold.errors import CoordinateError, GeofoldError, InputFileError, NoProteinError
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.resources import find

UBIQUITIN = find("structures", "1ubi.pdb").read_bytes()
PRION = find("structures", "1yjp.cif").read_bytes()


def records(*starts: bytes, data: bytes = UBIQUITIN) -> bytes:
    return b"".join(line for line in data.splitlines(True) if line.startswith(starts))


def with_coordinates(text: bytes, data: bytes = UBIQUITIN) -> bytes:
    atoms = (line[:30] + text + line[54:] for line in data.splitlines(True) if line.startswith(b"ATOM"))
    return b"".join(atoms)


def replaced(old: bytes, new: bytes, data: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


CASES = {
    "empty": (b"", InputFileError, "is empty"),
    "blank": (b" \n\n", InputFileError, "is empty"),
    "binary": (bytes(range(256)), InputFileError, "binary"),
    "damaged gzip": (gzip.compress(UBIQUITIN)[:500], InputFileError, "damaged gzip"),
    "gzip of nothing": (gzip.compress(b""), InputFileError, "is empty"),
    "html": (b"<!DOCTYPE html>\n<html><body>404: not found</body></html>\n", InputFileError, "not a structure"),
    "prose": (b"Atoms are small.\n", InputFileError, "not a structure"),
    "header only": (records(b"HEADER", b"REMARK"), NoProteinError, "no ATOM records"),
    "no atom_site": (b"data_1ABC\n_cell.length_a 10.0\n", NoProteinError, "no atom_site"),
    "water only": (records(b"HETATM"), NoProteinError, "no protein"),
    "CA only": (
        b"".join(line for line in UBIQUITIN.splitlines(True) if line[12:16] == b" CA "),
        NoProteinError,
        "only CA atoms",
    ),
    "zero": (with_coordinates(b"   0.000   0.000   0.000"), CoordinateError, "are zero"),
    "equal": (with_coordinates(b"   1.000   2.000   3.000"), CoordinateError, "are equal"),
    "nan": (with_coordinates(b"   1.000     nan   3.000"), CoordinateError, r"line 1: atom N of A:1 .*'nan'"),
    "stars": (with_coordinates(b"   1.000********   3.000"), CoordinateError, r"line 1: .*'\*{8}'"),
    "infinite": (with_coordinates(b"     inf   2.000   3.000"), CoordinateError, "'inf'"),
    "free format": (with_coordinates(b"1.000 2.000 3.000 1.00 2"), CoordinateError, r"'1\.000 2\.'.*columns 31-54"),
    "cut lines": (b"\n".join(line[:40] for line in UBIQUITIN.splitlines()), CoordinateError, "line "),
    "letters for numbers": (
        b"".join(line[:22] + b"  ?? " + line[27:] for line in records(b"ATOM").splitlines(True)),
        InputFileError,
        r"residue number ' *\?\?'",
    ),
    "mmcif nan": (replaced(b"-9.009 ", b"nan    ", PRION), CoordinateError, r"line 747: atom N of A:1 .*'nan'"),
    "mmcif unknown": (replaced(b"-9.009 ", b"?      ", PRION), CoordinateError, "has coordinate"),
    "mmcif cut": (PRION[: PRION.index(b"14.10 ?")], InputFileError, "damaged atom_site"),
    "mmcif without y": (PRION.replace(b".Cartn_y", b".Cartn_q"), InputFileError, "damaged atom_site"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_content_is_named(case, tmp_path):
    data, error, said = CASES[case]
    path = tmp_path / "given.pdb"
    path.write_bytes(data)
    with pytest.raises(error, match=said) as from_file:
        read(path)
    message = str(from_file.value)
    assert str(path) in message and "\n" not in message and message.count("; ") >= 2 and "expected " in message
    with pytest.raises(error, match="standard input"):
        read(data)
    with pytest.raises(error, match="upload"):
        read(data, name="upload")


def test_the_first_bad_atom_is_named():
    lines = UBIQUITIN.splitlines(True)
    k = next(k for k, line in enumerate(lines) if line.startswith(b"ATOM") and line[22:26] == b"   9")
    lines[k] = lines[k][:38] + b"********" + lines[k][46:]
    with pytest.raises(CoordinateError, match=rf"line {k + 1}: atom N of A:9 "):
        read(b"".join(lines))


def test_paths_that_cannot_be_read(tmp_path):
    absent = tmp_path / "none.pdb"
    for path, said in [(absent, "does not exist"), (tmp_path, "is a folder"), ("a\0b", "cannot be read")]:
        with pytest.raises(InputFileError, match=said):
            read(path)
    with pytest.raises(InputFileError, match="cannot be read"):
        read("x" * 5000)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "closed.pdb"
    path.write_bytes(UBIQUITIN)
    path.chmod(0)
    with pytest.raises(InputFileError, match="cannot be read"):
        read(path)


def test_odd_but_lawful_files_are_read():
    plain = read(UBIQUITIN)
    atoms = records(b"ATOM")
    variants = {
        "no occupancy": b"".join(line[:54] + b"\n" for line in atoms.splitlines()),
        "lower case": b"".join(line[:12] + line[12:20].lower() + line[20:76] + b"\n" for line in atoms.splitlines()),
        "no serials": b"".join(line[:6] + b"*****" + line[11:] for line in atoms.splitlines(True)),
        "END after a part": atoms.replace(b"ATOM    300", b"END\nATOM    300"),
        "frames parted by END": atoms + b"END\n" + atoms + b"END\n",
    }
    for case, data in variants.items():
        structure = read(data)
        protein = ~plain.hetatm
        assert np.array_equal(structure.xyz, plain.xyz[protein]), case
        assert structure.name.tolist() == plain.name[protein].tolist(), case
        assert structure.element.tolist() == plain.element[protein].tolist(), case
        assert render(structure, structure.xyz, np.ones(len(structure), dtype=bool)) == data, case
    assert read(variants["frames parted by END"]).n_models == 2 and read(variants["END after a part"]).n_models == 1


def test_overflowing_serials_resolve_or_stay_silent():
    atoms = records(b"ATOM").splitlines(True)
    renamed = [line[:6] + b"A00%02d" % k + line[11:] if k < 100 else line for k, line in enumerate(atoms)]
    structure = read(b"".join(renamed) + b"CONECTA0003A0020\n")
    assert [(link.i, link.j, link.source) for link in structure.links] == [(3, 20, "CONECT")]
    assert structure.serial[0] == 100000
    stars = [line[:6] + b"*****" + line[11:] for line in atoms]
    assert read(b"".join(stars) + b"CONECT**********\n").links == ()


@pytest.mark.parametrize("field", [b"\x1c0  ", b"  \xb2 ", b"\x1f12 "])
def test_residue_numbers_that_only_look_like_some(field):
    first, *others = records(b"ATOM").splitlines(True)
    try:
        structure = read(b"".join([first[:22] + field + first[26:], *others]))
    except InputFileError as error:
        assert "residue number" in str(error)
    else:
        assert structure.residues[0].resnum == int(field.strip(b"\x1c\x1f "))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_damage_is_either_read_or_explained(data):
    """Bytes cut, swapped or overwritten: a structure that writes itself again, or a one-line error of ours."""
    source = data.draw(st.sampled_from([records(b"ATOM", b"LINK")[:4000], PRION[-6000:], b"data_x\n" + PRION[-7000:]]))
    broken = bytearray(source)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(broken)))
        end = min(start + data.draw(st.integers(0, 30)), len(broken))
        broken[start:end] = data.draw(st.binary(max_size=8))
    try:
        structure = read(bytes(broken))
    except GeofoldError as error:
        assert "\n" not in str(error) and "standard input" in str(error)
    else:
        assert render(structure, structure.xyz, np.ones(len(structure), dtype=bool)) == bytes(broken)
