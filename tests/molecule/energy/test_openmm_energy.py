"""Energy by OpenMM: the fast solvent against the official one, forces as torsion gradients, cut-out against whole."""

from __future__ import annotations

from functools import cache

import numpy as np
import openmm
import openmm.unit
import pytest
import torch

from geofold.molecule.energy import openmm_energy as energy
from geofold.molecule.energy import openmm_gradient
from geofold.molecule.energy.amber import AMBER14
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.openmm_gradient import OpenMMPotential
from geofold.molecule.io.read import read
from geofold.molecule.kinematics.forward import Kinematics, positions
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree
from geofold.resources import find

KJ, NM, MD = openmm.unit.kilojoule_per_mole, openmm.unit.nanometer, openmm.unit.md_unit_system
PEPTIDE, LOOP = ("1yjp.cif", 0, 6), ("1ajj.pdb", 27, 33)


@cache
def build(name: str, first: int, last: int) -> tuple[Structure, TorsionTree, Kinematics, EnergyModel]:
    structure = read(find("structures", name))
    tree = torsion_tree(structure, first, last)
    return structure, tree, Kinematics.of(tree), EnergyModel.of(structure, tree.conformer)


@pytest.fixture
def reference_platform(monkeypatch):
    """Double precision, so that finite differences mean something."""
    for module in (energy, openmm_gradient):
        monkeypatch.setattr(module, "platform", lambda: openmm.Platform.getPlatformByName("Reference"))


def evaluate(system, xyz: np.ndarray) -> tuple[float, np.ndarray]:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(xyz)
    state = context.getState(getEnergy=True, getForces=True)
    return state.getPotentialEnergy().value_in_unit(KJ), state.getForces(asNumpy=True).value_in_unit(KJ / NM)


def local(
    structure: Structure, kinematics: Kinematics, tree: TorsionTree, seed: int, size: float, batch: int = 1
) -> torch.Tensor:
    xyz = torch.as_tensor(structure.xyz)[kinematics.atoms].expand(batch, -1, -1)
    return positions(
        kinematics, xyz, torch.as_tensor(np.random.default_rng(seed).uniform(-size, size, (batch, len(tree))))
    )


def whole(structure: Structure, kinematics: Kinematics, moved: torch.Tensor) -> np.ndarray:
    xyz = structure.xyz.copy()
    xyz[kinematics.atoms.numpy()] = moved.detach().numpy()
    return xyz


def moving(structure: Structure, tree: TorsionTree) -> np.ndarray:
    return np.isin(np.arange(len(structure)), tree.atoms)


@pytest.mark.parametrize("case", [PEPTIDE, ("1a1p.pdb", 0, 12)], ids=str)
def test_native_solvent_equals_the_official_one(case):
    """GBSAOBCForce with amber's radii against the CustomGBForce of implicit/obc2.xml: energy and every force."""
    structure, tree, kinematics, model = build(*case)
    for seed, size in ((0, 0.0), (1, 0.05), (2, 0.3)):
        xyz = model.positions(whole(structure, kinematics, local(structure, kinematics, tree, seed, size)[0]))
        official = AMBER14.official_system(model.completed.topology)
        fast = AMBER14.system(model.completed.topology)
        assert not any(isinstance(f, openmm.CustomGBForce) for f in fast.getForces())
        (e0, f0), (e1, f1) = evaluate(official, xyz), evaluate(fast, xyz)
        assert e1 == pytest.approx(e0, rel=1e-6)
        assert np.abs(f1 - f0).max() <= 1e-6 * np.abs(f0).max()
    # the solvent is there at all: without it the energy is another one
    bare = AMBER14.official_system(model.completed.topology)
    index = next(i for i, f in enumerate(bare.getForces()) if isinstance(f, openmm.CustomGBForce))
    bare.removeForce(index)
    assert abs(evaluate(bare, xyz)[0] - e0) > 50


def test_model_energy_is_that_of_the_whole_system():
    structure, tree, kinematics, model = build(*PEPTIDE)
    xyz = whole(structure, kinematics, local(structure, kinematics, tree, 3, 0.1)[0])
    want = evaluate(AMBER14.official_system(model.completed.topology), model.positions(xyz))[0]
    assert model.energy(xyz) == pytest.approx(want, rel=1e-5)


def test_input_coordinates_are_kept():
    structure, _, _, model = build(*LOOP)
    known = model.completed.source >= 0
    assert np.array_equal(model.positions(structure.xyz)[known], structure.xyz[model.completed.source[known]])
    assert np.array_equal(model.positions(structure.xyz), model.completed.xyz)


