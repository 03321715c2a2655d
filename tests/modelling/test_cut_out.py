"""Loops of large structures are repaired in their surroundings, with the same result if these are everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import geofold as gf
from geofold import resources
from geofold.app.result import Result
from geofold.bench.latency.protein_sizes import make_lattice
from geofold.modelling import cut_out
from geofold.modelling.cut_out import CutOut, surroundings
from geofold.molecule.io.read import read

BENT = Path(resources.find("structures", "1ubi_bent.pdb"))
LOOP, FIRST, LAST = "A:45-56", 44, 55


def repaired() -> Result:
    return gf.repair(BENT, LOOP, energy=False, streams=1, rounds=1)


def test_surroundings_are_whole_residues_around_the_loop_and_map_back() -> None:
    whole = make_lattice(read(BENT), 8)
    cut = CutOut.around(whole, [(FIRST, LAST)], reach=1.0)
    inside = cut.inside((FIRST, LAST))
    assert cut.residues[list(inside)].tolist() == [FIRST, LAST]
    assert 0 < len(cut.part.residues) < len(whole.residues)
    np.testing.assert_array_equal(cut.part.xyz, whole.xyz[cut.atoms])
    np.testing.assert_array_equal(cut.residues[cut.part.residue_of], whole.residue_of[cut.atoms])
    assert [r.label for r in cut.part.residues] == [whole.residues[k].label for k in cut.residues]
    loop = whole.xyz[whole.atoms_within(FIRST, LAST)]
    near = np.linalg.norm(whole.xyz[:, None] - loop, axis=-1).min(1) < 1.0
    assert set(whole.residue_of[near]) <= surroundings(whole, [(FIRST, LAST)], 1.0)


def test_a_repair_in_all_surroundings_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = repaired()
    monkeypatch.setattr(cut_out, "LARGEST_WHOLE", 10)
    cut = repaired()
    np.testing.assert_array_equal(cut.xyz, whole.xyz)
    assert cut.content == whole.content
    same = {key: cut.report[key] for key in ("before", "after", "audit", "score")}
    assert same == {key: whole.report[key] for key in same}
    assert any("residues around them" in note for note in cut.report["notes"])
