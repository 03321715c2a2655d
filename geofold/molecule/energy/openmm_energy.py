"""Energy of a force field by OpenMM; `openmm_gradient` makes it a torch function.

Units: nm, kJ/mol. This module does not import PyTorch, so energies are available before that import completes.

Added hydrogens move rigidly with the frame of their heavy neighbours, so that energies before and after a move differ
by the move alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.errors import ForceFieldError
from geofold.geometry import frames_by_normal
from geofold.molecule.energy.all_atom import Completed, complete, platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.hydrogens import PH, bonded_particles
from geofold.molecule.energy.subsystem import SystemTerms
from geofold.molecule.structure import Structure


@dataclass(eq=False)
class SystemParameters:
    """An OpenMM System with what is made of it once.

    Attributes
    ----------
    system : openmm.System
    """

    system: Any

    @cached_property
    def context(self) -> Any:
        """Context that evaluates the whole System."""
        import openmm

        return openmm.Context(self.system, openmm.VerletIntegrator(0.001), platform())

    @cached_property
    def terms(self) -> SystemTerms:
        """Terms of the System, of which parts are made."""
        return SystemTerms(self.system)

    @cached_property
    def nonbonded(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Charges, Lennard-Jones diameters (nm) and depths (kJ/mol) of the particles, each (p,)."""
        import openmm

        force = force_of(self.system, openmm.NonbondedForce)
        # the units are OpenMM's own (e, nm, kJ/mol); a conversion of each value would take half a second
        rows = [[value._value for value in force.getParticleParameters(p)] for p in range(force.getNumParticles())]
        charge, sigma, epsilon = np.array(rows, dtype=float).reshape(-1, 3).T
        return charge, sigma, epsilon