@pytest.mark.parametrize("case", [PEPTIDE, ("1ubi.pdb", 60, 75)], ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_added_hydrogens_ride_rigidly(case, seed):
    """After large turns of all torsions, side chains too, every bond and angle with an added atom is as before."""
    structure, tree, kinematics, model = build(*case)
    after = model.positions(whole(structure, kinematics, local(structure, kinematics, tree, seed, 2.0)[0]))
    before = model.completed.xyz
    bonded: dict[int, list[int]] = {}
    for one, two in model.completed.topology.bonds():
        bonded.setdefault(one.index, []).append(two.index)
        bonded.setdefault(two.index, []).append(one.index)
    pairs = {(a, b) for a, row in bonded.items() for b in row}
    pairs |= {(a, b) for row in bonded.values() for a in row for b in row}
    i, j = np.array(sorted(p for p in pairs if p[0] < p[1])).T
    change = np.linalg.norm(after[i] - after[j], axis=1) - np.linalg.norm(before[i] - before[j], axis=1)
    assert np.abs(change).max() < 1e-9
    assert len(model.added_particles) == int((model.completed.source < 0).sum()) > 10
    assert np.abs(after - before)[model.added_particles[:, 0]].max() > 0.05


@pytest.mark.parametrize("case", [PEPTIDE, LOOP], ids=str)
def test_torch_particles_equal_numpy_positions(case):
    structure, tree, kinematics, model = build(*case)
    potential = OpenMMPotential(model, structure.xyz, moving(structure, tree))
    moved = local(structure, kinematics, tree, 4, 0.4, 2)
    particles = potential.particles(moved, kinematics.atoms.numpy())
    for row in range(2):
        want = model.positions(whole(structure, kinematics, moved[row]))
        np.testing.assert_allclose(particles[row].numpy(), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("case", [PEPTIDE, LOOP], ids=str)
def test_torsion_gradient_against_finite_differences(case, reference_platform):
    """dE/dtheta = -J'F through kinematics and riding hydrogens."""
    structure, tree, kinematics, model = build(*case)
    potential = OpenMMPotential(model, structure.xyz, moving(structure, tree))
    xyz, atoms = torch.as_tensor(structure.xyz)[kinematics.atoms][None], kinematics.atoms.numpy()
    delta = torch.as_tensor(np.random.default_rng(0).uniform(-0.02, 0.02, (1, len(tree)))).requires_grad_(True)

    def value(theta: torch.Tensor) -> torch.Tensor:
        return potential.of_atoms(positions(kinematics, xyz, theta), atoms)

    (gradient,) = torch.autograd.grad(value(delta).sum(), delta)
    rng = np.random.default_rng(1)
    for _ in range(4):
        v = torch.as_tensor(rng.normal(size=delta.shape))
        h = 1e-5
        slope = (value(delta.detach() + h * v) - value(delta.detach() - h * v)) / (2 * h)
        assert float((gradient * v).sum()) == pytest.approx(float(slope), rel=1e-4, abs=1e-3)


def test_rows_of_a_batch_have_their_own_energy_and_gradient():
    structure, tree, kinematics, model = build(*PEPTIDE)
    potential = OpenMMPotential(model, structure.xyz, moving(structure, tree))
    moved = local(structure, kinematics, tree, 5, 0.2, 3)
    leaf, weight = moved.clone().requires_grad_(True), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    together = potential.of_atoms(leaf, kinematics.atoms.numpy())
    (gradient,) = torch.autograd.grad((together * weight).sum(), leaf)
    for row in range(3):
        alone = moved[row : row + 1].clone().requires_grad_(True)
        own = potential.of_atoms(alone, kinematics.atoms.numpy())
        assert float(own.detach()) == float(together[row].detach())
        (slope,) = torch.autograd.grad(own.sum(), alone)
        torch.testing.assert_close(gradient[row], weight[row] * slope[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_cut_out_gives_the_energy_difference_of_the_whole_system(seed, reference_platform):
    """Energy difference of a small move, side chains included, within a few per cent."""
    structure, tree, kinematics, model = build(*LOOP)
    potential = OpenMMPotential(model, structure.xyz, moving(structure, tree), reach=1.2)
    assert len(potential.kept) < len(model.completed.xyz)
    rest = torch.as_tensor(structure.xyz)[kinematics.atoms][None]
    moved = local(structure, kinematics, tree, seed, 0.03)
    atoms = kinematics.atoms.numpy()
    cut = float(potential.of_atoms(moved, atoms) - potential.of_atoms(rest, atoms))
    # the open loop pulls at its anchor: those bonds and angles, which closure keeps, are not in the cut-out
    full = bonded_free(model, whole(structure, kinematics, moved[0])) - bonded_free(model, structure.xyz)
    assert abs(full) > 1 and cut == pytest.approx(full, rel=0.05, abs=0.5)


def bonded_free(model: EnergyModel, xyz: np.ndarray) -> float:
    """Energy of the whole system without bond and angle terms."""
    system = AMBER14.system(model.completed.topology)
    for index in reversed(range(system.getNumForces())):
        if isinstance(system.getForce(index), openmm.HarmonicBondForce | openmm.HarmonicAngleForce):
            system.removeForce(index)
    return evaluate(system, model.positions(xyz))[0]


def test_atoms_in_the_very_same_place_are_worse_than_close_ones():
    structure, tree, kinematics, model = build(*LOOP)
    here = structure.xyz.copy()
    one = int(np.flatnonzero(np.isin(np.arange(len(here)), tree.atoms) & (structure.element == "C"))[-1])
    fixed = np.flatnonzero(~np.isin(np.arange(len(here)), tree.atoms) & structure.conformer())
    apart = np.linalg.norm(here[fixed] - here[one], axis=1)
    other = int(fixed[np.where(apart > 0.5, apart, np.inf).argmin()])  # no bond between them
    moving = np.isin(np.arange(len(here)), tree.atoms)
    potential = OpenMMPotential(model, here, moving)
    told = []
    for apart in (0.3, 0.03, 0.001, 0.0):
        local = torch.as_tensor(here)[kinematics.atoms].clone()
        local[kinematics.atoms.tolist().index(one)] = torch.as_tensor(here[other] + [apart, 0.0, 0.0])
        energy, gradient = potential.energy_and_gradient(local[None], kinematics.atoms.numpy())
        assert bool(torch.isfinite(energy).all() and torch.isfinite(gradient).all())
        told.append(float(energy[0]))
    assert told == sorted(told) and told[-1] > 1e3 * told[-2]
    whole = here.copy()
    whole[one] = here[other]
    assert model.energy(whole) == np.inf


def test_fixed_atoms_that_coincide_take_no_direction_from_the_others():
    structure, tree, kinematics, model = build(*LOOP)
    moving = np.isin(np.arange(len(structure)), tree.atoms)
    clean = OpenMMPotential(model, structure.xyz, moving)
    source, residue = model.completed.source[clean.kept], model.completed.residue
    fixed = [int(a) for a in source if a >= 0 and not moving[a] and structure.name[a] == "CB"]
    one, other = fixed[0], next(a for a in fixed if abs(structure.residue_of[a] - structure.residue_of[fixed[0]]) > 2)
    crowded = structure.xyz.copy()
    crowded[one] = crowded[other]
    potential = OpenMMPotential(model, crowded, moving)
    left_out = set(structure.residue_of[[one, other]].tolist())
    assert left_out <= set(residue[clean.kept].tolist()) and not left_out & set(residue[potential.kept].tolist())
    local = torch.as_tensor(crowded)[kinematics.atoms][None]
    energy, gradient = potential.energy_and_gradient(local, kinematics.atoms.numpy())
    assert abs(float(energy[0])) < 1e9 and float(gradient.abs().max()) > 1.0


def test_same_input_gives_the_same_bits():
    structure = read(find("structures", "1ajj.pdb"))
    tree = torsion_tree(structure, 27, 33)
    kinematics = Kinematics.of(tree)
    results = []
    for _ in range(2):
        model = EnergyModel.of(structure, tree.conformer)
        potential = OpenMMPotential(model, structure.xyz, moving(structure, tree))
        moved = local(structure, kinematics, tree, 6, 0.05).requires_grad_(True)
        value = potential.of_atoms(moved, kinematics.atoms.numpy())
        (gradient,) = torch.autograd.grad(value.sum(), moved)
        results.append((model.completed.xyz, model.energy(structure.xyz), float(value.detach()), gradient.numpy()))
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


def test_lennard_jones_of_loop_and_surroundings():
    """Against a sum over all pairs with the force field's own parameters and exceptions."""
    structure, tree, kinematics, model = build(*LOOP)
    residues = np.zeros(len(structure.residues), dtype=bool)
    residues[27:34] = True
    xyz = whole(structure, kinematics, local(structure, kinematics, tree, 7, 0.05)[0])
    force = next(f for f in model.system.getForces() if isinstance(f, openmm.NonbondedForce))
    n = force.getNumParticles()
    sigma, epsilon = np.array(
        [[p.value_in_unit_system(MD) for p in force.getParticleParameters(i)[1:]] for i in range(n)]
    ).T
    place, on = model.positions(xyz), residues[model.completed.residue]
    r = np.linalg.norm(place[:, None] - place, axis=-1) + np.eye(n)
    s = (sigma[:, None] + sigma) / 2 / r
    pair = 4 * np.sqrt(epsilon[:, None] * epsilon) * (s**12 - s**6)
    for k in range(force.getNumExceptions()):
        a, b = force.getExceptionParameters(k)[:2]
        pair[a, b] = pair[b, a] = 0.0
    assert model.lennard_jones(xyz, residues) == pytest.approx(float(pair[np.ix_(on, ~on)].sum()), rel=1e-4)
    assert model.lennard_jones(xyz, ~residues) == pytest.approx(model.lennard_jones(xyz, residues), rel=1e-6)
    assert model.lennard_jones(xyz, np.zeros_like(residues)) == model.lennard_jones(xyz, np.ones_like(residues)) == 0
