"""Structures from other programs: same atoms in the same order, full precision, and back again."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest
from Bio.PDB import MMCIFParser, PDBParser
from openmm import Vec3, unit
from openmm.app import PDBFile

from geofold.errors import CoordinateError, OptionError
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.molecule.selection import find_range
from geofold.plugins.biopython import biopython_with_coordinates, structure_from_biopython
from geofold.plugins.mdtraj import structure_from_trajectory, trajectory_from
from geofold.plugins.openmm import openmm_positions, structure_from_openmm
from geofold.resources import find


def path_of(name: str) -> str:
    return str(find("structures", name))


def rewritten(structure):
    """What the file that the structure writes is read as."""
    return read(render(structure, structure.xyz, np.ones(len(structure), dtype=bool)))


def assert_same_file(structure):
    again = rewritten(structure)
    for column in ("name", "resname", "chain", "resnum", "element", "altloc"):
        assert getattr(again, column).tolist() == getattr(structure, column).tolist()
    assert np.abs(again.xyz - structure.xyz).max() <= 0.5001e-4
    assert [len(residue.atoms) for residue in again.residues] == [len(residue.atoms) for residue in structure.residues]


@pytest.mark.parametrize("name", ["1a1p.pdb", "1ubi.pdb", "2xdgA.pdb"])
def test_mdtraj_there_and_back(name):
    trajectory = mdtraj.load(path_of(name))
    xyz = trajectory.xyz[-1] + np.float32(1e-5)
    trajectory.xyz[-1] = xyz
    structure = structure_from_trajectory(trajectory, frame=-1)
    assert np.array_equal(structure.xyz, xyz.astype(np.float64))
    assert structure.name.tolist() == [atom.name for atom in trajectory.topology.atoms]
    assert structure.resnum.tolist() == [atom.residue.resSeq for atom in trajectory.topology.atoms]
    assert_same_file(structure)
    back = trajectory_from(structure, trajectory.xyz)
    assert np.array_equal(back.xyz, trajectory.xyz)
    assert [str(atom) for atom in back.topology.atoms] == [str(atom) for atom in trajectory.topology.atoms]
    dihedrals = mdtraj.compute_phi(back)[1], mdtraj.compute_phi(trajectory)[1]
    assert np.array_equal(*dihedrals)


def test_mdtraj_keeps_disulfides():
    trajectory = mdtraj.load(path_of("1a1p.pdb"))
    structure = structure_from_trajectory(trajectory)
    assert {tuple(structure.resnum[[link.i, link.j]].tolist()) for link in structure.links} == {(2, 12)}
    bonds = {frozenset((a.index, b.index)) for a, b in trajectory_from(structure, structure.xyz[None]).topology.bonds}
    assert bonds == {frozenset((a.index, b.index)) for a, b in trajectory.topology.bonds}
    with pytest.raises(OptionError, match="frame 21"):
        structure_from_trajectory(trajectory, 21)


def test_mdtraj_trajectory_of_one_conformer():
    structure = read(path_of("1ejg.pdb"))
    frames = np.stack([structure.xyz, structure.xyz + 0.1])
    for altloc in (None, "B"):
        mask = structure.conformer(altloc)
        trajectory = trajectory_from(structure, frames, altloc)
        assert np.allclose(trajectory.xyz, frames[:, mask], atol=1e-6)
        assert np.array_equal(trajectory_from(structure, frames[:, mask], altloc).xyz, trajectory.xyz)


def test_two_residues_that_share_a_number_stay_two():
    # mdtraj drops insertion codes, so neighbours can end up with one number.
    trajectory = mdtraj.load(path_of("1ubi.pdb"))
    trajectory.topology.residue(4).resSeq = trajectory.topology.residue(3).resSeq
    assert len(structure_from_trajectory(trajectory).residues) == trajectory.n_residues


@pytest.mark.parametrize("name", ["1ubi.pdb", "2erl.pdb", "1ejg.pdb", "1a1p.pdb", "5pti.cif"])
def test_biopython_there_and_back(name):
    parser = MMCIFParser(QUIET=True) if name.endswith(".cif") else PDBParser(QUIET=True)
    original = parser.get_structure("x", path_of(name))
    structure = structure_from_biopython(original)
    own = read(path_of(name))
    assert structure.conformer().sum() == own.conformer().sum()
    assert [residue.label for residue in structure.residues] == [residue.label for residue in own.residues]
    assert [residue.resname for residue in structure.residues] == [residue.resname for residue in own.residues]
    assert_same_file(structure)
    before = [atom.coord.copy() for atom in original.get_atoms()]
    same = structure_from_biopython(biopython_with_coordinates(original, structure, structure.xyz))
    assert np.array_equal(same.xyz, structure.xyz)
    rng = np.random.default_rng(1)
    xyz = structure.xyz + rng.normal(size=structure.xyz.shape)
    moved = biopython_with_coordinates(original, structure, xyz)
    assert np.abs(structure_from_biopython(moved).xyz - xyz).max() < 1e-6
    assert all(np.array_equal(a, atom.coord) for a, atom in zip(before, original.get_atoms(), strict=True))


@pytest.mark.parametrize("name", ["1a1p.pdb", "1ubi.pdb", "2erl.pdb"])
def test_openmm_there_and_back(name):
    model = PDBFile(path_of(name))
    structure = structure_from_openmm(model.topology, model.positions)
    xyz = np.array(model.positions.value_in_unit(unit.nanometer), dtype=np.float64)
    assert np.array_equal(structure.xyz, xyz)
    assert structure.name.tolist() == [atom.name for atom in model.topology.atoms()]
    assert structure.resnum.tolist() == [int(atom.residue.id) for atom in model.topology.atoms()]
    assert_same_file(structure)
    positions = openmm_positions(structure, structure.xyz)
    assert unit.is_quantity(positions) and isinstance(positions[0].value_in_unit(unit.nanometer), Vec3)
    assert np.array_equal(np.array(positions.value_in_unit(unit.nanometer)), xyz)
    for given in (xyz, xyz * 10.0 * unit.angstrom, list(model.positions), [Vec3(*row) for row in xyz]):
        assert np.allclose(structure_from_openmm(model.topology, given).xyz, xyz, rtol=0, atol=1e-12)


def test_openmm_ranges_links_and_errors():
    model = PDBFile(path_of("1a1p.pdb"))
    structure = structure_from_openmm(model.topology, model.positions)
    assert find_range(structure, "A:3-7") == (2, 6)
    assert (2, 12) in {tuple(structure.resnum[[link.i, link.j]].tolist()) for link in structure.links}
    with pytest.raises(CoordinateError, match="one row per atom"):
        structure_from_openmm(model.topology, model.positions[:-1])
    xyz = structure.xyz.copy()
    xyz[5] = np.nan
    with pytest.raises(CoordinateError, match="not numbers"):
        structure_from_openmm(model.topology, xyz)
