"""Completion: what the file has stays, what it lacks is added sensibly, and chance is seeded."""

from __future__ import annotations

import random

import numpy as np
import pytest
from draws import other_draws

from geofold.errors import ForceFieldError
from geofold.molecule.energy.all_atom import CAPS, complete, platform
from geofold.molecule.energy.missing_atoms import missing_atoms
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import link_bonds
from geofold.resources import find


def load(name: str) -> Structure:
    return read(find("structures", name))


def without(name: str, drop) -> Structure:
    """A shipped PDB file without the atoms that `drop(residue number, atom name)` names."""
    lines = find("structures", name).read_text().splitlines()
    atom = [line[:4] == "ATOM" and drop(int(line[22:26]), line[12:16].strip()) for line in lines]
    return read("\n".join(line for line, gone in zip(lines, atom, strict=True) if not gone).encode())


@pytest.mark.parametrize("name", ["1yjp.cif", "1a1p.pdb", "1ajj.pdb", "2erl.pdb", "1lpbA.pdb"])
def test_every_amino_acid_atom_is_a_particle_once(name):
    structure = load(name)
    full = complete(structure, structure.conformer(), hydrogens=True)
    known = full.source[full.source >= 0]
    assert len(set(known.tolist())) == len(known)
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])[structure.residue_of]
    heavy = amino & structure.conformer() & ~np.isin(structure.element, ["H", "D"])
    assert set(np.flatnonzero(heavy).tolist()) <= set(known.tolist())
    closing = np.isin(structure.resname, list(CAPS))
    assert (amino | closing)[known].all() and structure.conformer()[known].all()
    assert np.array_equal(full.xyz[full.source >= 0], structure.xyz[known])
    atoms = list(full.topology.atoms())
    assert len(atoms) == len(full.xyz) == len(full.source) == len(full.residue)
    for atom, source, residue in zip(atoms, full.source, full.residue, strict=True):
        assert atom.residue.name[:2] == structure.residues[residue].resname[:2]
        if source >= 0:
            assert structure.residue_of[source] == residue
            assert atom.element.symbol.upper() == structure.element[source]
    others = {r.resname for k, r in enumerate(structure.residues) if not structure.is_amino_acid(k)}
    assert set(full.left_out) == others - CAPS.keys()
    assert full.replaced == () and np.isfinite(full.xyz).all()


@pytest.mark.parametrize("name", ["1ajj.pdb", "2erl.pdb", "1a1p.pdb", "1lpbA.pdb", "1ejg.pdb"])
def test_disulfides_are_bonds_and_carry_no_hydrogen(name):
    structure = load(name)
    sulphur = [p for p in link_bonds(structure, structure.conformer()) if all(structure.name[a] == "SG" for a in p)]
    assert sulphur
    full = complete(structure, structure.conformer(), hydrogens=True)
    place = {int(s): p for p, s in enumerate(full.source) if s >= 0}
    bonds = {frozenset((a.index, b.index)) for a, b in full.topology.bonds()}
    names = {(int(r), a.name) for a, r in zip(full.topology.atoms(), full.residue, strict=True)}
    for i, j in sulphur:
        assert frozenset((place[i], place[j])) in bonds
        assert not {(int(structure.residue_of[a]), "HG") for a in (i, j)} & names


@pytest.mark.parametrize("name", ["HG", "HG1"])
def test_hydrogens_that_other_programs_put_on_disulfides_are_left_out(name):
    """They have no template beside the bond between the sulphurs; a cysteine that is free keeps its own."""
    plain, lines = load("1ajj.pdb"), []
    for line in find("structures", "1ajj.pdb").read_text().splitlines():
        lines.append(line)
        if line[:4] == "ATOM" and line[12:20] == " SG  CYS":
            x = float(line[30:38]) + 1.3  # toward nothing in particular
            lines.append(f"{line[:12]} {name:<3s}{line[16:30]}{x:8.3f}{line[38:76]} H{line[78:]}")
    crowded = read("\n".join(lines).encode())
    assert len(crowded) == len(plain) + (plain.name == "SG").sum()
    energies = [EnergyModel.of(one, one.conformer()).energy(one.xyz) for one in (plain, crowded)]
    assert energies[0] == energies[1]
    first, partner = (next(k for k, r in enumerate(plain.residues) if r.resnum == number) for number in (5, 17))
    alone = complete(crowded, crowded.conformer(), hydrogens=True, only=set(range(len(plain.residues))) - {partner})
    own = np.flatnonzero((crowded.name == name) & (crowded.residue_of == first))
    assert len(own) == 1 and own[0] in alone.source


