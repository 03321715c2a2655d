"""The audit of added side-chain atoms: what is whole passes, a torn bond does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geofold import fix, resources
from geofold.app.report.audit_added import audit_added, bond_lengths
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.repacking import complete_side_chains, select_atoms

UBIQUITIN = read(resources.find("structures", "1ubi.pdb"))
PLACE = next(k for k, residue in enumerate(UBIQUITIN.residues) if residue.resname == "ARG")
CUT = select_atoms(UBIQUITIN, (UBIQUITIN.residue_of != PLACE) | ~np.isin(UBIQUITIN.name, ["NE", "CZ", "NH1", "NH2"]))


@pytest.mark.parametrize("atom", ["NE", "CZ", "NH1", "NH2"])
def test_a_torn_bond_fails(atom: str) -> None:
    whole, added = complete_side_chains(CUT, [PLACE])
    (check,) = audit_added(whole, whole.xyz, added, whole)
    assert check.passed and check.value < 0.03
    moved = whole.xyz.copy()
    moved[whole.atom(PLACE, atom, whole.conformer_mask)] += [0.03, 0.03, 0.03]
    (check,) = audit_added(whole, moved, added, whole)
    assert not check.passed


def test_without_added_atoms_there_is_no_check() -> None:
    assert audit_added(UBIQUITIN, UBIQUITIN.xyz, [], UBIQUITIN) == []


def test_lengths_are_symmetric_and_those_of_covalent_bonds() -> None:
    lengths = bond_lengths("TRP")
    for atom, bonded in lengths.items():
        for other, length in bonded:
            assert (atom, length) in lengths[other] and 1.1 < length < 1.7
    assert bond_lengths("HOH") == {}


def test_fix_reports_the_bonds_of_the_atoms_that_it_adds() -> None:
    checks = fix(CUT, energy=False).report["audit"]["checks"]
    assert [check["passed"] for check in checks if "added_bond_error_angstrom" in check["name"]] == [True]


def test_atoms_are_found_by_their_residue_when_others_were_inserted_before_it() -> None:
    whole, added = complete_side_chains(CUT, [PLACE])
    owner = select_atoms(whole, whole.residue_of != 5)  # a residue that is missing there, and built in `whole`
    earlier = [replace(atom, residue=atom.residue - 1) for atom in added]
    assert audit_added(whole, whole.xyz, earlier, owner) == audit_added(whole, whole.xyz, added, whole) != []
