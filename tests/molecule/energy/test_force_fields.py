"""Each registered force field: finite energies, gradients, and a part of its System with all of its terms."""

from __future__ import annotations

from functools import cache

import numpy as np
import openmm
import openmm.unit
import pytest
import torch

from geofold.errors import ForceFieldError
from geofold.molecule.energy import openmm_energy, openmm_gradient
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS, ForceField, labelled_force_field
from geofold.molecule.energy.openmm_energy import EnergyModel, SystemParameters, force_of
from geofold.molecule.energy.openmm_gradient import OpenMMPotential
from geofold.molecule.energy.subsystem import COVALENT, subsystem
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.forward import Kinematics, positions
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree
from geofold.resources import find

KJ, NM = openmm.unit.kilojoule_per_mole, openmm.unit.nanometer
FIELDS = pytest.mark.parametrize("field", FORCE_FIELDS.values(), ids=FORCE_FIELDS)


@cache
def build(field: ForceField) -> tuple[Structure, TorsionTree, Kinematics, EnergyModel]:
    structure = read(find("structures", "1ajj.pdb"))
    tree = torsion_tree(structure, 27, 33)
    return structure, tree, Kinematics.of(tree), EnergyModel.of(structure, tree.conformer, force_field=field)


@pytest.fixture
def reference_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Double precision, so that finite differences mean something."""
    for module in (openmm_energy, openmm_gradient):
        monkeypatch.setattr(module, "platform", lambda: openmm.Platform.getPlatformByName("Reference"))


def evaluate(system: openmm.System, xyz: np.ndarray) -> tuple[float, np.ndarray]:
    """Energy (kJ/mol) and forces (p, 3) in kJ/mol/nm."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(xyz)
    state = context.getState(getEnergy=True, getForces=True)
    return state.getPotentialEnergy().value_in_unit(KJ), state.getForces(asNumpy=True).value_in_unit(KJ / NM)


def moving_atoms(structure: Structure, tree: TorsionTree) -> np.ndarray:
    return np.isin(np.arange(len(structure)), tree.atoms)


def without(system: openmm.System, *names: str) -> openmm.System:
    """Copy of a System without classes of force."""
    copy = openmm.XmlSerializer.clone(system)
    for index in reversed(range(copy.getNumForces())):
        if type(copy.getForce(index)).__name__ in names:
            copy.removeForce(index)
    return copy


@FIELDS
def test_native_solvent_equals_the_official_one(field: ForceField) -> None:
    structure, _, _, model = build(field)
    xyz, topology = model.positions(structure.xyz), model.completed.topology
    (official, strong), (native, weak) = (evaluate(s, xyz) for s in (field.official_system(topology), model.system))
    assert np.isfinite(native) and native == pytest.approx(official, rel=1e-6)
    assert np.abs(strong - weak).max() <= 1e-6 * np.abs(strong).max()
    assert model.energy(structure.xyz) == pytest.approx(native, rel=1e-4)
    assert model.force_field is field


def test_force_fields_differ() -> None:
    energies = [build(field)[3].energy(build(field)[0].xyz) for field in FORCE_FIELDS.values()]
    assert np.abs(np.diff(sorted(energies))).min() > 10


@FIELDS
def test_torsion_gradient_against_finite_differences(field: ForceField, reference_platform: None) -> None:
    structure, tree, kin, model = build(field)
    potential = OpenMMPotential(model, structure.xyz, moving_atoms(structure, tree))
    xyz, atoms = torch.as_tensor(structure.xyz)[kin.atoms][None], kin.atoms.numpy()
    noise = np.random.default_rng(0)
    delta = torch.as_tensor(noise.uniform(-0.02, 0.02, (1, len(tree)))).requires_grad_(True)

    def value(theta: torch.Tensor) -> torch.Tensor:
        return potential.of_atoms(positions(kin, xyz, theta), atoms)

    (gradient,) = torch.autograd.grad(value(delta).sum(), delta)
    for _ in range(4):
        direction = torch.as_tensor(noise.normal(size=delta.shape))
        step = 1e-5 * direction
        slope = (value(delta.detach() + step) - value(delta.detach() - step)) / 2e-5
        assert float((gradient * direction).sum()) == pytest.approx(float(slope), rel=1e-4, abs=1e-3)


