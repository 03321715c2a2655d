"""The hand of amino acids: a mirrored protein and single D-residues are named, by `check` and in a repair's report."""

from __future__ import annotations

import numpy as np
import pytest

import geofold as gf
from geofold.molecule.analysis.chirality import chiral_volumes, chirality_notes
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.structure import Structure
from geofold.resources import find

QUICK = {"energy": False, "rounds": 1, "streams": 1, "predictor": "hold-still"}


def ubiquitin() -> Structure:
    return read(find("structures", "1ubi.pdb"))


def moved(xyz: np.ndarray) -> bytes:
    """Ubiquitin with atoms elsewhere (n, 3) in nm."""
    structure = ubiquitin()
    return render(structure, xyz, np.ones(len(structure), dtype=bool))


def with_inverted(number: int, names: tuple[str, ...], centre: str, plane: tuple[str, str]) -> bytes:
    """Ubiquitin with some atoms of a residue mirrored in the plane of three others."""
    structure = ubiquitin()
    xyz, mask = structure.xyz.copy(), structure.conformer_mask
    k = next(k for k, r in enumerate(structure.residues) if r.resnum == number)
    origin, one, two = (xyz[structure.atom(k, name, mask)] for name in (centre, *plane))
    normal = np.cross(one - origin, two - origin)
    normal /= np.linalg.norm(normal)
    for name in names:
        atom = structure.atom(k, name, mask)
        xyz[atom] -= 2 * ((xyz[atom] - origin) @ normal) * normal
    return moved(xyz)


def test_a_mirrored_protein_is_reported() -> None:
    mirrored = moved(ubiquitin().xyz * [-1.0, 1.0, 1.0])
    said = "a mirror image? all 70 amino acids with a CB are D-amino acids"
    assert said in gf.check(mirrored, energy=False)["notes"]
    assert said in gf.repair(mirrored, "A:8-11", **QUICK).report["notes"]


def test_a_single_d_residue_is_named() -> None:
    text = with_inverted(28, ("CB",), "CA", ("N", "C"))
    assert "D-amino acids: A:28 ALA" in gf.check(text, energy=False)["notes"]
    assert "D-amino acids: A:28 ALA" in gf.repair(text, "A:8-11", **QUICK).report["notes"]


@pytest.mark.parametrize(("number", "names", "plane"), [(14, ("CG2",), ("CA", "OG1")), (23, ("CG2",), ("CA", "CG1"))])
def test_a_side_chain_of_the_other_hand_is_named(number, names, plane) -> None:
    structure = read(with_inverted(number, names, "CB", plane))
    resname = next(r.resname for r in structure.residues if r.resnum == number)
    said = chirality_notes(structure, structure.xyz, structure.conformer_mask)
    assert said == [f"CB of the other hand (allo): A:{number} {resname}"]


@pytest.mark.parametrize("name", ["1ubi.pdb", "5pti.cif", "1ejg.pdb", "1bhl.pdb"])
def test_proteins_are_of_one_hand(name: str) -> None:
    structure = read(find("structures", name))
    volumes = chiral_volumes(structure, structure.xyz, structure.conformer_mask)
    assert (volumes >= 0).all() and 0.002 < np.median(volumes[volumes > 0]) < 0.003
    assert chirality_notes(structure, structure.xyz, structure.conformer_mask) == []
