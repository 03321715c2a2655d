"""Residues that are damaged: `check` describes what is there, and says which they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from app_cases import STRUCTURES

import geofold as gf
from geofold.errors import BackboneError
from geofold.molecule.io.read import read
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
