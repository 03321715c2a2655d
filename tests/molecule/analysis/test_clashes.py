"""Severe overlaps of a whole structure."""

from __future__ import annotations

from geofold import resources
from geofold.molecule.analysis.clashes import count_severe_overlaps
from geofold.molecule.datasets.packed_chains import with_added_atoms
from geofold.molecule.io.read import read
from geofold.molecule.structure import AddedAtom


def test_overlaps_are_counted_beyond_three_bonds() -> None:
    native = read(resources.find("structures", "1ubi.pdb"))
    count = count_severe_overlaps(native)
    assert count <= 5
    ghost = AddedAtom(10, "XX", "C", native.xyz[native.atom(50, "CA", native.conformer_mask)] + 0.02)
    assert count_severe_overlaps(with_added_atoms(native, [ghost])) > count
