"""Several loops at once, those that stand in each other's way among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from app_cases import STRUCTURES

import geofold as gf
from geofold.modelling.repair.multiple_loops import may_touch
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.loop.perturbation import backbone_rmsd, perturb_loop
from geofold.molecule.selection import find_range
from geofold.molecule.sidechains.repacking import select_atoms

NATIVE = read(STRUCTURES / "1ubi.pdb")
LOOPS = ("A:6-11", "A:69-73")
QUICK = {"streams": 2, "rounds": 1, "energy": False, "predictor": "hold-still"}


def test_loops_that_touch_come_out_clean_and_the_rest_stays() -> None:
    spans = [find_range(NATIVE, loop) for loop in LOOPS]
    assert may_touch(NATIVE, *spans)
    bent = NATIVE
    for span in spans:
        bent = replace(bent, xyz=perturb_loop(bent, *span, seed=4, target=1.5))
    moved = (bent.xyz != NATIVE.xyz).any(1)
    start = render(NATIVE, bent.xyz, moved)
    result = gf.repair(start, LOOPS, **QUICK)
    before, after = read(start), read(result.content)
    inside = np.isin(before.residue_of, [k for first, last in spans for k in range(first, last + 1)])
    assert np.array_equal(before.xyz[~inside], after.xyz[~inside])
    checks = {check["name"]: check for check in result.report["audit"]["checks"]}
    for name in ("closure_error_angstrom", "bond_change_angstrom", "chiralities_changed", "cis_peptide_bonds_made"):
        assert checks[name]["passed"], checks[name]
    for span in spans:
        assert backbone_rmsd(before, *span, after.xyz, before.xyz) > 0.1  # both moved
    assert result.report["after"]["severe_overlaps"] <= min(result.report["before"]["severe_overlaps"], 1)
    assert len(result.report["stream"]["status"]) == 2
    assert np.allclose(result.frames[0], before.xyz) and np.allclose(result.frames[-1], after.xyz, atol=1e-4)


def test_a_subset_keeps_what_it_keeps() -> None:
    gone = np.isin(NATIVE.residue_of, [5, 6, 7])
    part = select_atoms(NATIVE, ~gone)
    assert np.array_equal(part.xyz, NATIVE.xyz[~gone])
    assert len(part.residues) == len(NATIVE.residues) - 3
    for k, residue in enumerate(part.residues):
        assert (part.residue_of[residue.atoms] == k).all()
    assert not part.bonded(4, 5) and part.bonded(3, 4)
    first, last = find_range(part, "A:20-25")
    assert [r.resnum for r in part.residues[first : last + 1]] == list(range(20, 26))


def test_far_loops_do_not_touch() -> None:
    one, other = (find_range(NATIVE, loop) for loop in ("A:6-11", "A:18-22"))
    assert not may_touch(NATIVE, one, other)
