"""Simulated annealing with OpenMM: a Langevin thermostat, cooling in stages, and guards of omegas and chiral centres.

Bonds to hydrogen are rigid and hydrogens weigh 4 Da (hydrogen mass repartitioning), so that a step can be 4 fs long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.structure import Structure

GUARD, GUARD_ENERGY = "guard", "guard*(1 - cos(theta - aim))"
GUARD_STRENGTH = 200.0
"""Half the barrier (kJ/mol) between cis and trans under a guard; more than twice that of amber14."""
HYDROGEN_MASS = 4.0
"""Mass of a hydrogen (Da); what is added is taken from the heavy atom that it is bonded to."""
TIME_STEP, FRICTION = 0.004, 2.0
"""Time step (ps) and friction (1/ps) of the Langevin dynamics."""
CHIRAL_SIDE_CHAINS = {"THR": ("CB", "CA", "OG1", "CG2"), "ILE": ("CB", "CA", "CG1", "CG2")}
"""Chiral centres other than CA, with their three neighbours."""


class Schedule(NamedTuple):
    """Schedule of an annealing round.

    Attributes
    ----------
    hot, cold : float
        Temperatures (K) at the start and at the end of cooling.
    hot_steps, cooling_steps : int
        Time steps at the hot temperature and during cooling.
    stages : int
        Number of temperatures during cooling.
    rounds : int
        Maximum number of rounds.
    tolerance : float
        Tolerance (kJ/mol/nm) of the minimisation that ends a round.
    """

    hot: float = 600.0
    cold: float = 300.0
    hot_steps: int = 200
    cooling_steps: int = 300
    stages: int = 10
    rounds: int = 4
    tolerance: float = 10.0


def cool(thermostat: Any, schedule: Schedule, factor: int = 1) -> None:
    """Run the cooling steps of a round, `factor` times as many as in the schedule."""
    for stage in range(schedule.stages):
        thermostat.setTemperature(schedule.hot + (schedule.cold - schedule.hot) * (stage + 1) / schedule.stages)
        thermostat.step(factor * schedule.cooling_steps // schedule.stages)


def make_langevin_context(system: Any, is_hydrogen: NDArray[np.bool_], seed: int) -> Any:
    """Make a context for the dynamics, with rigid bonds to heavy hydrogens.

    Parameters
    ----------
    system : openmm.System
        Is copied.
    is_hydrogen : (p,) bool
        Particles that are hydrogens.
    seed : int
        Seed of the thermostat.
    """
    import openmm
    from openmm.unit import dalton

    system = openmm.XmlSerializer.clone(system)
    bonds = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
    for index in range(bonds.getNumBonds()):
        i, j, length, _ = bonds.getBondParameters(index)
        if not (is_hydrogen[i] or is_hydrogen[j]):
            continue
        hydrogen, heavy = (i, j) if is_hydrogen[i] else (j, i)
        system.addConstraint(i, j, length)
        masses = [system.getParticleMass(p).value_in_unit(dalton) for p in (hydrogen, heavy)]
        system.setParticleMass(heavy, masses[1] - (HYDROGEN_MASS - masses[0]))
        system.setParticleMass(hydrogen, HYDROGEN_MASS)
    integrator = openmm.LangevinMiddleIntegrator(0.0, FRICTION, TIME_STEP)
    # zero means a random seed in OpenMM
    integrator.setRandomNumberSeed(seed + 1)
    return openmm.Context(system, integrator, platform())


def make_guard(xyz: NDArray[np.float64], torsions: Iterable[list[int]], strength: float = 0.0) -> Any:
    """Make a force that holds torsions at their present values.

    Parameters
    ----------
    xyz : (p, 3) float
        Coordinates (nm) at which the torsions are measured.
    torsions : iterable of list of int
        Four particles each.
    strength : float
        Initial value (kJ/mol) of the context parameter `GUARD`.
    """
    import openmm

    force = openmm.CustomTorsionForce(GUARD_ENERGY)
    force.addGlobalParameter(GUARD, strength)
    force.addPerTorsionParameter("aim")
    for particles in torsions:
        force.addTorsion(*particles, [float(dihedral_of_points(torch.as_tensor(xyz[particles])))])
    return force


def find_guarded_torsions(structure: Structure, conformer: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Yield four atoms for each omega, each CA with a CB, and the CB of threonine and isoleucine.

    Chiral centres are held by improper torsions; `conformer` (n_atoms,) selects the atoms of one conformer.
    """
    for k, residue in enumerate(structure.residues):
        torsions = [[(k, name) for name in ("CA", "N", "C", "CB")]]
        if residue.resname in CHIRAL_SIDE_CHAINS:
            torsions.append([(k, name) for name in CHIRAL_SIDE_CHAINS[residue.resname]])
        if k and structure.bonded(k - 1, k):
            torsions.append([(k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA")])
        for names in torsions:
            atoms = [a for r, name in names if (a := structure.atom(r, name, conformer)) is not None]
            if len(atoms) == 4:
                yield atoms
