"""Records of modelled residues: read as they were written, merged, and nothing else in the file changes."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from app_cases import STRUCTURES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geofold.molecule.io.edit import with_atoms, with_expected_errors
from geofold.molecule.io.modelled_records import (
    CATEGORY,
    is_modelled_remark,
    modelled_category,
    modelled_remarks,
    read_modelled_category,
    read_modelled_remarks,
)
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.modelled_residue import ModelledResidue
from geofold.molecule.structure import AddedAtom, Structure

FILES = ["1ubi.pdb", "1pwc.pdb", "1yjp.cif"]
keys = st.tuples(st.sampled_from("AB4"), st.integers(-999, 9999), st.sampled_from(["", "A", "B"]))
entries = st.builds(
    ModelledResidue,
    st.sampled_from(["ALA", "GLY", "MSE"]),
    st.none() | st.floats(0.0, 99.0).map(lambda value: round(value, 2)),
)


def text_of(structure: Structure) -> bytes:
    return render(structure, structure.xyz, np.zeros(len(structure), dtype=bool))


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first draw loads a table of characters
@given(st.dictionaries(keys, entries, max_size=8))
def test_entries_are_read_as_they_were_written(written: dict[tuple[str, int, str], ModelledResidue]) -> None:
    assert read_modelled_remarks(modelled_remarks(written)) == written
    assert read_modelled_category("data_x\n" + modelled_category(written)) == written
    assert all(len(line) == 80 and is_modelled_remark(line) for line in modelled_remarks(written))


@pytest.mark.parametrize("name", FILES)
def test_expected_errors_are_b_factors_and_everything_else_stays(name: str) -> None:
    content = (STRUCTURES / name).read_bytes()
    structure = read(content)
    changed = with_expected_errors(structure, {1: 0.31, 2: 12.5, 3: None})
    written = text_of(changed)
    again = read(written)
    assert again.document is not None
    for k, error in ((1, 0.31), (2, 12.5)):
        assert set(again.bfactor[again.residues[k].atoms].tolist()) == {error}
    others = ~np.isin(structure.residue_of, [1, 2])
    assert np.array_equal(again.bfactor[others], structure.bfactor[others])
    assert np.array_equal(again.xyz, structure.xyz) and np.array_equal(again.bfactor, changed.bfactor)
    labels = [structure.residues[k] for k in (1, 2, 3)]
    assert list(again.document.modelled_residues().values()) == [
        ModelledResidue(residue.resname, error) for residue, error in zip(labels, (0.31, 12.5, None), strict=True)
    ]
    # without the records and the column of B-factors the lines are those of before
    old, new = content.decode().splitlines(), written.decode().splitlines()
    added = [line for line in new if line not in set(old)]
    assert len(new) - len(old) == (5 if name.endswith("pdb") else 3 + 8)
    assert sum(line.startswith(("ATOM", "HETATM")) for line in added) <= sum(~others)
    if name.endswith("pdb"):
        kept = [line[:60] + line[66:] for line in new if not is_modelled_remark(line)]
        assert kept == [line[:60] + line[66:] for line in old]
        assert gemmi.read_pdb_string(written.decode())[0].count_atom_sites() == len(structure)
    else:
        block = gemmi.cif.read_string(written.decode()).sole_block()
        assert len(block.find([f"{CATEGORY}.auth_seq_id"])) == 3


@pytest.mark.parametrize("name", FILES)
def test_a_second_run_replaces_what_it_names_and_keeps_the_rest(name: str) -> None:
    structure = read((STRUCTURES / name).read_bytes())
    once = with_expected_errors(structure, {1: 0.31, 2: 12.5})
    twice = with_expected_errors(read(text_of(once)), {2: 1.5, 3: 2.0})
    at_once = with_expected_errors(structure, {1: 0.31, 2: 1.5, 3: 2.0})
    assert twice.document is not None and at_once.document is not None
    assert twice.document.modelled_residues() == at_once.document.modelled_residues()
    assert len(text_of(twice).splitlines()) == len(text_of(at_once).splitlines())
    assert text_of(with_expected_errors(twice, {2: 1.5, 3: 2.0})) == text_of(twice)


@pytest.mark.parametrize("name", FILES)
def test_places_of_atoms_stay_right_after_the_records(name: str) -> None:
    """Edits and coordinates after the records come in where they belong."""
    structure = read((STRUCTURES / name).read_bytes())
    described = with_expected_errors(structure, {1: 100.25, 2: 3.0})
    more = with_atoms(described, [AddedAtom(2, "HA", "H", structure.xyz[structure.residues[2].atoms[0]] + 0.1)])
    moved = np.arange(len(more)) == int(more.residues[3].atoms[0])
    again = read(render(more, more.xyz + 0.1 * moved[:, None], moved))
    assert again.name.tolist() == more.name.tolist() and np.allclose(again.xyz - more.xyz, 0.1 * moved[:, None])
    assert np.array_equal(again.bfactor, more.bfactor)


@pytest.mark.parametrize("ends", ["\r\n", "\n"])
@pytest.mark.parametrize("head", ["data_x\n#\n", "data_x ", "data_y\n_a.b 1\ndata_x\n"])
def test_heads_of_mmcif_files(head: str, ends: str, tmp_path: Path) -> None:
    text = (STRUCTURES / "1yjp.cif").read_text()
    loop = text[text.index("loop_\n_atom_site.") :]
    structure = read((head + loop).replace("\n", ends).encode())
    written = text_of(with_expected_errors(structure, {0: 1.0}))
    again = read(written)
    assert again.document is not None and len(again.document.modelled_residues()) == 1
    assert len(again) == len(structure) and (b"\r\n" in written) == (ends == "\r\n")