def test_hydrogens_of_the_input_stay():
    structure = load("2erl.pdb")
    full = complete(structure, structure.conformer(), hydrogens=True)
    amino = np.array([structure.is_amino_acid(k) for k in range(len(structure.residues))])[structure.residue_of]
    hydrogens = np.flatnonzero(amino & structure.conformer() & (structure.element == "H"))
    assert len(set(hydrogens.tolist()) & set(full.source.tolist())) >= 0.95 * len(hydrogens)


def test_added_hydrogens_lie_at_bond_length():
    structure = load("1yjp.cif")
    full = complete(structure, structure.conformer(), hydrogens=True)
    added = 0
    for one, two in full.topology.bonds():
        if full.source[one.index] < 0 or full.source[two.index] < 0:
            assert 0.08 < np.linalg.norm(full.xyz[one.index] - full.xyz[two.index]) < 0.16
            added += 1
    assert added >= int((full.source < 0).sum()) > 40


def test_without_hydrogens_none_are_added():
    structure = load("1yjp.cif")
    full = complete(structure, structure.conformer(), hydrogens=False)
    assert not [a for a in full.topology.atoms() if a.element.symbol == "H"]


def test_nothing_pulls_across_a_break():
    """Residues 20 to 24 cut out: two chains for the force field, each with its own ends, no bond between."""
    structure = without("1ubi.pdb", lambda number, name: 20 <= number <= 24)
    full = complete(structure, structure.conformer(), hydrogens=False)
    chains = [len(list(chain.residues())) for chain in full.topology.chains()]
    assert chains == [19, 52]
    for one, two in full.topology.bonds():
        assert one.residue.chain.index == two.residue.chain.index
        assert np.linalg.norm(full.xyz[one.index] - full.xyz[two.index]) < 0.25


def test_a_proton_that_the_file_has_stays_where_its_residue_has_another_name():
    """An aspartic acid of Amber's: its name and its hydrogen say that it is neutral."""
    lines = []
    for line in find("structures", "1ubi.pdb").read_text().splitlines():
        if line[:4] == "ATOM" and line[17:20] == "ASP" and line[22:26].strip() == "21":
            line = line[:17] + "ASH" + line[20:]
            if line[12:16].strip() == "OD2":
                lines.append(line)
                line = f"{line[:12]} HD2{line[16:30]}{float(line[30:38]) + 0.98:8.3f}{line[38:76]} H{line[78:]}"
        lines.append(line)
    structure = read("\n".join(lines).encode())
    full = complete(structure, structure.conformer(), hydrogens=True)
    place = next(k for k, residue in enumerate(structure.residues) if residue.resname == "ASH")
    own = {a.name for a, k in zip(full.topology.atoms(), full.residue, strict=True) if k == place}
    assert "HD2" in own and "ASH" not in full.left_out
    assert EnergyModel.of(structure, structure.conformer()).energy(structure.xyz) < 0.0


@pytest.mark.parametrize(
    ("name", "same", "there", "absent"),
    [("HSD", "HIS", {"HD1"}, {"HE2"}), ("HSE", "HIS", {"HE2"}, {"HD1"}), ("HIP", "HIS", {"HD1", "HE2"}, set()),
     ("ASH", "ASP", {"HD2"}, set()), ("GLH", "GLU", {"HE2"}, set()), ("LYN", "LYS", {"HZ1", "HZ2"}, {"HZ3"})],
)  # fmt: skip
def test_names_of_protonation_states_are_taken_at_their_word(name, same, there, absent):
    lines = find("structures", "1ubi.pdb").read_text().splitlines()
    first = next(line[17:26] for line in lines if line[:4] == "ATOM" and line[17:20] == same)
    lines = [line[:17] + name + line[20:] if line[17:26] == first else line for line in lines]
    structure = read("\n".join(lines).encode())
    full = complete(structure, structure.conformer(), hydrogens=True)
    place = next(k for k, residue in enumerate(structure.residues) if residue.resname == name)
    own = {a.name for a, k in zip(full.topology.atoms(), full.residue, strict=True) if k == place}
    assert there <= own and not absent & own


def test_a_cap_by_other_names_is_left_out():
    lines = find("structures", "1a1p.pdb").read_text().replace(" N   NH2", " NT  NH2")
    structure = read(lines.encode())
    assert "NH2" in complete(structure, structure.conformer(), hydrogens=True).left_out


def test_caps_take_part_where_they_close_a_chain():
    structure = load("1a1p.pdb")
    full = complete(structure, structure.conformer(), hydrogens=True)
    residues = [residue.name for residue in full.topology.residues()]
    assert residues[-1] == "NH2" and "NH2" not in full.left_out
    assert "OXT" not in {atom.name for atom in full.topology.atoms()}
    assert np.isfinite(EnergyModel.of(structure, structure.conformer()).energy(structure.xyz))


