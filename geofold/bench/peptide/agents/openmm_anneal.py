"""Restrained simulated annealing with OpenMM, then minimisation, as a rival for peptide contacts.

Force field, restraint and timing are those of `openmm_min`: amber14 + OBC2 with hydrogens, one thread, a spring that is
linear at long distances; contexts are built before the clock starts. A round is Langevin dynamics (2 ps: hot while the
spring is tightened, then cooled in stages) and a minimisation with the restraint. Omegas and chiral centres are guarded
at their input values during the dynamics. A round that does not end clean (contact satisfied, no severe overlap, no
Ramachandran outlier, no new cis bond) is followed by a longer one from its end; the cleanest end counts.

Tuning split: hot + cooling steps of a round, tolerance of the minimiser (kJ/mol/nm), episodes, median wall seconds on a
busy machine, total number of rounds, clean ends:

    at most three rounds of one length      100 + 180, 10                   16    1.06    19    16
                                            200 + 300, 10                   16    0.95    19    15
                                            200 + 300, 30                   16    0.97    18    16
                                            400 + 600, 20                   16    1.43    18    16
    at most four, of increasing length      200 + 300, 10: the default      24    1.08    28    24
                                            200 + 300, 30                   24    0.73    30    23

Dynamics without charges and solvent is three times as fast but ends in outliers. No setting made a cis bond or changed
a chirality.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.metrics import measure
from geofold.bench.common.annealing import (
    GUARD,
    GUARD_STRENGTH,
    Schedule,
    cool,
    find_guarded_torsions,
    make_guard,
    make_langevin_context,
)
from geofold.bench.common.openmm_min import (
    AIM_INSIDE,
    LINEAR_BEYOND,
    MARGIN,
    RESTRAINT,
    STRENGTH_PARAMETER,
    Outcome,
    index_particles,
    put_back,
    read_positions,
)
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree

Floats = NDArray[np.float64]
SPRING_CONSTANTS = (1e3, 3e3, 1e4, 1e4)
"""Spring constants (kJ/mol/nm^2) of the four quarters of the hot dynamics."""
FINAL_CONSTANTS = (1e4, 3e4, 1e5)
"""Spring constants (kJ/mol/nm^2) of the minimisations; the next is tried while a contact is not satisfied."""
FIRST_MINIMISATION = (100.0, 50)
"""Tolerance (kJ/mol/nm) and iterations of an initial minimisation, since added hydrogens may overlap."""
DEFAULT_SCHEDULE = Schedule()


def anneal_to_contact(
    structure: Structure,
    contacts: tuple[Contact, ...],
    *,
    seed: int = 0,
    schedule: Schedule = DEFAULT_SCHEDULE,
    force_field: ForceField = AMBER14,
) -> Outcome:
    """Anneal a whole peptide until its contacts are satisfied.

    Parameters
    ----------
    structure : Structure
        One chain.
    contacts : tuple of Contact
        All of them are to be satisfied at the same time.
    seed : int
        Seed of the completion, the velocities and the thermostat.
    schedule : Schedule
        Temperatures, steps and rounds.
    force_field : ForceField
        Force field of the protein.

    Returns
    -------
    Outcome
        The first clean end, otherwise the one with the fewest faults; `stages` is the number of rounds.

    Raises
    ------
    ContactError
        If a contact names an atom that is not in the force field's model.
    ForceFieldError
        If the structure cannot be completed or parameterised.
    """
    import openmm

    model = EnergyModel.of(structure, structure.conformer(), seed=seed, force_field=force_field)
    source = model.completed.source
    particle = index_particles(source, contacts)
    model.system.addForce(_spring(contacts, particle))
    torsions = find_guarded_torsions(structure, structure.conformer_mask)
    model.system.addForce(make_guard(model.completed.xyz, ([particle[atom] for atom in atoms] for atoms in torsions)))
    minimiser_context = openmm.Context(model.system, openmm.VerletIntegrator(0.001), platform())
    is_hydrogen = np.array([atom.element.symbol == "H" for atom in model.completed.topology.atoms()])
    langevin_context = make_langevin_context(model.system, is_hydrogen, seed)
    faults = _FaultCounter(structure, contacts)
    best, fewest, count = structure.xyz, np.inf, 0
    began = time.perf_counter()
    minimiser_context.setPositions(model.completed.xyz)
    openmm.LocalEnergyMinimizer.minimize(minimiser_context, *FIRST_MINIMISATION)
    positions = read_positions(minimiser_context)
    while fewest > 0 and count < schedule.rounds:
        count += 1
        try:
            positions = _anneal(langevin_context, positions, schedule, count, seed)
            minimiser_context.setPositions(positions)
            for strength in FINAL_CONSTANTS:
                minimiser_context.setParameter(STRENGTH_PARAMETER, strength)
                openmm.LocalEnergyMinimizer.minimize(minimiser_context, schedule.tolerance)
                positions = read_positions(minimiser_context)
                xyz = put_back(structure, source, positions, source >= 0)
                if faults.are_satisfied(xyz):
                    break
        except openmm.OpenMMException:
            # raised if coordinates are no longer finite
            positions = model.completed.xyz
            continue
        if (count_now := faults.count(xyz)) < fewest:
            best, fewest = xyz, count_now
    return Outcome(best, time.perf_counter() - began, faults.are_satisfied(best), count)


class _FaultCounter:
    """Counts faults of coordinates (n_atoms, 3) of a structure."""

    def __init__(self, structure: Structure, contacts: tuple[Contact, ...]) -> None:
        self._structure, self._contacts = structure, contacts
        self._tree = torsion_tree(structure, 0, len(structure.residues) - 1)
        self._cis = self._measured(structure.xyz)["cis_peptide_bonds"]

    def _measured(self, xyz: Floats) -> dict[str, Any]:
        return measure(self._structure, [self._tree], xyz, None)

    def are_satisfied(self, xyz: Floats) -> bool:
        """Whether all contacts are satisfied with the margin `MARGIN`."""
        distances = ((c, float(np.linalg.norm(xyz[c.i] - xyz[c.j]))) for c in self._contacts)
        return all(c.satisfied(distance + (MARGIN if c.upper else -MARGIN)) for c, distance in distances)

    def count(self, xyz: Floats) -> float:
        """Count faults; 1000 for a contact that is not satisfied, infinity for coordinates that are not finite."""
        if not np.isfinite(xyz).all():
            return np.inf
        now = self._measured(xyz)
        made = max(now["cis_peptide_bonds"] - self._cis, 0)
        lost = 0 if self.are_satisfied(xyz) else 1000
        return float(lost + made + now["severe_overlaps"] + now["ramachandran"]["outliers"])


def _anneal(context: Any, positions: Floats, schedule: Schedule, factor: int, seed: int) -> Floats:
    """Run the dynamics of one round, `factor` times as long as in the schedule; returns coordinates (p, 3) in nm."""
    thermostat = context.getIntegrator()
    context.setPositions(positions)
    context.setParameter(GUARD, GUARD_STRENGTH)
    thermostat.setTemperature(schedule.hot)
    context.setVelocitiesToTemperature(schedule.hot, seed * 101 + factor)
    for strength in SPRING_CONSTANTS:
        context.setParameter(STRENGTH_PARAMETER, strength)
        thermostat.step(factor * schedule.hot_steps // len(SPRING_CONSTANTS))
    cool(thermostat, schedule, factor)
    return read_positions(context)


def _spring(contacts: tuple[Contact, ...], particle: dict[int, int]) -> Any:
    import openmm

    force = openmm.CustomBondForce(RESTRAINT)
    force.addGlobalParameter(STRENGTH_PARAMETER, 0.0)
    force.addGlobalParameter("bend", LINEAR_BEYOND)
    force.addPerBondParameter("side")
    force.addPerBondParameter("aim")
    for contact in contacts:
        side = 1.0 if contact.upper else -1.0
        force.addBond(particle[contact.i], particle[contact.j], [side, contact.bound - side * AIM_INSIDE])
    return force
