"""Side chains of which some atoms are missing: the others stay, and every bond and angle is that of the residue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geofold import resources
from geofold.geometry import wrap
from geofold.molecule.energy.all_atom import complete
from geofold.molecule.io.read import read
from geofold.molecule.sidechains.partial_side_chains import attachments, partial_side_chain, present_chi
from geofold.molecule.sidechains.repacking import complete_side_chains, find_incomplete, select_atoms, why_not_completed
from geofold.molecule.sidechains.rotamer_library import build_rotamers, chi_angles, side_chain
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import bond_list

UBIQUITIN = read(resources.find("structures", "1ubi.pdb"))
TYPES = ("ARG", "LYS", "GLU", "GLN", "LEU", "PRO", "PHE", "TYR", "HIS")
LONG = [k for k, residue in enumerate(UBIQUITIN.residues) if residue.resname in TYPES]


def cut(structure: Structure, k: int, names: Collection[str]) -> Structure:
    """The structure without some side-chain atoms of a residue."""
    gone = (structure.residue_of == k) & np.isin(structure.name, list(names))
    return select_atoms(structure, ~gone)


def internal(structure: Structure, k: int) -> np.ndarray:
    """Lengths of the bonds and distances across the angles of a residue, by the names of their atoms."""
    own = set(structure.residues[k].atoms.tolist())
    bonds = [(i, j) for i, j in bond_list(structure, structure.conformer_mask) if i in own and j in own]
    across = [
        tuple(sorted((set(one) ^ set(other)), key=lambda a: str(structure.name[a])))
        for n, one in enumerate(bonds)
        for other in bonds[n + 1 :]
        if len(set(one) & set(other)) == 1
    ]
    pairs = sorted(bonds + across, key=lambda pair: sorted(str(structure.name[a]) for a in pair))
    return np.array([np.linalg.norm(structure.xyz[i] - structure.xyz[j]) for i, j in pairs])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_completed_side_chains_have_the_bonds_and_angles_of_whole_ones(data: st.DataObject) -> None:
    k = data.draw(st.sampled_from(LONG))
    names = data.draw(st.sets(st.sampled_from(side_chain(UBIQUITIN.residues[k].resname).names), min_size=1))
    partial = cut(UBIQUITIN, k, names)
    assert find_incomplete(partial, [k], partial.conformer_mask) == [k]
    whole, added = complete_side_chains(partial, [k])
    if why_not_completed(partial, k, partial.conformer_mask) is not None:
        assert not added  # a present atom beyond a missing one
        return
    assert {atom.name for atom in added} == names
    stays = partial.residues[k].atoms
    assert np.allclose(whole.xyz[whole.residues[k].atoms[: len(stays)]], partial.xyz[stays], atol=6e-5)
    before, after = internal(UBIQUITIN, k), internal(whole, k)
    assert before.shape == after.shape
    assert np.abs(before - after).max() < 0.02  # nm; ideal values against refined ones


@pytest.mark.parametrize(("name", "gone"), [("ARG", "NE"), ("ARG", "CD"), ("PHE", "CG"), ("LEU", "CG")])
def test_side_chains_with_atoms_beyond_a_missing_one_are_left(name: str, gone: str) -> None:
    k = next(k for k, residue in enumerate(UBIQUITIN.residues) if residue.resname == name)
    partial = cut(UBIQUITIN, k, {gone})
    assert complete_side_chains(partial, [k])[1] == []
    model = complete(partial, partial.conformer_mask, hydrogens=True)  # PDBFixer completes them
    own = {atom.name: xyz for atom, place, xyz in zip(model.topology.atoms(), model.residue, model.xyz, strict=True)
           if place == k}  # fmt: skip
    for bond in (("NE", "CZ"), ("CD", "NE"), ("CG", "CD1")):
        if set(bond) <= set(own):
            assert np.linalg.norm(own[bond[0]] - own[bond[1]]) < 0.17


def test_a_name_of_another_program_counts_as_present() -> None:
    k = next(k for k, residue in enumerate(UBIQUITIN.residues) if residue.resname == "ILE")
    name = UBIQUITIN.name.copy()
    name[UBIQUITIN.atom(k, "CD1", UBIQUITIN.conformer_mask)] = "CD"
    renamed = replace(UBIQUITIN, name=name)
    assert find_incomplete(renamed, [k], renamed.conformer_mask) == []
    _, added = complete_side_chains(cut(renamed, k, {"CG2"}), [k])
    assert [atom.name for atom in added] == ["CG2"]


def test_a_present_branch_decides_the_torsion_of_the_missing_one() -> None:
    k = next(k for k in LONG if UBIQUITIN.residues[k].resname == "LEU")
    gone = (UBIQUITIN.residue_of == k) & (UBIQUITIN.name == "CD1")
    _, added = complete_side_chains(select_atoms(UBIQUITIN, ~gone), [k])
    assert [atom.name for atom in added] == ["CD1"]
    place = UBIQUITIN.xyz[UBIQUITIN.atom(k, "CD1", UBIQUITIN.conformer_mask)]
    assert np.linalg.norm(added[0].xyz - place) < 0.04


@pytest.mark.parametrize("name", ["ARG", "TRP", "ILE", "PRO", "MET", "HIS", "THR"])
def test_present_torsions_are_those_of_the_rotamer(name: str) -> None:
    chain = side_chain(name)
    chi = np.linspace(-2.5, 2.0, len(chain.axes)) if name != "PRO" else chain.chi
    xyz = build_rotamers(chain, chi[None], np.eye(3), np.zeros(3))[0]
    rows = [*zip(("N", "CA", "CB"), (chain.n, np.zeros(3), chain.cb), strict=True), *zip(chain.names, xyz, strict=True)]
    structure = Structure.from_rows(
        [(atom, name, "A", "", "", atom[0], 1, n, False, 1.0, 0.0, *map(float, x)) for n, (atom, x) in enumerate(rows)],
        "rotamer",
        [0] * len(rows),
    )
    partial = partial_side_chain(structure, 0, None, structure.conformer_mask)
    assert np.abs(wrap(present_chi(name, partial) - chi)).max() < 1e-9
    assert np.abs(wrap(chi_angles(structure, 0, structure.conformer_mask) - chi)).max() < 1e-9
    assert len(attachments(name)) == len(chain.names)


def test_the_force_field_completes_side_chains_as_the_packer_does() -> None:
    partial = cut(UBIQUITIN, LONG[0], side_chain(UBIQUITIN.residues[LONG[0]].resname).names[-2:])
    whole, added = complete_side_chains(partial, range(len(partial.residues)))
    model = complete(partial, partial.conformer_mask, hydrogens=True)
    own = {
        (int(k), atom.name): xyz
        for atom, source, k, xyz in zip(model.topology.atoms(), model.source, model.residue, model.xyz, strict=True)
        if source < 0 and atom.element.symbol != "H" and atom.name != "OXT"
    }
    assert set(own) == {(atom.residue, atom.name) for atom in added}
    for atom in added:
        assert np.allclose(own[atom.residue, atom.name], atom.xyz, atol=6e-5)
    assert len(whole) == len(partial) + 2


def test_a_residue_type_without_a_side_chain_has_no_attachments() -> None:
    with pytest.raises(ValueError, match="ALA"):
        attachments("ALA")