@FIELDS
def test_the_part_has_the_gradient_of_the_whole_force_field(field: ForceField, reference_platform: None) -> None:
    """With all particles within reach, moving ones feel exactly the full forces, bonds and angles excluded."""
    structure, tree, _, model = build(field)
    moving = moving_atoms(structure, tree)
    placed = model.positions(structure.xyz)
    forces = evaluate(without(model.system, *COVALENT), placed)[1]

    def difference(reach: float) -> float:
        potential = OpenMMPotential(model, structure.xyz, moving, reach=reach)
        leaf = torch.as_tensor(placed)[None].requires_grad_(True)
        (gradient,) = torch.autograd.grad(potential.of_particles(leaf).sum(), leaf)
        on = potential._on
        assert on.sum() > len(tree.atoms)
        return float(np.abs(gradient[0].numpy()[on] + forces[on]).max() / np.abs(forces[on]).max())

    assert difference(10.0) < 1e-9
    assert 1e-9 < difference(1.2) < 0.02


def test_correction_maps_are_copied_where_they_act() -> None:
    structure, tree, _, model = build(FORCE_FIELDS["amber19"])
    potential = OpenMMPotential(model, structure.xyz, moving_atoms(structure, tree))
    masses = [1.0] * len(potential.kept)
    part = subsystem(model.parameters.terms, potential.kept, potential._on, masses, COVALENT)
    maps, whole = (force_of(s, openmm.CMAPTorsionForce) for s in (part, model.system))
    # residues 27 to 33, and one at each end whose phi or psi has a moving atom
    assert 7 <= maps.getNumTorsions() <= 9 < whole.getNumTorsions()
    placed = model.positions(structure.xyz)
    missing = evaluate(without(model.system, "CMAPTorsionForce"), placed)[1]
    full = evaluate(model.system, placed)[1]
    assert np.abs(full - missing)[potential._on].max() > 10  # a part without the maps would be noticed


def unknown_force(model: EnergyModel) -> openmm.Force:
    force = openmm.CustomTorsionForce("k*(1 + cos(theta))")
    force.addPerTorsionParameter("k")
    force.addTorsion(0, 1, 2, 3, [1.0])
    return force


def test_a_force_that_cannot_be_copied_is_refused() -> None:
    structure, tree, _, model = build(AMBER14)
    odd = EnergyModel(
        model.completed,
        SystemParameters(openmm.XmlSerializer.clone(model.system)),
        model.added_particles,
        ForceField("odd", "Odd", ()),
    )
    odd.system.addForce(unknown_force(odd))
    assert np.isfinite(odd.energy(structure.xyz))  # the whole System is evaluated as it is
    with pytest.raises(ForceFieldError, match="a CustomTorsionForce, which cannot") as raised:
        OpenMMPotential(odd, structure.xyz, moving_atoms(structure, tree))
    assert "PeriodicTorsionForce" in raised.value.expected and "--no-energy" in raised.value.remedy


def test_the_official_solvent_cannot_be_copied_either() -> None:
    structure, tree, _, model = build(AMBER14)
    official = EnergyModel(
        model.completed, SystemParameters(AMBER14.official_system(model.completed.topology)), model.added_particles
    )
    with pytest.raises(ForceFieldError, match="CustomGBForce"):
        OpenMMPotential(official, structure.xyz, moving_atoms(structure, tree))


def test_parameter_offsets_are_refused() -> None:
    structure, tree, _, model = build(AMBER14)
    system = openmm.XmlSerializer.clone(model.system)
    force = force_of(system, openmm.NonbondedForce)
    force.addGlobalParameter("scale", 0.0)
    force.addParticleParameterOffset("scale", 0, 1.0, 0.0, 0.0)
    with pytest.raises(ForceFieldError, match="parameter offsets"):
        OpenMMPotential(
            EnergyModel(model.completed, SystemParameters(system), model.added_particles),
            structure.xyz,
            moving_atoms(structure, tree),
        )


def test_a_force_field_in_vacuum_has_no_solvent() -> None:
    structure, tree, _, model = build(AMBER14)
    vacuum = ForceField("vacuum", "ff14SB", AMBER14.files, implicit_solvent=None)
    system = vacuum.system(model.completed.topology)
    assert vacuum.label == "ff14SB"
    with pytest.raises(ForceFieldError, match="without a GBSAOBCForce"):
        force_of(system, openmm.GBSAOBCForce)
    bare = EnergyModel(model.completed, SystemParameters(system), model.added_particles, vacuum)
    potential = OpenMMPotential(bare, structure.xyz, moving_atoms(structure, tree))
    assert bool(torch.isfinite(potential.of_particles(torch.as_tensor(bare.positions(structure.xyz))[None])).all())


def test_an_unknown_solvent_is_refused() -> None:
    with pytest.raises(ForceFieldError, match="implicit solvent GBn2 of force field mine; expected OBC2"):
        ForceField("mine", "Mine", AMBER14.files, implicit_solvent="GBn2")


def test_labels_lead_to_their_force_fields() -> None:
    assert [labelled_force_field(field.label) for field in FORCE_FIELDS.values()] == list(FORCE_FIELDS.values())
    assert labelled_force_field(None) is AMBER14
