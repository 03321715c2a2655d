"""Residues that are damaged: `check` describes what is there, and says which they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.cli import main
from geofold.errors import BackboneError, BuildError
from geofold.molecule.io.read import read
from geofold.molecule.topology.gaps import find_gaps
from geofold.molecule.topology.torsion_tree import torsion_tree

UBIQUITIN = (STRUCTURES / "1ubi.pdb").read_text().splitlines(keepends=True)


def atoms(keep: Callable[[int, str], bool], last: int = 76) -> list[str]:
    """Atom records of residues 1 to `last` that are to stay, by residue number and atom name."""
    every = [line for line in UBIQUITIN if line[:4] == "ATOM" and int(line[22:26]) <= last]
    return [line for line in every if keep(int(line[22:26]), line[12:16].strip())]


def scattered(line: str, number: int) -> str:
    """An atom of an unknown residue, bonded to nothing but its neighbours in the chain."""
    shift = 0.0 if line[12:16].strip() in ("N", "C") else 5.0 + number % 7
    return line[:17] + "XYZ" + line[20:30] + f"{float(line[30:38]) + shift:8.3f}" + line[38:]


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (((20, "CA"), (40, "CA")), "A:20 SER lacks CA; A:40 GLN lacks CA"),
        (((20, "N"), (40, "C"), (76, "O")), "A:20 SER lacks N; A:40 GLN lacks C; A:76 GLY lacks O"),
    ],
)
def test_torn_residues_on_both_sides_of_a_stretch_are_described(gone, told) -> None:
    text = "".join(atoms(lambda number, name: (number, name) not in gone)).encode()
    found = gf.check(text, energy=False)
    assert f"incomplete backbones: {told}" in found["notes"]
    assert found["residues"][0] == "A:1-19" and len(found["residues"]) == 3
    assert found["before"]["ramachandran"]["favoured"] > 60


def test_a_loop_next_to_a_torn_residue_is_refused_in_a_line() -> None:
    structure = read("".join(atoms(lambda number, name: (number, name) != (20, "CA"))).encode())
    with pytest.raises(BackboneError, match="A:20 lacks N or CA"):
        torsion_tree(structure, 11, 18)


def test_no_residues_are_torn_in_a_whole_file() -> None:
    assert not any("backbone" in note for note in gf.check(STRUCTURES / "1ubi.pdb", energy=False)["notes"])


def test_a_residue_whose_atoms_are_bonded_to_nothing_is_part_of_its_chain() -> None:
    lines = [scattered(line, k) if int(line[22:26]) == 8 else line for k, line in enumerate(atoms(lambda *_: True, 14))]
    structure = read("".join(lines).encode())
    tree = torsion_tree(structure, 5, 10)
    assert {5, 6, 7, 8, 9, 10} <= set(tree.residue.tolist())
    assert gf.check("".join(lines).encode(), energy=False)["residues"] == ["A:1-14"]


def test_a_chain_of_nothing_but_scattered_atoms() -> None:
    lines = [scattered(line, k) for k, line in enumerate(atoms(lambda number, name: name in ("N", "CA", "C"), 2))]
    found = gf.check("".join(lines).encode(), energy=False)
    assert found["residues"] == ["A:1-2"] and np.isfinite(found["before"]["worst_overlap_angstrom"])


def test_a_residue_without_ca_is_built_with_its_neighbours() -> None:
    """Its sequence is that of the atoms that it has, where no record says so."""
    text = "".join(atoms(lambda number, name: (number, name) != (50, "CA"))).encode()
    (gap,) = gf.check(text, energy=False)["chain_breaks"]
    assert (gap["build"], gap["sequence"], gap["sequence_from"]) == ("A:49-51", "L", "atoms of the file")
    result = gf.fix(text, energy=False, streams=1, rounds=1)
    steps = {step["step"]: step for step in result.report["steps"]}
    assert steps["gaps built"]["done"] == ["A:49-51"] and not steps["side chains completed"]["left"]
    assert not gf.check(result.content, energy=False)["chain_breaks"]


def test_a_missing_oxygen_is_placed_where_it_was() -> None:
    whole = read("".join(atoms(lambda *_: True)).encode())
    text = "".join(atoms(lambda number, name: (number, name) not in ((50, "O"), (76, "O")))).encode()
    result = gf.fix(text, energy=False)
    steps = {step["step"]: step for step in result.report["steps"]}
    assert steps["side chains completed"]["done"] == ["A:50 (O)"]
    assert steps["side chains completed"]["left"] == ["A:76: its backbone is incomplete"]  # nothing decides it there
    end = read(result.content)
    place = end.xyz[end.atom(49, "O", end.conformer_mask)]
    assert np.linalg.norm(place - whole.xyz[whole.atom(49, "O", whole.conformer_mask)]) < 0.01
    assert result.passed


def test_check_names_incomplete_side_chains_and_what_completes_them(
    capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    path = tmp_path / "cut.pdb"
    path.write_text("".join(atoms(lambda number, name: number != 48 or name not in ("CE", "NZ"))))
    assert main(["check", str(path), "--no-energy"]) == 0
    shown = capsys.readouterr().out
    assert "incomplete residues    1 (A:48 LYS lacks CE, NZ)" in shown and f"geofold fix {path} -o OUT" in shown
    assert gf.check(STRUCTURES / "1ubi.pdb", energy=False)["incomplete_side_chains"] == []


def test_what_fix_cannot_do_is_not_called_nothing() -> None:
    text = "".join(atoms(lambda number, name: (number, name) != (76, "O"))).encode()
    assert "nothing done, 1 left as it is" in gf.fix(text, energy=False).summary()


def renumbered(line: str, number: int, *, chain: str = "A", shift: float = 0.0) -> str:
    """The line with another residue number and chain, shifted along x (A)."""
    return f"{line[:21]}{chain}{number:4d}{line[26:30]}{float(line[30:38]) + shift:8.3f}{line[38:]}"


def test_a_break_with_nothing_between_has_no_sequence() -> None:
    """Two chains under one name, residues that are missing though the numbers go on, and numbers that begin again."""
    first = atoms(lambda *_: True)
    two = [renumbered(line, int(line[22:26]) + 76, shift=60.0) for line in first]
    lacking = [
        renumbered(line, number - 11 if (number := int(line[22:26])) > 30 else number)
        for line in atoms(lambda number, name: not 20 <= number <= 30)
    ]
    again = [renumbered(line, int(line[22:26]), shift=60.0) for line in first]
    for lines in ([*first, *two], lacking, [*first, *again]):
        gaps = gf.check("".join(lines).encode(), energy=False)["chain_breaks"]
        assert [gap["sequence"] for gap in gaps] == [None]


def test_a_jump_of_numbers_is_not_listed() -> None:
    """Numbers up to two billion: the free ones are counted, not written down."""
    structure = read("".join(atoms(lambda number, name: (number, name) != (40, "CA"))).encode())
    far = [replace(r, resnum=r.resnum + 2_000_000_000) if r.resnum > 40 else r for r in structure.residues]
    (gap,) = find_gaps(replace(structure, residues=tuple(far)))
    assert gap.names is None and len(gap.numbers) == 2_000_000_000 + 1


def test_a_torn_residue_with_an_insertion_code_is_built() -> None:
    """Residue 51 is 50A here, and 52 is 51."""
    lines = []
    for line in atoms(lambda number, name: (number, name) != (51, "CA")):
        number = int(line[22:26])
        lines.append(line[:22] + "  50A" + line[27:] if number == 51 else renumbered(line, number - (number > 51)))
    (gap,) = gf.check("".join(lines).encode(), energy=False)["chain_breaks"]
    assert (gap["build"], gap["sequence"], gap["missing"]) == ("A:50-51", "E", 1)


def test_torn_residues_are_named_although_another_chain_lies_in_a_gap() -> None:
    first = atoms(lambda number, name: True, 20)
    second = [renumbered(line, int(line[22:26]), chain="B", shift=60.0) for line in first]
    torn = [line for line in second if not (int(line[22:26]) == 1 and line[12:16].strip() == "CA")]
    free = [renumbered(line, 301, shift=90.0) for line in first if int(line[22:26]) == 3]
    step = gf.fix("".join([*first, *torn, *free]).encode(), energy=False).report["steps"][0]
    assert "B:1: its backbone is incomplete" in step["left"]


def test_hydrogens_give_way_to_the_side_chain_that_is_completed() -> None:
    whole = read("".join(atoms(lambda *_: True)).encode())
    k = next(k for k, residue in enumerate(whole.residues) if residue.resname == "LYS")
    number = whole.residues[k].resnum
    stub = atoms(lambda n, name: n != number or name in ("N", "CA", "C", "O", "CB"))
    cb, cg = (whole.xyz[whole.atom(k, name, whole.conformer_mask)] * 10 for name in ("CB", "CG"))
    x, y, z = cb + (cg - cb) / np.linalg.norm(cg - cb) * 1.09  # where CG belongs
    place = max(n for n, line in enumerate(stub) if int(line[22:26]) == number)
    line = stub[place][:12] + " HB3" + stub[place][16:30] + f"{x:8.3f}{y:8.3f}{z:8.3f}" + stub[place][54:76] + " H\n"
    result = gf.fix("".join([*stub[: place + 1], line, *stub[place + 1 :]]).encode(), energy=False)
    step = result.report["steps"][0]
    assert step["done"] == [f"A:{number} (hydrogens removed)"]
    end = read(result.content)
    own = end.xyz[end.residues[k].atoms]
    assert (np.linalg.norm(own[:, None] - own, axis=-1) + np.eye(len(own))).min() > 0.11


def test_files_of_several_models_are_not_completed_in_part() -> None:
    body = "".join(atoms(lambda number, name: number != 48 or name not in ("CE", "NZ")))
    text = f"MODEL        1\n{body}ENDMDL\nMODEL        2\n{body}ENDMDL\n"
    with pytest.raises(BuildError, match="2 models"):
        gf.fix(text.encode(), energy=False)