@dataclass(frozen=True)
class EnergyModel:
    """Force-field energy of a protein.

    Attributes
    ----------
    completed : Completed
        All-atom model and the origin of its particles.
    parameters : SystemParameters
        Of the force field, with OpenMM's native solvent.
    added_particles : (q, 4) int
        Added particles and the three particles that define the frame of each.
    force_field : ForceField
        Force field of the system.
    """

    completed: Completed
    parameters: SystemParameters
    added_particles: NDArray[np.int64]
    force_field: ForceField = AMBER14

    @property
    def system(self) -> Any:
        """System of the force field (openmm.System)."""
        return self.parameters.system

    @classmethod
    def of(
        cls,
        structure: Structure,
        conformer: NDArray[np.bool_],
        *,
        seed: int = 0,
        only: Collection[int] | None = None,
        force_field: ForceField = AMBER14,
        ph: float = PH,
    ) -> EnergyModel:
        """Energy model of one conformer; hydrogens and missing atoms are added.

        Parameters
        ----------
        structure : Structure
            Input structure.
        conformer : (n_atoms,) bool
            Atoms of the conformer.
        seed : int
            Seed of the added atoms.
        only : collection of int or None
            Residues to include, see `geofold.molecule.energy.all_atom.region`; None for all.
        force_field : ForceField
            Force field of hydrogens and energy.
        ph : float
            By which hydrogens are added.

        Raises
        ------
        ForceFieldError
            If a residue cannot be completed or has no template.
        """
        completed = complete(structure, conformer, hydrogens=True, seed=seed, only=only, force_field=force_field, ph=ph)
        parameters = SystemParameters(force_field.system(completed.topology))
        model = cls(completed, parameters, _riders(completed), force_field)
        return model._with_rotors_turned(completed.xyz)

    def at(self, xyz: NDArray[np.float64]) -> EnergyModel:
        """Model of the same atoms with its hydrogens placed for other coordinates; it shares the System.

        Hydrogens depend on these coordinates alone, so equal coordinates have equal energies.

        Parameters
        ----------
        xyz : (n_atoms, 3)
            Coordinates of the structure (nm).
        """
        placed = self.positions(xyz)
        if np.array_equal(placed, self.completed.xyz):
            return self
        if self.completed.placement is not None:
            placed = self.completed.placement.place(placed)
        return self._with_rotors_turned(placed)

    def _with_rotors_turned(self, placed: NDArray[np.float64]) -> EnergyModel:
        """Model at particles (p, 3), with hydroxyls and the like at their torsions of lowest energy."""
        if self.completed.placement is not None:
            placed = self.completed.placement.turn(placed, *self.parameters.nonbonded)
        return replace(self, completed=replace(self.completed, xyz=placed))

    @property
    def _context(self) -> Any:
        return self.parameters.context

    def positions(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Particle coordinates (p, 3) for coordinates (n_atoms, 3) of the structure, all in nm."""
        placed = self.completed.xyz.copy()
        known = np.flatnonzero(self.completed.source >= 0)
        placed[known] = xyz[self.completed.source[known]]
        if len(self.added_particles):
            before, after = (
                frames_by_normal(*(whole[self.added_particles[:, k]] for k in (1, 2, 3)))
                for whole in (self.completed.xyz, placed)
            )
            added, origin = self.added_particles[:, 0], self.added_particles[:, 1]
            lever = self.completed.xyz[added] - self.completed.xyz[origin]
            moved = placed[origin] + np.einsum("qij,qkj,qk->qi", after, before, lever)
            shift = np.abs(placed[self.added_particles[:, 1:]] - self.completed.xyz[self.added_particles[:, 1:]]).max(
                axis=(1, 2)
            )
            placed[added] = np.where(shift[:, None] < 1e-12, self.completed.xyz[added], moved)
        return placed

    def energy(self, xyz: NDArray[np.float64]) -> float:
        """Potential energy in kJ/mol of coordinates (n_atoms, 3) of the structure; infinite if atoms coincide."""
        import openmm.unit

        self._context.setPositions(self.positions(xyz))
        state = self._context.getState(getEnergy=True)
        energy = float(state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole))
        return energy if np.isfinite(energy) else np.inf  # OpenMM returns nan, which compares as false

    def lennard_jones(self, xyz: NDArray[np.float64], moving: NDArray[np.bool_]) -> float:
        """Lennard-Jones energy (kJ/mol) between moving and fixed atoms, evaluated by OpenMM.

        Parameters
        ----------
        xyz : (n_atoms, 3) float
            Coordinates of the structure, nm.
        moving : (n_residues,) bool
            Moving residues, including their added hydrogens.
        """
        import openmm
        import openmm.unit

        on = moving[self.completed.residue]
        if not on.any() or on.all():
            return 0.0
        force = openmm.CustomNonbondedForce("4*sqrt(e1*e2)*((s/r)^12 - (s/r)^6); s = (s1 + s2)/2")
        force.addPerParticleParameter("s")
        force.addPerParticleParameter("e")
        system = openmm.System()
        nonbonded = force_of(self.system, openmm.NonbondedForce)
        for i in range(system_size := nonbonded.getNumParticles()):
            _, sigma, epsilon = nonbonded.getParticleParameters(i)
            system.addParticle(1.0)
            force.addParticle([sigma, epsilon])
        for i in range(nonbonded.getNumExceptions()):
            one, two, _, _, _ = nonbonded.getExceptionParameters(i)
            force.addExclusion(one, two)
        indices = np.arange(system_size)
        force.addInteractionGroup(indices[on].tolist(), indices[~on].tolist())
        system.addForce(force)
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
        context.setPositions(self.positions(xyz))
        energy = context.getState(getEnergy=True).getPotentialEnergy()
        return float(energy.value_in_unit(openmm.unit.kilojoule_per_mole))


def force_of(system: Any, kind: type) -> Any:
    """Find the first force of a kind in an OpenMM System.

    Raises
    ------
    ForceFieldError
        If there is none.
    """
    for force in system.getForces():
        if isinstance(force, kind):
            return force
    raise ForceFieldError(
        f"a force field without a {kind.__name__}", "a force field that has one", "choose another force field"
    )


def _riders(completed: Completed) -> NDArray[np.int64]:
    """List added particles and their frames (q, 4): the nearest input particles along the bonds."""
    table = bonded_particles(completed.topology)
    known = completed.source >= 0
    rows = []
    for p in np.flatnonzero(~known):
        seen, frontier = {int(p)}, [int(p)]
        frame: list[int] = []
        while frontier and len(frame) < 3:
            frontier = [b for a in frontier for b in table[a] if b not in seen]
            seen.update(frontier)
            frame += [b for b in frontier if known[b]]
        if len(frame) >= 3:
            rows.append([int(p), *frame[:3]])
    return np.array(rows, dtype=np.int64).reshape(-1, 4)
