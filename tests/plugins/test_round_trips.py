"""A run on another program's object, and its end back in that program: same atoms, same order, who stayed stays."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import mdtraj
import numpy as np
import pytest
from Bio.PDB import PDBParser
from openmm import Platform, unit
from openmm.app import Modeller, PDBFile

import geofold as gf
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.errors import NoProteinError, OptionError
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.io.read import read
from geofold.molecule.io.write import render
from geofold.resources import find

CONTACT = "B:2-A:7<20.0"


@cache
def two_chains() -> str:
    """The peptide AEGKTWYN as chain A, and again 3 nm away as chain B, with CONECT of nothing and no hydrogens."""
    structure = peptide("AEGKTWYN")
    text = render(structure, structure.xyz, np.zeros(len(structure), dtype=bool)).decode()
    atoms = [line for line in text.splitlines() if line.startswith("ATOM")]
    other = [f"{a[:6]}{int(a[6:11]) + 500:5d}{a[11:21]}B{a[22:30]}{float(a[30:38]) + 30:8.3f}{a[38:]}" for a in atoms]
    return "\n".join([*atoms, "TER", *other, "TER", "END", ""])


def moved(source: Any) -> Result:
    """Chain B after two steps."""
    steering = gf.steer(source, [CONTACT])
    next(steering), next(steering)
    return steering.result(energy=False)


def assert_only_b_moved(before: np.ndarray, after: np.ndarray, result: Result, chains: list[str], exact: float) -> None:
    """Coordinates in nm, in the source's order."""
    b = np.array(chains) == "B"
    assert np.array_equal(before[~b], after[~b])
    assert np.abs(before[b] - after[b]).max() > 0.01
    assert len(after) == len(result.structure) and np.abs(after - result.xyz).max() <= exact


def test_mdtraj(tmp_path) -> None:
    (tmp_path / "two.pdb").write_text(two_chains())
    source = mdtraj.load(str(tmp_path / "two.pdb"))
    source.unitcell_lengths, source.unitcell_angles = np.full((1, 3), 9.0), np.full((1, 3), 90.0)
    source = mdtraj.join([source, source])
    result = moved(source)
    back = result.like(source)
    chains = [atom.residue.chain.chain_id for atom in source.topology.atoms]
    assert_only_b_moved(source.xyz[0], back.xyz[0], result, chains, 1e-6)
    assert back.n_frames == 1 and back.topology == source.topology and np.all(back.unitcell_lengths == 9.0)
    assert source.n_frames == 2 and result.trajectory.n_atoms == source.n_atoms


def test_biopython() -> None:
    source = PDBParser(QUIET=True).get_structure("two", io.StringIO(two_chains()))
    result = moved(source)
    back = result.like(source)
    atoms, again = list(source.get_atoms()), list(back.get_atoms())
    assert [a.full_id for a in atoms] == [a.full_id for a in again]
    before, after = (np.array([a.coord for a in part], dtype=np.float64) / 10 for part in (atoms, again))
    assert_only_b_moved(before, after, result, [a.full_id[2] for a in atoms], 1e-5)


def test_openmm_with_hydrogens_and_a_modeller() -> None:
    file = PDBFile(io.StringIO(two_chains()))
    source = Modeller(file.topology, file.positions)
    source.addHydrogens(platform=Platform.getPlatformByName("Reference"))
    result = moved(source)
    back = result.like(source)
    assert unit.is_quantity(back) and len(back) == source.topology.getNumAtoms() > file.topology.getNumAtoms()
    before, after = (np.array(part.value_in_unit(unit.nanometer)) for part in (source.positions, back))
    chains = [atom.residue.chain.id for atom in source.topology.atoms()]
    assert_only_b_moved(before, after, result, chains, 0.0)
    assert np.array_equal(load((source.topology, back)).xyz, result.xyz)
    # hydrogens ride along: their bonds keep their lengths
    bonds = np.array([(b.atom1.index, b.atom2.index) for b in source.topology.bonds()])
    lengths = [np.linalg.norm(xyz[bonds[:, 0]] - xyz[bonds[:, 1]], axis=1) for xyz in (before, after)]
    assert np.abs(lengths[0] - lengths[1]).max() < 1e-6


def test_mdanalysis() -> None:
    mda = pytest.importorskip("MDAnalysis")
    source = mda.Universe(io.StringIO(two_chains()), format="PDB", topology_format="PDB")
    own = read(two_chains().encode())
    structure = load(source)
    for column in ("name", "resname", "chain", "resnum", "element", "serial", "hetatm"):
        assert getattr(structure, column).tolist() == getattr(own, column).tolist()
    result = moved(source)
    before = source.atoms.positions.copy()
    after = result.like(source)
    assert_only_b_moved(before / 10, after / 10, result, list(source.atoms.chainIDs), 1e-5)
    source.atoms.positions = after
    assert np.array_equal(source.atoms.positions, after)
    group = source.select_atoms("segid B")
    assert load(group).chain.tolist() == ["B"] * len(group)


