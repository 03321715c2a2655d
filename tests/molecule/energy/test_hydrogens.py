"""Hydrogens: OpenMM's Modeller as reference for which there are, ideal geometry, and an energy near the Modeller's."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import openmm
import openmm.app
import openmm.unit
import pytest
from scipy.spatial.transform import Rotation

from geofold.molecule.energy.all_atom import VARIANTS, complete, platform
from geofold.molecule.energy.amber import AMBER14
from geofold.molecule.energy.hydrogen_geometry import LENGTH
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.io.read import read
from geofold.molecule.structure import Structure
from geofold.resources import find

NAMES = ["1ubi.pdb", "1ajj.pdb", "1yjp.cif", "2erl.pdb", "1a1p.pdb", "1lpbA.pdb", "2cviA.pdb", "1fas.cif"]


def load(name: str) -> Structure:
    return read(find("structures", name))


def by_modeller(structure: Structure) -> openmm.app.Modeller:
    heavy = complete(structure, structure.conformer(), hydrogens=False)
    modeller = openmm.app.Modeller(heavy.topology, heavy.xyz * openmm.unit.nanometer)
    of_residue = [int(heavy.residue[next(residue.atoms()).index]) for residue in heavy.topology.residues()]
    random.seed(1)
    variants = [VARIANTS.get(structure.residues[k].resname) for k in of_residue]
    modeller.addHydrogens(openmm.app.ForceField(*AMBER14.files), 7.0, variants, platform())
    return modeller


def labels(topology) -> list[tuple[int, str]]:
    return [(atom.residue.index, atom.name) for atom in topology.atoms()]


@pytest.mark.parametrize("name", NAMES)
def test_there_are_the_hydrogens_of_the_modeller(name):
    structure = load(name)
    full = complete(structure, structure.conformer(), hydrogens=True)
    assert sorted(labels(full.topology)) == sorted(labels(by_modeller(structure).topology))


@pytest.mark.parametrize("name", ["1ubi.pdb", "2cviA.pdb", "1lpbA.pdb"])
def test_the_energy_is_near_that_of_relaxed_hydrogens(name):
    """The Modeller relaxes each hydrogen in the force field, which geometry alone does not: about 1 kJ/mol for each."""
    structure = load(name)
    model, modeller = EnergyModel.of(structure, structure.conformer()), by_modeller(structure)
    context = openmm.Context(AMBER14.system(modeller.topology), openmm.VerletIntegrator(0.001), platform())
    context.setPositions(modeller.positions)
    relaxed = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    added = int((model.completed.source < 0).sum())
    assert 0 < model.energy(structure.xyz) - relaxed < 1.5 * added


def test_most_hydrogens_lie_where_the_force_field_relaxes_them():
    structure = load("1ubi.pdb")
    model = EnergyModel.of(structure, structure.conformer())
    system = AMBER14.system(model.completed.topology)
    added = model.completed.source < 0
    for particle in np.flatnonzero(~added):
        system.setParticleMass(int(particle), 0.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    context.setPositions(model.completed.xyz)
    openmm.LocalEnergyMinimizer.minimize(context)
    relaxed = np.array(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    moved = 10 * np.linalg.norm(relaxed - model.completed.xyz, axis=1)[added]
    assert np.median(moved) < 0.06 and np.quantile(moved, 0.9) < 0.15


@pytest.mark.parametrize("name", NAMES)
def test_bonds_have_their_lengths_and_angles_are_ordinary(name):
    structure = load(name)
    full = complete(structure, structure.conformer(), hydrogens=True)
    atoms, added = list(full.topology.atoms()), full.source < 0
    bonded: list[list[int]] = [[] for _ in atoms]
    for one, two in full.topology.bonds():
        bonded[one.index].append(two.index)
        bonded[two.index].append(one.index)
    for k in np.flatnonzero(added & [atom.element.symbol == "H" for atom in atoms]):
        (parent,) = bonded[k]
        arm = full.xyz[k] - full.xyz[parent]
        assert np.linalg.norm(arm) == pytest.approx(LENGTH[atoms[parent].element.symbol], abs=1e-9)
        for other in set(bonded[parent]) - {k}:
            side = full.xyz[other] - full.xyz[parent]
            angle = np.degrees(np.arccos(arm @ side / np.linalg.norm(arm) / np.linalg.norm(side)))
            assert 85 < angle < 140


def test_places_turn_with_the_molecule():
    structure = load("2cviA.pdb")
    turn, shift = Rotation.random(random_state=3).as_matrix(), np.array([0.3, -1.2, 2.0])
    full = complete(structure, structure.conformer(), hydrogens=True)
    assert full.placement is not None
    there = full.placement.place(full.xyz @ turn.T + shift)
    np.testing.assert_allclose(there, full.xyz @ turn.T + shift, atol=1e-9)


def test_rotors_lower_the_energy():
    """The rotors lower the energy, in the same way whatever the start, and never lengthen a bond."""
    structure = load("1ubi.pdb")
    model = EnergyModel.of(structure, structure.conformer())
    placement = model.completed.placement
    assert placement is not None
    ideal = placement.place(model.completed.xyz)
    turned = placement.turn(ideal, *model.parameters.nonbonded)
    np.testing.assert_array_equal(turned, placement.turn(ideal, *model.parameters.nonbonded))

    def energy(xyz: np.ndarray) -> float:
        model.parameters.context.setPositions(xyz)
        state = model.parameters.context.getState(getEnergy=True)
        return state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)

    assert energy(turned) < energy(ideal) - 50
    for rotor in placement.rotors:
        arms = turned[list(rotor.group.hydrogens)] - turned[rotor.group.parent]
        assert np.linalg.norm(arms, axis=1).max() < 0.14


@pytest.mark.parametrize("name", ["1ubi.pdb", "2cviA.pdb"])
def test_a_model_at_other_coordinates_is_that_of_these_coordinates_and_shares_the_system(name):
    structure = load(name)
    model = EnergyModel.of(structure, structure.conformer())
    assert model.at(structure.xyz) is model
    xyz = structure.xyz.copy()
    xyz[structure.residue_of == 40] += [0.01, 0.02, 0.0]
    other = model.at(xyz)
    assert other.parameters is model.parameters
    again = EnergyModel.of(replace(structure, xyz=xyz), structure.conformer())
    np.testing.assert_allclose(other.completed.xyz, again.completed.xyz, atol=1e-9)
    assert other.energy(xyz) == pytest.approx(again.energy(xyz), rel=1e-6)
    back = other.at(structure.xyz)
    assert back.energy(structure.xyz) == pytest.approx(model.energy(structure.xyz), rel=1e-6)
