"""Make a structure ready, put it into water, and simulate it with OpenMM for 100 steps.

python examples/06_simulate.py
"""

from __future__ import annotations

import math

from openmm import LangevinMiddleIntegrator, unit
from openmm.app import PME, ForceField, HBonds, Simulation

import geofold as gf
from geofold import resources


def main() -> None:
    """Simulate crambin, whose file has alternate locations and hydrogens."""
    result = gf.prepare(resources.find("structures", "1ejg.pdb"), ph=7.0, energy=False)
    result.summary()
    field = ForceField("amber14-all.xml", "amber14/tip3pfb.xml")
    modeller = result.to_openmm()
    modeller.addSolvent(field, padding=0.6 * unit.nanometer, ionicStrength=0.1 * unit.molar)
    system = field.createSystem(modeller.topology, nonbondedMethod=PME, nonbondedCutoff=0.8 * unit.nanometer,
                                constraints=HBonds)  # fmt: skip
    integrator = LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 0.002 * unit.picosecond)
    simulation = Simulation(modeller.topology, system, integrator)
    simulation.context.setPositions(modeller.positions)
    simulation.minimizeEnergy(maxIterations=50)
    simulation.step(100)
    energy = simulation.context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    print(f"{system.getNumParticles()} particles, 100 steps, finite energy: {math.isfinite(energy)}")


if __name__ == "__main__":
    main()
