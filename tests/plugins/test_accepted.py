"""What `repair`, `constrain` and `check` take as a source, and that the rest is refused in one short line."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mdtraj
import numpy as np
import pytest
from app_cases import BENT
from Bio.PDB import PDBParser

import geofold as gf
from geofold.app.sources import load
from geofold.errors import GeofoldError, OptionError
from geofold.molecule.io.write import render

TEXT = BENT.read_text()
LINES = TEXT.splitlines(True)


def entity(level: str) -> Any:
    structure = PDBParser(QUIET=True).get_structure("x", str(BENT))
    return {"structure": structure, "model": structure[0], "chain": structure[0]["A"]}[level]


@pytest.mark.parametrize("level", ["structure", "model", "chain"])
def test_biopython_entities_and_back(level: str) -> None:
    source = entity(level)
    structure = load(source)
    assert len(structure) == len(load(BENT)) and set(structure.chain.tolist()) == {"A"}
    result = gf.constrain(gf_peptide(level), ["A:1-A:8<9.0"], energy=False)
    back = result.like(gf_peptide(level))
    assert type(back) is type(gf_peptide(level))
    moved = np.array([atom.coord for atom in back.get_atoms()], dtype=np.float64) / 10
    assert np.abs(moved - result.xyz).max() < 1e-4


def gf_peptide(level: str) -> Any:
    from geofold.molecule.io.ideal_peptide import peptide

    built = peptide("AEGKTWYN")
    text = render(built, built.xyz, np.zeros(len(built), dtype=bool)).decode()
    structure = PDBParser(QUIET=True).get_structure("x", io.StringIO(text))
    return {"structure": structure, "model": structure[0], "chain": structure[0]["A"]}[level]


def test_what_a_file_holds_in_any_form(tmp_path: Path) -> None:
    wanted = load(BENT)
    with open(BENT) as text, open(BENT, "rb") as content:
        raw = TEXT.encode()
        for source in (TEXT, raw, bytearray(raw), io.StringIO(TEXT), io.BytesIO(raw), text, content, str(BENT), BENT):
            assert np.array_equal(load(source).xyz, wanted.xyz)
    with open(BENT) as named:
        assert load(named).source == str(BENT) and load(io.StringIO(TEXT), "mine").source == "mine"
    odd = tmp_path / "two\nlines.pdb"
    odd.write_text(TEXT)
    assert load(str(odd)).source == str(odd), "a file of that name is a file"


def closed() -> io.StringIO:
    file = io.StringIO(TEXT)
    file.close()
    return file


@pytest.mark.parametrize(
    "source",
    [
        {"pdb": TEXT}, list(LINES), 7, None, object(), (1, 2, 3), (None, None), "A" * 47_507, TEXT.replace("\n", " "),
        "not a structure\n" * 5000, entity("chain").child_list[0], mdtraj.load(str(BENT)).topology, closed(),
        SimpleNamespace(read=lambda: 5), io.StringIO(), np.zeros((5, 3)), type("Name" * 5000, (), {})(),
    ],
    ids=["dict", "lines", "number", "None", "object", "triple", "Nones", "long name", "text on one line", "prose",
         "Residue", "Topology", "closed file", "reads a number", "empty file", "array", "long class name"],
)  # fmt: skip
def test_the_rest_is_refused_in_one_short_line(source: Any) -> None:
    with pytest.raises(GeofoldError) as caught:
        load(source)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1500


@pytest.mark.parametrize("source", [TEXT, str(BENT), BENT, TEXT.encode(), io.StringIO(TEXT)])
def test_like_wants_an_object_of_another_program(source: Any) -> None:
    result = gf.repair(TEXT, "A:30-32", energy=False)
    with pytest.raises(OptionError, match="another program"):
        result.like(source)
