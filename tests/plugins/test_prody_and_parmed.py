"""ProDy and ParmEd objects as sources: the atoms of the file, and the result as the same kind of object."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from app_cases import BENT, STRUCTURES

import geofold as gf
from geofold.app.sources import load
from geofold.errors import NoProteinError
from geofold.molecule.io.read import read

QUICK = {"streams": 1, "rounds": 1, "energy": False}


def prody_of(path: Any) -> Any:
    prody = pytest.importorskip("prody")
    prody.confProDy(verbosity="none")
    return prody.parsePDB(str(path), altloc="all")


def parmed_of(path: Any) -> Any:
    return pytest.importorskip("parmed").load_file(str(path))


@pytest.mark.parametrize("name", ["1ubi.pdb", "1i8nA.pdb"])
@pytest.mark.parametrize("reader", [prody_of, parmed_of])
def test_an_object_has_the_atoms_of_its_file(reader: Any, name: str) -> None:
    one, other = load(reader(STRUCTURES / name)), read(STRUCTURES / name)
    for column in ("name", "resname", "chain", "resnum", "icode", "element"):
        assert getattr(one, column).tolist() == getattr(other, column).tolist()
    assert np.abs(one.xyz - other.xyz).max() < 1e-6
    assert one.hetatm.tolist() == other.hetatm.tolist()
    assert [len(residue.atoms) for residue in one.residues] == [len(residue.atoms) for residue in other.residues]


@pytest.mark.parametrize("reader", [prody_of, parmed_of])
def test_a_result_comes_back_as_the_same_kind_of_object(reader: Any) -> None:
    source = reader(BENT)
    before = np.array(source.getCoords() if reader is prody_of else source.coordinates)
    result = gf.repair(source, "A:45-50", **QUICK)
    back = result.like(source)
    after = back.getCoords() if reader is prody_of else back.coordinates
    assert type(back) is type(source) and np.abs(after / 10 - result.xyz).max() < 1e-6
    moved = np.abs(after - before).max(1) > 0
    assert set(load(source).resnum[moved].tolist()) <= set(range(45, 51)) and moved.any()
    assert np.array_equal(source.getCoords() if reader is prody_of else source.coordinates, before)  # left as it was


def test_a_selection_of_prody_is_a_source() -> None:
    source = prody_of(BENT).select("protein")
    assert len(load(source)) == source.numAtoms()
    assert gf.repair(source, "A:45-50", **QUICK).like(source).numAtoms() == source.numAtoms()


def test_objects_without_coordinates_are_refused() -> None:
    prody, parmed = pytest.importorskip("prody"), pytest.importorskip("parmed")
    for source in (prody.AtomGroup("empty"), parmed.Structure()):
        with pytest.raises(NoProteinError, match="no"):
            load(source)
