"""Simulated annealing with OpenMM, then minimisation, as a rival that repairs a loop in place.

Force field, cut-down system and final minimisation are those of `openmm_min.minimise_loop`; guards of omegas and chiral
centres and the dynamics are those of `geofold.bench.common.annealing`. A round heats the best end so far, cools it in
stages and minimises it; the end of lowest energy counts. The guards also hold during the first minimisation,
which could otherwise invert a centre of a very strained start. Added hydrogens around the loop do not move. The hot
part is run without solvent, at a ninth of the cost.

Two bent loops of the tuning split, one seed, three rounds: energy of the protein above the best end (kJ/mol), backbone
RMSD (A), Ramachandran outliers, CPU seconds with completion. No overlap was left and no cis bond made:

    hot (K)   hot + cooling steps          1ubi A:48-54            1ajj A:9-18
    the start                         39072   2.33   4          2873   1.59   1
    minimised only                      161   2.33   0    5       95   1.41   1    2
    600       200 + 800                 113   1.54   0   98       43   1.27   1   33
    600       500 + 2000                                          51   1.23   1   64
    600, dry  1500 + 800: the default     0   0.30   0   90        0   0.38   0   25
    900, dry  1500 + 800                                          12   0.37   0   24

Both proteins are small. A step with solvent takes 10 ms (1ajj) or 30 ms (1ubi), growing with the square of the number
of atoms within `CUTOFF`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.bench.common.annealing import (
    GUARD_STRENGTH,
    Schedule,
    cool,
    find_guarded_torsions,
    make_guard,
    make_langevin_context,
)
from geofold.bench.common.openmm_cutout import cut_out_system, find_nearby_particles
from geofold.bench.common.openmm_min import (
    LOOP_STAGES,
    SOLVENT_GROUP,
    VACUUM_GROUP,
    Floats,
    Mask,
    Outcome,
    minimise,
    put_back,
    read_energy,
    read_positions,
)
from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.structure import Structure

DEFAULT_SCHEDULE = Schedule(hot=600.0, cold=300.0, hot_steps=1500, cooling_steps=800, stages=10, rounds=3)


def anneal_in_place(
    structure: Structure,
    first: int,
    last: int,
    *,
    altloc: str | None = None,
    seed: int = 0,
    schedule: Schedule = DEFAULT_SCHEDULE,
    force_field: ForceField = AMBER14,
) -> Outcome:
    """Anneal residues `first` to `last` with hydrogens and side chains; everything else is fixed.

    Parameters
    ----------
    structure : Structure
        Contains the loop.
    first, last : int
        Indices of the first and last residue (inclusive).
    altloc : str or None
        Conformer; see `Structure.conformer`.
    seed : int
        Seed of the completion, the velocities and the thermostat.
    schedule : Schedule
        Temperatures, steps and rounds; its `tolerance` is not used, since rounds end with the last of `LOOP_STAGES`.
    force_field : ForceField
        Force field of the protein.

    Returns
    -------
    Outcome
        Fixed atoms are unchanged to the last bit. If no end with the omegas and chiralities of the start has a lower
        energy, the start is returned, not reached. `stages` is the number of rounds with finite coordinates.

    Raises
    ------
    AltlocError, ForceFieldError
        As `Structure.conformer` and `EnergyModel.of` do.
    """
    import openmm

    conformer = structure.conformer(altloc)
    model = EnergyModel.of(structure, conformer, seed=seed, force_field=force_field)
    completed = model.completed
    free = (completed.residue >= first) & (completed.residue <= last)
    particles = find_nearby_particles(completed.xyz, completed.residue, free)
    source, start = completed.source[particles], completed.xyz[particles]
    guarded_torsions = _find_guarded_particles(structure, first, last, conformer, source)
    system = cut_out_system(model.system, particles, free)
    energy_context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    energy_context.setPositions(start)
    best, lowest_energy = start, (start_energy := read_energy(energy_context))
    if not np.isfinite(start_energy):
        return Outcome(structure.xyz.copy(), 0.0, False, 0)
    is_hydrogen = np.array([atom.element.symbol == "H" for atom in completed.topology.atoms()])[particles]
    guarded_system = openmm.XmlSerializer.clone(system)
    guarded_system.addForce(make_guard(start, guarded_torsions, GUARD_STRENGTH))
    initial_torsions = _measure_torsions(start, guarded_torsions)
    began = time.perf_counter()
    trial = round_start = minimise(guarded_system, start, LOOP_STAGES, None).xyz
    langevin_context, count = make_langevin_context(guarded_system, is_hydrogen, seed), 0
    for round_number in range(schedule.rounds + 1):
        if round_number:
            try:
                trial = _anneal(langevin_context, round_start, schedule, seed * 101 + round_number)
            except openmm.OpenMMException:
                # raised if coordinates are no longer finite
                continue
            count += 1
        trial = minimise(system, trial, LOOP_STAGES[1:], None).xyz
        energy_context.setPositions(trial)
        energy, rotation = read_energy(energy_context), _measure_torsions(trial, guarded_torsions) - initial_torsions
        if energy < lowest_energy and (np.cos(rotation) > 0).all():
            round_start = best = trial
            lowest_energy = energy
    xyz = put_back(structure, source, best, free[particles] & (source >= 0))
    return Outcome(xyz, time.perf_counter() - began, lowest_energy < start_energy, count)


def _anneal(context: Any, positions: Floats, schedule: Schedule, seed: int) -> Floats:
    """Run the dynamics of one round; returns coordinates (p, 3) in nm."""
    thermostat = context.getIntegrator()
    context.setPositions(positions)
    thermostat.setTemperature(schedule.hot)
    context.setVelocitiesToTemperature(schedule.hot, seed)
    thermostat.setIntegrationForceGroups({VACUUM_GROUP})
    thermostat.step(schedule.hot_steps)
    thermostat.setIntegrationForceGroups({VACUUM_GROUP, SOLVENT_GROUP})
    cool(thermostat, schedule)
    return read_positions(context)


def _find_guarded_particles(
    structure: Structure, first: int, last: int, conformer: Mask, source: NDArray[np.int64]
) -> list[list[int]]:
    """Particles of the omegas and chiral centres that involve residues `first` to `last`."""
    particle = {int(atom): p for p, atom in enumerate(source) if atom >= 0}
    torsions = [atoms for atoms in find_guarded_torsions(structure, conformer) if particle.keys() >= set(atoms)]
    inside = structure.atoms_within(first, last)
    return [[particle[atom] for atom in atoms] for atoms in torsions if inside[atoms].any()]


def _measure_torsions(positions: Floats, guarded_torsions: list[list[int]]) -> Floats:
    """Torsions (k,) of the guarded particles, in radian."""
    return dihedral_of_points(
        torch.as_tensor(positions[np.array(guarded_torsions, dtype=np.int64).reshape(-1, 4)])
    ).numpy()