def test_an_amino_acid_that_is_joined_to_no_other_is_left_out():
    """An island in a loop without density, or a ligand: no force field has a residue with two ends."""
    structure = without("1ubi.pdb", lambda number, name: 20 <= number <= 24 or 26 <= number <= 30)
    full = complete(structure, structure.conformer(), hydrogens=True)
    island = next(k for k, residue in enumerate(structure.residues) if residue.resnum == 25)
    assert full.left_out == ("HOH", structure.residues[island].label) and island not in full.residue
    assert len(set(full.residue.tolist())) == 65
    single = without("1ubi.pdb", lambda number, name: number != 25)
    with pytest.raises(ForceFieldError, match="no two standard amino acids"):
        complete(single, single.conformer(), hydrogens=True)


def test_a_side_chain_cut_off_and_capped_with_hydrogens_is_built_in_their_place():
    """A cysteine written as an alanine, methyl hydrogens and all: none of them may stand where the sulphur does."""
    lines = []
    for line in find("structures", "2erl.pdb").read_text().splitlines():
        if line[:4] == "ATOM" and line[22:26].strip() == "10" and line[12:16].strip() == "SG":
            line = f"{line[:12]} HB1{line[16:76]} H{line[78:]}"
        lines.append(line)
    structure = read("\n".join(lines).encode())
    place = next(k for k, residue in enumerate(structure.residues) if residue.resnum == 10)
    assert structure.residues[place].resname == "CYS"
    full = complete(structure, structure.conformer(), hydrogens=True)
    names = {a.name for a, k in zip(full.topology.atoms(), full.residue, strict=True) if k == place}
    assert {"SG", "HB2", "HB3"} <= names and "HB1" not in names
    own = full.xyz[full.residue == place]
    apart = np.linalg.norm(own[:, None] - own, axis=-1) + np.eye(len(own))
    assert apart.min() > 0.08


def test_missing_side_chain_atoms_come_back():
    lacking = {33: {"CE", "NZ"}, 44: {"CD1"}, 68: {"CG", "ND1", "CD2", "CE1", "NE2"}}
    structure = without("1ubi.pdb", lambda number, name: name in lacking.get(number, ()))
    added = missing_atoms(structure, 0, 75)
    wanted = {(number, name) for number, names in lacking.items() for name in names}
    assert {(structure.residues[a.residue].resnum, a.name) for a in added} == wanted
    whole = load("1ubi.pdb")
    for atom in added:
        others = structure.xyz[structure.residues[atom.residue].atoms]
        near = [np.linalg.norm(atom.xyz - x) for x in [*others, *(b.xyz for b in added if b is not atom)]]
        assert 0.11 < min(near) < 0.19
        true = whole.atom(atom.residue, atom.name, whole.conformer())
        assert atom.element == whole.element[true]
    assert {a.residue for a in missing_atoms(structure, 40, 50)} == {43}
    assert missing_atoms(whole, 0, 75) == []


def test_selenomethionine_becomes_methionine_in_place():
    lines = []
    for line in find("structures", "1ubi.pdb").read_text().splitlines():
        if line[:4] == "ATOM" and line[22:26].strip() == "1":
            line = "HETATM" + line[6:17] + "MSE" + line[20:]
            if line[12:16].strip() == "SD":
                line = line[:12] + "SE  " + line[16:76] + "SE" + line[78:]
        lines.append(line)
    structure = read("\n".join(lines).encode())
    full = complete(structure, structure.conformer(), hydrogens=False)
    assert full.replaced == (structure.residues[0].label,) and "MSE" not in full.left_out
    first = {a.name: int(s) for a, s in zip(full.topology.atoms(), full.source, strict=True) if a.residue.index == 0}
    assert structure.name[first["SD"]] == "SE" and min(first.values()) >= 0
    # a replaced residue is not reported as one that lacks its sulphur
    assert missing_atoms(structure, 0, 10) == []


def test_added_atoms_depend_on_the_seed_alone_next_to_a_thread_that_draws():
    structure = without("1ubi.pdb", lambda number, name: number == 33 and name in ("CG", "CD", "CE", "NZ"))
    random.seed(123)
    state = random.getstate()
    alone = complete(structure, structure.conformer(), hydrogens=True, seed=5)
    assert random.getstate() == state
    with other_draws():
        beside = [complete(structure, structure.conformer(), hydrogens=True, seed=5) for _ in range(2)]
    for one in beside:
        assert np.array_equal(one.xyz, alone.xyz) and np.array_equal(one.source, alone.source)


def test_the_platform_runs_on_one_thread():
    chosen = platform()
    assert chosen.getName() == "Reference" or chosen.getPropertyDefaultValue("Threads") == "1"
