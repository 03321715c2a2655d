"""The OpenMM clash term against a plain numpy evaluation from radii.py and the bond graph."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import openmm
import pytest
from openmm import app, unit

from geofold.molecule.vdw_radii import EXCLUDED_BONDS, POLAR, POLAR_ALLOWANCE, radius_of
from geofold.resources import find, forcefield_directory

XML = Path(forcefield_directory()) / "geofold_sterics.xml"
AMBER = "amber14/protein.ff14SB.xml"


def maker() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "examples" / "make_sterics_xml.py"
    spec = importlib.util.spec_from_file_location("make_sterics_xml", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def protonated(name: str) -> tuple[app.Topology, np.ndarray]:
    pdb = app.PDBFile(str(find("structures", name)))
    model = app.Modeller(pdb.topology, pdb.positions)
    model.deleteWater()
    model.addHydrogens(app.ForceField(AMBER), platform=openmm.Platform.getPlatformByName("Reference"))
    return model.topology, np.array(model.positions.value_in_unit(unit.nanometer))


def clash_only(topology: app.Topology) -> tuple[openmm.System, openmm.CustomNonbondedForce]:
    system = app.ForceField(AMBER, str(XML)).createSystem(topology, nonbondedMethod=app.NoCutoff, constraints=None)
    kept = [force for force in system.getForces() if isinstance(force, openmm.CustomNonbondedForce)]
    assert len(kept) == 1
    for index in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(index), openmm.CustomNonbondedForce):
            system.removeForce(index)
    return system, system.getForce(0)


def openmm_energy_and_forces(system: openmm.System, xyz: np.ndarray, k: float | None = None):
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(xyz)
    if k is not None:
        context.setParameter("geofold_k", k)
    state = context.getState(energy=True, forces=True)
    energy = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    return energy, state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


def near_in_bonds(topology: app.Topology, reach: int) -> np.ndarray:
    """Matrix (n, n), true where two atoms are at most ``reach`` bonds apart."""
    n = topology.getNumAtoms()
    adjacent = np.eye(n, dtype=np.float32)
    for a, b in topology.bonds():
        adjacent[a.index, b.index] = adjacent[b.index, a.index] = 1.0
    return np.linalg.matrix_power(adjacent, reach) > 0.0


def plain_energy_and_forces(topology: app.Topology, xyz: np.ndarray, k: float):
    elements = [atom.element.symbol for atom in topology.atoms()]
    radius = np.array([radius_of(symbol) for symbol in elements])
    polar = np.array([symbol.upper() in POLAR for symbol in elements], dtype=float)
    delta = xyz[:, None] - xyz[None]
    distance = np.linalg.norm(delta, axis=-1) + np.eye(len(xyz))
    overlap = radius[:, None] + radius - POLAR_ALLOWANCE * polar[:, None] * polar - distance
    counted = (overlap > 0) & ~near_in_bonds(topology, EXCLUDED_BONDS) & (radius[:, None] > 0) & (radius > 0)
    overlap = np.where(counted, overlap, 0.0)
    forces = (2.0 * k * overlap / distance)[..., None] * delta
    return 0.5 * k * (overlap**2).sum(), forces.sum(axis=1), int(np.count_nonzero(counted)) // 2


def squeezed(xyz: np.ndarray, scale: float) -> np.ndarray:
    """Coordinates with noise and pulled together, so that many atoms overlap, polar pairs included."""
    noise = np.random.default_rng(5).normal(scale=0.01, size=xyz.shape)
    return xyz.mean(axis=0) + scale * (xyz - xyz.mean(axis=0)) + noise


@pytest.mark.parametrize(("name", "scale"), [("5e5z.pdb", 0.7), ("1ubi.pdb", 1.0), ("1ubi.pdb", 0.9)])
def test_energy_and_forces_equal_the_plain_sum(name, scale):
    topology, native = protonated(name)
    xyz = squeezed(native, scale)
    system, _ = clash_only(topology)
    energy, forces = openmm_energy_and_forces(system, xyz)
    expected, expected_forces, pairs = plain_energy_and_forces(topology, xyz, maker().FORCE_CONSTANT)
    assert pairs > 10
    assert energy == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(forces, expected_forces, rtol=1e-6, atol=1e-6 * np.abs(expected_forces).max())


def test_hydrogens_are_inert_and_the_constant_is_a_parameter():
    topology, native = protonated("5e5z.pdb")
    xyz = squeezed(native, 0.7)
    system, _ = clash_only(topology)
    energy, forces = openmm_energy_and_forces(system, xyz)
    hydrogen = np.array([atom.element.symbol == "H" for atom in topology.atoms()])
    assert hydrogen.any() and (forces[hydrogen] == 0.0).all() and np.abs(forces[~hydrogen]).max() > 0.0
    doubled, _ = openmm_energy_and_forces(system, xyz, k=2 * maker().FORCE_CONSTANT)
    assert doubled == pytest.approx(2 * energy, rel=1e-12)


def test_every_atom_has_the_numbers_of_radii_py():
    topology, _ = protonated("1ubi.pdb")
    _, force = clash_only(topology)
    for atom in topology.atoms():
        symbol = atom.element.symbol
        assert force.getParticleParameters(atom.index) == (radius_of(symbol), float(symbol in POLAR))


def test_exclusions_match_those_of_amber_so_that_gpu_platforms_accept_both():
    topology, _ = protonated("1ubi.pdb")
    system = app.ForceField(AMBER, str(XML)).createSystem(topology)
    ours, amber = set(), set()
    for force in system.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            ours = {frozenset(force.getExclusionParticles(i)) for i in range(force.getNumExclusions())}
        elif isinstance(force, openmm.NonbondedForce):
            amber = {frozenset(force.getExceptionParameters(i)[:2]) for i in range(force.getNumExceptions())}
    assert ours == amber != set()


def test_committed_file_is_what_the_script_makes(tmp_path):
    out = tmp_path / "sterics.xml"
    maker().main(["--out", str(out)])
    assert out.read_text(encoding="utf-8") == XML.read_text(encoding="utf-8")