def test_mdanalysis_without_chains_and_elements() -> None:
    mda = pytest.importorskip("MDAnalysis")
    whole = mda.Universe(io.StringIO(two_chains()), format="PDB", topology_format="PDB")
    bare = mda.Universe.empty(
        len(whole.atoms),
        n_residues=16,
        n_segments=2,
        atom_resindex=whole.atoms.resindices,
        residue_segindex=whole.residues.segindices,
        trajectory=True,
    )
    for name, values in (
        ("names", whole.atoms.names),
        ("resnames", whole.residues.resnames),
        ("resids", whole.residues.resids),
        ("segids", ["A", "B"]),
    ):
        bare.add_TopologyAttr(name, values)
    bare.atoms.positions = whole.atoms.positions
    structure, own = load(bare), load(whole)
    assert structure.element.tolist() == own.element.tolist() and structure.chain.tolist() == own.chain.tolist()
    assert not structure.hetatm.any()


def test_atoms_that_were_added_have_no_place_in_the_source() -> None:
    cut = [line for line in two_chains().splitlines() if line[12:16].strip() not in ("CD2", "CE2", "CZ")]
    source = PDBFile(io.StringIO("\n".join(cut)))
    result = moved(source)
    assert len(result.structure) > source.topology.getNumAtoms() and result.report["added_atoms"]
    back = np.array(result.like(source).value_in_unit(unit.nanometer))
    before = np.array(source.positions.value_in_unit(unit.nanometer))
    b = np.array([atom.residue.chain.id for atom in source.topology.atoms()]) == "B"
    assert len(back) == len(before) and np.array_equal(back[~b], before[~b])
    bonds = np.array([(x.atom1.index, x.atom2.index) for x in source.topology.bonds()])
    lengths = np.linalg.norm(back[bonds[:, 0]] - back[bonds[:, 1]], axis=1)
    assert lengths.max() < 0.2


def test_like_wants_what_the_run_was_given() -> None:
    result = moved(two_chains().encode())
    with pytest.raises(OptionError, match="use save"):
        result.like(two_chains().encode())
    with pytest.raises(OptionError, match="the object that the run was given"):
        result.like(mdtraj.load(str(find("structures", "1a1p.pdb"))))
    with pytest.raises(OptionError, match="MDAnalysis"):
        load(3)


def test_biotite_array_and_stack() -> None:
    pdb = pytest.importorskip("biotite.structure.io.pdb")
    file = pdb.PDBFile.read(io.StringIO(two_chains()))
    array = file.get_structure(model=1, extra_fields=["b_factor", "occupancy", "atom_id"])
    result = moved(array)
    back = result.like(array)
    chains = array.chain_id.tolist()
    assert_only_b_moved(array.coord / np.float32(10), back.coord / np.float32(10), result, chains, 1e-5)
    assert back.atom_name.tolist() == array.atom_name.tolist() and (back.b_factor == array.b_factor).all()
    stack = file.get_structure()
    assert np.array_equal(load(stack).xyz, load(array).xyz)
    assert result.like(stack).coord.shape == (1, *array.coord.shape)
    with pytest.raises(NoProteinError):
        load(array[:0])


def test_gemmi() -> None:
    gemmi = pytest.importorskip("gemmi")
    source = gemmi.read_pdb_string(two_chains())
    result = moved(source)
    back = result.like(source)

    def columns(structure) -> tuple[np.ndarray, list[str]]:
        atoms = [(chain.name, atom) for chain in structure[0] for residue in chain for atom in residue]
        return np.array([atom.pos.tolist() for _, atom in atoms]) / 10, [name for name, _ in atoms]

    (before, chains), (after, _) = columns(source), columns(back)
    assert_only_b_moved(before, after, result, chains, 1e-9)
    with pytest.raises(NoProteinError):
        load(gemmi.Structure())


@pytest.mark.parametrize("name", ["1ubi.pdb", "5pti.cif", "1ejg.pdb"])
def test_biotite_and_gemmi_see_the_atoms_of_the_file(name: str) -> None:
    biotite, gemmi = pytest.importorskip("biotite.structure.io"), pytest.importorskip("gemmi")
    path = str(find("structures", name))
    ours = read(path)
    fields = ["b_factor", "occupancy", "atom_id"]
    theirs = load(biotite.load_structure(path, extra_fields=fields, altloc="all", model=1))
    other = load(gemmi.read_structure(path))
    for one in (theirs, other):
        assert len(one) == len(ours) and np.allclose(np.sort(one.xyz, 0), np.sort(ours.xyz, 0), atol=1e-6)
        assert sorted(one.name.tolist()) == sorted(ours.name.tolist())
        assert sorted(one.altloc.tolist()) == sorted(ours.altloc.tolist())
        assert [r.label for r in one.residues if r.resname != "HOH"][:20] == [r.label for r in ours.residues][:20]
