"""OpenMM's LocalEnergyMinimizer (L-BFGS on Cartesian coordinates) as a rival in geofold's two tasks.

The force field is that of `EnergyModel` (amber14 + OBC2), with hydrogens, on one thread. Times start with the ready
context and end with the minimised coordinates: completion, parameters and context creation are not included.

**Peptides.** Each contact is a flat-bottomed restraint, quadratic near its bound and linear beyond `LINEAR_BEYOND`. On
24 random sequences of 8-12 residues (extended chain, one contact of 6.0 A, |i-j| >= 3) with restraint constants k
(kJ/mol/nm^2) and tolerances (kJ/mol/nm); clean means reached without cis bonds, outliers or overlaps:

    schedule                                     median CPU s  reached  cis  outliers  overlaps  clean
    one quadratic, k 1e4, 10                         0.43        24     9      4         0       16
    quadratic, k 1e3 at 30, then k 1e4 at 10         0.42        24     1      7         0       17
    capped (k 1e4, 0.1 nm), 10                       0.43        24     0      4         0       20
    capped (k 1e4, 0.1 nm), 30: the default          0.24        24     0      9         0       17
    capped (k 1e4, 0.2 nm), 30                       0.22        24     4      8         0       17
    capped (k 3e3, 0.3 nm), 30                       0.33        23     0      7         0       18

Contacts that the first stage leaves unsatisfied get two firmer stages (`CONTACT_STAGES`). On 48 other sequences all
were reached, 42 in one stage, in 0.21 CPU seconds (median), with 3 cis bonds, 13 outliers and no overlap.

**Loops.** Fixed particles have mass zero, and the system is cut down to whole residues within `CUTOFF` of the loop.
`LOOP_STAGES` runs without solvent first, at a ninth of the cost per step, then with it: half of the CPU time of a
minimisation with solvent throughout, at similar final energies (three bent loops, -53 to +5 kJ/mol).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofold.bench.common.openmm_cutout import cut_out_system, find_nearby_particles
from geofold.errors import ContactError
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RESTRAINT = "step(x)*2*k*bend^2*(sqrt(1 + (x/bend)^2) - 1); x = side*(r - aim)"
"""Restraint energy: k x^2 near the bound; the force is at most 2 k bend, so that distant pairs are not torn."""
STRENGTH_PARAMETER = "k"
LINEAR_BEYOND, AIM_INSIDE = 0.1, 0.04
"""Distance (nm) beyond which a restraint is linear, and distance of its minimum inside the bound."""
MARGIN = 0.0005
"""Distance (nm) from the bound that a contact must have, so that it survives rounding in a PDB file."""
VACUUM_GROUP, SOLVENT_GROUP = 0, 1
"""Force groups: everything except the Born solvent, and the Born solvent."""


class Outcome(NamedTuple):
    """Result of a minimisation.

    Attributes
    ----------
    xyz : (n_atoms, 3) float
        All atoms of the structure (nm); atoms outside the model are unchanged.
    seconds : float
        Wall time, starting with the ready context.
    reached : bool
        Peptide: all contacts are within their bounds. Loop: finite, and lower in energy than the start.
    stages : int
        Number of minimisations.
    """

    xyz: Floats
    seconds: float
    reached: bool
    stages: int


class Stage(NamedTuple):
    """A call of the minimiser: restraint constant (kJ/mol/nm^2), tolerance (kJ/mol/nm), iterations, solvent."""

    strength: float
    tolerance: float
    iterations: int = 0
    solvent: bool = True


TOLERANCE = 30.0
CONTACT_STAGES = (Stage(1e4, TOLERANCE), Stage(3e4, 10.0), Stage(1e5, 10.0))
LOOP_STAGES = (Stage(0.0, 10.0, 1000, solvent=False), Stage(0.0, 10.0, 500))


def minimise_to_contact(
    structure: Structure,
    contacts: tuple[Contact, ...],
    *,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    force_field: ForceField = AMBER14,
) -> Outcome:
    """Minimise a whole structure under restraints until its contacts are satisfied.

    Parameters
    ----------
    structure : Structure
        A peptide.
    contacts : tuple of Contact
        All of them are to be satisfied at the same time.
    seed : int
        Seed of the completion (hydrogens, missing atoms); the minimiser is deterministic.
    tolerance : float
        Root mean square force (kJ/mol/nm) at which the first stage ends.
    force_field : ForceField
        Force field of the protein.

    Returns
    -------
    Outcome
        Coordinates of the first stage that satisfies every bound, otherwise of the last stage. A start with forces
        that are not finite is returned unchanged, not reached.

    Raises
    ------
    ContactError
        If a contact names an atom that is not in the force field's model (water, ion, another conformer).
    ForceFieldError
        If the structure cannot be completed or parameterised.
    """
    model = EnergyModel.of(structure, structure.conformer(), seed=seed, force_field=force_field)
    source = model.completed.source
    particle = index_particles(source, contacts)
    pairs = np.array([(particle[c.i], particle[c.j]) for c in contacts], dtype=np.int64).reshape(-1, 2)
    model.system.addForce(_restraint(pairs, contacts))

    def are_satisfied(positions: Floats) -> bool:
        distance = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)
        margin = [MARGIN if c.upper else -MARGIN for c in contacts]
        return all(c.satisfied(float(d)) for c, d in zip(contacts, distance + margin, strict=True))

    stages = (CONTACT_STAGES[0]._replace(tolerance=tolerance), *CONTACT_STAGES[1:])
    run = minimise(model.system, model.completed.xyz, stages, are_satisfied)
    return run._replace(xyz=put_back(structure, source, run.xyz, source >= 0))


def index_particles(source: NDArray[np.int64], contacts: tuple[Contact, ...]) -> dict[int, int]:
    """Map atoms of the structure to particles; raises `ContactError` if an atom of a contact has none."""
    particle = {int(atom): p for p, atom in enumerate(source) if atom >= 0}
    missing = next((c for c in contacts if c.i not in particle or c.j not in particle), None)
    if missing is not None:
        given = f"contact {missing.text!r} names an atom outside the force field"
        raise ContactError(given, "atoms of amino acids, first conformer", "name an atom of the protein")
    return particle


def minimise_loop(
    structure: Structure,
    first: int,
    last: int,
    *,
    altloc: str | None = None,
    seed: int = 0,
    force_field: ForceField = AMBER14,
) -> Outcome:
    """Minimise residues `first` to `last` with hydrogens and side chains; everything else is fixed.

    Parameters
    ----------
    structure : Structure
        Contains the loop.
    first, last : int
        Indices of the first and last residue (inclusive).
    altloc : str or None
        Conformer; see `Structure.conformer`.
    seed : int
        Seed of the completion.
    force_field : ForceField
        Force field of the protein.

    Returns
    -------
    Outcome
        Fixed atoms are unchanged to the last bit. A start with an energy or forces that are not finite is returned
        unchanged, not reached.

    Raises
    ------
    AltlocError, ForceFieldError
        As `Structure.conformer` and `EnergyModel.of` do.
    """
    model = EnergyModel.of(structure, structure.conformer(altloc), seed=seed, force_field=force_field)
    completed = model.completed
    free = (completed.residue >= first) & (completed.residue <= last)
    particles = find_nearby_particles(completed.xyz, completed.residue, free)
    run = minimise(cut_out_system(model.system, particles, free), completed.xyz[particles], LOOP_STAGES, None)
    positions = completed.xyz.copy()
    positions[particles] = run.xyz
    return run._replace(xyz=put_back(structure, completed.source, positions, free & (completed.source >= 0)))


def minimise(system: Any, start: Floats, stages: tuple[Stage, ...], done: Callable[[Floats], bool] | None) -> Outcome:
    """Run stages of minimisation.

    Parameters
    ----------
    system : openmm.System
        Its forces are assigned to `VACUUM_GROUP` and `SOLVENT_GROUP`.
    start : (p, 3) float
        Coordinates (nm).
    stages : tuple of Stage
        Are run in order.
    done : callable or None
        Stops at the first stage (with solvent) whose coordinates it accepts. None: run all stages; `reached` then
        means a lower energy than that of the start.
    """
    import openmm

    for force in system.getForces():
        force.setForceGroup(SOLVENT_GROUP if isinstance(force, openmm.GBSAOBCForce) else VACUUM_GROUP)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform())
    context.setPositions(start)
    before = read_energy(context)
    if not np.isfinite(before):
        return Outcome(start, 0.0, False, 0)
    positions, reached, count = start, False, 0
    began = time.perf_counter()
    for stage in stages:
        integrator.setIntegrationForceGroups({VACUUM_GROUP, SOLVENT_GROUP} if stage.solvent else {VACUUM_GROUP})
        if STRENGTH_PARAMETER in context.getParameters():
            context.setParameter(STRENGTH_PARAMETER, stage.strength)
        try:
            openmm.LocalEnergyMinimizer.minimize(context, stage.tolerance, stage.iterations)
        except openmm.OpenMMException:
            # raised if coordinates are no longer finite
            return Outcome(start, time.perf_counter() - began, False, count)
        count += 1
        positions = read_positions(context)
        if not np.isfinite(positions).all():
            return Outcome(start, time.perf_counter() - began, False, count)
        if done is not None and stage.solvent and done(positions):
            reached = True
            break
    seconds = time.perf_counter() - began
    if done is None:
        reached = read_energy(context) < before
    return Outcome(positions if reached or done else start, seconds, reached, count)


def read_positions(context: Any) -> Floats:
    """Return the coordinates (p, 3) of a context in nm."""
    import openmm.unit

    positions = context.getState(getPositions=True).getPositions(asNumpy=True)
    return np.asarray(positions.value_in_unit(openmm.unit.nanometer), dtype=np.float64)


def read_energy(context: Any) -> float:
    """Return the energy of a context in kJ/mol, NaN if a force is not finite."""
    import openmm.unit

    state = context.getState(getEnergy=True, getForces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.nanometer)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    return float(energy) if np.isfinite(forces).all() else float("nan")


def _restraint(pairs: NDArray[np.int64], contacts: tuple[Contact, ...]) -> Any:
    import openmm

    force = openmm.CustomBondForce(RESTRAINT)
    force.addGlobalParameter(STRENGTH_PARAMETER, 0.0)
    force.addGlobalParameter("bend", LINEAR_BEYOND)
    force.addPerBondParameter("side")
    force.addPerBondParameter("aim")
    for (i, j), contact in zip(pairs.tolist(), contacts, strict=True):
        side = 1.0 if contact.upper else -1.0
        force.addBond(i, j, [side, contact.bound - side * AIM_INSIDE])
    return force


def put_back(structure: Structure, source: NDArray[np.int64], positions: Floats, moved: Mask) -> Floats:
    """Put coordinates of particles back into those of the structure.

    Parameters
    ----------
    structure : Structure
        Its coordinates (nm) are kept for all other atoms.
    source : (p,) int
        Atom of each particle, negative if it was added.
    positions : (p, 3) float
        Coordinates (nm) of the particles.
    moved : (p,) bool
        Particles whose atoms get new coordinates.
    """
    xyz: Floats = structure.xyz.copy()
    xyz[source[moved]] = positions[moved]
    return xyz
