"""The output has the format of the input, and a name with the suffix of another format is refused before the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from app_cases import STRUCTURES

from geofold.cli import main
from geofold.errors import InputFileError, OptionError
from geofold.molecule.io.read import FORMATS, recognise, require_suffix

BENT = str(STRUCTURES / "1ubi_bent.pdb")
BPTI = str(STRUCTURES / "5pti.cif")


@pytest.mark.parametrize(
    ("arguments", "name", "written"),
    [
        (["repair", BENT, "--loop", "A:45-56"], "out.cif", "PDB"),
        (["repair", BENT, "--loop", "A:45-56"], "out.mmcif.gz", "PDB"),
        (["repair", BENT, "--loop", "A:45-56"], "out.bcif", "PDB"),
        (["repair", BPTI, "--loop", "A:36-42"], "out.pdb", "mmCIF"),
        (["repair", BPTI, "--loop", "A:36-42"], "out.bcif.gz", "mmCIF"),
        (["constrain", "--sequence", "AEGK", "--contact", "A:1-A:4<7"], "out.cif", "PDB"),
    ],
)
def test_a_suffix_of_another_format_is_refused(
    arguments: list[str], name: str, written: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "-o", str(tmp_path / name)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and f"which would hold {written} text; expected a name ending in" in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.pdb", "out.PDB.gz", "out.ent", "out", "-", "out.txt"])
def test_other_names_are_accepted(name: str) -> None:
    require_suffix(name, "PDB")


def test_a_result_is_not_saved_under_another_format(tmp_path: Path) -> None:
    import geofold as gf

    result = gf.constrain(None, ["A:1-A:4<7"], sequence="AEGK", energy=False, steps=2)
    with pytest.raises(OptionError, match=r"a name ending in \.pdb"):
        result.save(tmp_path / "x.cif")
    result.save(tmp_path / "x.pdb")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pdb"]


def test_every_format_is_recognised_by_its_bytes_alone() -> None:
    contents = {"PDB": Path(BENT).read_bytes(), "mmCIF": Path(BPTI).read_bytes()}
    contents["BinaryCIF"] = b"\x83\xa7encoder\xa1x\xa7version\xa50.3.0\xaadataBlocks\x90"
    assert {entry.name for entry in FORMATS} == set(contents)
    for name, content in contents.items():
        assert recognise(content, name).name == name
    with pytest.raises(InputFileError, match="is not a structure"):
        recognise(b"some text\n", "a file")
    with pytest.raises(InputFileError, match="is binary"):
        recognise(b"\x83\0\1", "a file")
