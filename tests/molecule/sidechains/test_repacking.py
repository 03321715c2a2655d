"""Side chains around a loop: taken away, turned, completed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from geofold import resources
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.residues import AMINO_NAMES, standard_name
from geofold.molecule.sidechains import repacking
from geofold.molecule.sidechains.repacking import (
    BACKBONE_AND_CB,
    complete_side_chains,
    find_incomplete,
    find_repackable,
    mark_near_residues,
    repack,
    without_side_chains,
)
from geofold.molecule.sidechains.rotamer_library import chi_angles, side_chain, side_chain_names
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import bond_list

LOOP = list(range(45, 52))


def shipped(name: str) -> Structure:
    return read(resources.find("structures", name))


def around(structure: Structure, radius: float = 0.7) -> list[int]:
    own = structure.xyz[np.isin(structure.residue_of, LOOP)]
    close = mark_near_residues(structure, own, radius, structure.conformer_mask)
    return [k for k in find_repackable(structure, structure.conformer_mask) if close[k] and k not in LOOP]


@pytest.mark.parametrize("name", ["1ubi.pdb", "1bhl.pdb", "5pti.cif"])
def test_turning_keeps_bonds_angles_and_everything_else(name: str) -> None:
    structure = shipped(name)
    shell = around(structure)
    turned = repack(structure, [], shell)
    after = turned.apply(structure.xyz)
    assert set(structure.residue_of[turned.atoms]) <= set(shell) and len(turned.atoms)
    assert not np.isin(structure.name[turned.atoms], ["N", "CA", "C", "O", "CB"]).any()
    rest = np.setdiff1d(np.arange(len(structure)), turned.atoms)
    assert np.array_equal(after[rest], structure.xyz[rest])
    pairs = bond_list(structure, structure.conformer_mask)
    partners = [set() for _ in range(len(structure))]
    for i, j in pairs:
        partners[i].add(j)
        partners[j].add(i)
    angles = [(i, k) for own in partners for i in own for k in own if i < k]
    for i, j in np.array(pairs + angles):
        one, other = (np.linalg.norm(x[i] - x[j]) for x in (structure.xyz, after))
        assert one == pytest.approx(other, abs=1e-9)


def test_turned_side_chains_have_the_torsions_that_packing_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    from geofold.molecule.sidechains.packing import pack

    monkeypatch.setattr(repacking, "relax_chi", lambda chains, xyz: xyz)
    structure = shipped("1ubi.pdb")
    shell = around(structure)
    after = replace(structure, xyz=repack(structure, [], shell, seed=3).apply(structure.xyz))
    packed = pack(structure, shell, seed=3)
    for k, chi in zip(packed.residue.tolist(), packed.chi, strict=True):
        apart = chi_angles(after, k, after.conformer_mask) - chi
        assert np.abs(np.remainder(apart + np.pi, 2 * np.pi) - np.pi).max() < 1e-6


def test_packing_a_native_shell_finds_most_of_it_again() -> None:
    structure = shipped("1ubi.pdb")
    shell = around(structure, 0.6)
    after = repack(structure, [], shell).apply(structure.xyz)
    side = np.isin(structure.residue_of, shell) & ~np.isin(structure.name, list(BACKBONE_AND_CB))
    moved = np.linalg.norm(after - structure.xyz, axis=1)[side]
    assert np.median(moved) < 0.15


def test_linked_residues_other_conformers_and_rings_stay() -> None:
    structure = shipped("5pti.cif")
    names = {structure.residues[k].resname for k in find_repackable(structure, structure.conformer_mask)}
    assert names and not names & {"CYS", "PRO", "GLY", "ALA"}
    for k in find_repackable(structure, structure.conformer_mask):
        assert not (structure.altloc[structure.residues[k].atoms] != "").any()


def test_cut_side_chains_are_built_again_and_nothing_else_is_touched() -> None:
    structure = shipped("1ubi.pdb")
    shell = around(structure)
    bare, kept = without_side_chains(structure, shell)
    assert np.array_equal(bare.xyz, structure.xyz[kept]) and len(bare.residues) == len(structure.residues)
    assert [r.label for r in bare.residues] == [r.label for r in structure.residues]
    for k in shell:
        assert set(bare.name[bare.residues[k].atoms]) <= BACKBONE_AND_CB
    assert find_incomplete(bare, range(len(LOOP)), bare.conformer_mask) == [k for k in range(len(LOOP)) if k in shell]
    content = render(bare, bare.xyz, np.zeros(len(bare), dtype=bool))
    whole, added = complete_side_chains(read(content), shell)
    assert len(whole) == len(structure) == len(bare) + len(added)
    assert not find_incomplete(whole, shell, whole.conformer_mask)
    untouched = [k for k in range(len(structure.residues)) if k not in shell]
    for one, other in ((structure, whole),):
        for k in untouched:
            assert np.array_equal(one.xyz[one.residues[k].atoms], other.xyz[other.residues[k].atoms])


def test_names_of_a_side_chain_are_those_of_its_template() -> None:
    for name in (*AMINO_NAMES, "MSE"):
        template = side_chain(name)
        beyond = template.names if template is not None else ()
        assert set(side_chain_names(name)) == ({"CB", *beyond} if standard_name(name) != "GLY" else set())
    assert side_chain_names("GLY") == side_chain_names("HOH") == ()
