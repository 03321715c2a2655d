"""OpenMM's patient way of repairing a loop in place: simulated annealing, then minimisation, everything else fixed.

Force field, cut-out and final minimisation as in `openmm_min.loop_in_place`; guards of omegas and chiral centres, rigid
bonds to heavy hydrogens and 4 fs as in `openmm_anneal`. A round heats the best end so far, cools it in stages and
minimises it; the end of lowest energy counts. The guards hold from the first minimisation on, for a start may be so
tangled that minimising it turns a centre over. Added hydrogens around the loop stay where they were put. The hot part
does without solvent, at a ninth of the cost.

Measured on two bent loops of the tuning split, one seed, three rounds. For each: energy of the whole protein above the
best end's (kJ/mol), backbone RMSD (A), Ramachandran outliers, CPU seconds with completion. No overlap was left and no
cis bond made anywhere:

    hot (K)   hot + cooling steps          1ubi A:48-54            1ajj A:9-18
    the start                         39072   2.33   4          2873   1.59   1
    minimised only                      161   2.33   0    5       95   1.41   1    2
    600       200 + 800                 113   1.54   0   98       43   1.27   1   33
    900       200 + 800                                           48   1.34   0   32
    600       500 + 2000                                          51   1.23   1   64
    600, dry  1500 + 800: the default     0   0.30   0   90        0   0.38   0   25
    900, dry  1500 + 800                                          12   0.37   0   24

Both proteins are small. A step with solvent takes 10 (1ajj) or 30 ms (1ubi), and grows with the square of what lies
within `REACH`.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.bench.common.openmm_min import (
    DRY,
    LOOP,
    WET,
    Floats,
    Mask,
    Outcome,
    around,
    cut_out,
    energy_of,
    minimise,
    places_of,
    returned,
)  # fmt: skip
from geofold.bench.peptide.agents.openmm_anneal import HELD, Schedule, bath, cool, guard, guarded
from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.structure import Structure

USUAL = Schedule(hot=600.0, cold=300.0, hot_steps=1500, cooling_steps=800, stages=10, rounds=3)


def anneal_in_place(
    structure: Structure, first: int, last: int, *, altloc: str | None = None, seed: int = 0,
    schedule: Schedule = USUAL,
) -> Outcome:  # fmt: skip
    """Anneal residues `first` to `last` (inclusive indices), hydrogens and side chains too, all else fixed.

    Parameters
    ----------
    altloc, seed
        Conformer (see `Structure.steering`), and seed of the completion, the velocities and the thermostat.
    schedule
        The last minimisation of a round is `LOOP`'s, whatever its `tolerance`.

    Returns
    -------
    Outcome
        Fixed atoms to the bit as they were; the start as it was, not reached, if nothing of lower energy with its
        omegas and chiralities was found. `stages` counts the rounds that ended in numbers.

    Raises
    ------
    AltlocError, ForceFieldError
        As `Structure.steering` and `EnergyModel.of` do.
    """
    import openmm

    steering = structure.steering(altloc)
    model = EnergyModel.of(structure, steering, seed=seed)
    completed = model.completed
    free = (completed.residue >= first) & (completed.residue <= last)
    kept = around(completed.xyz, completed.residue, free)
    source, start = completed.source[kept], completed.xyz[kept]
    held = _held(structure, first, last, steering, source)
    light = np.array([atom.element.symbol == "H" for atom in completed.topology.atoms()])[kept]
    system = cut_out(model.system, kept, free)
    still = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    still.setPositions(start)
    best, lowest = start, (before := energy_of(still))
    if not np.isfinite(before):
        return Outcome(structure.xyz.copy(), 0.0, False, 0)
    firm = openmm.XmlSerializer.clone(system)
    firm.addForce(guard(start, held, HELD))
    aims = _angles(start, held)
    began = time.perf_counter()
    tried = base = minimise(firm, start, LOOP, None).xyz
    warm, count = bath(firm, light, seed), 0
    for turn in range(schedule.rounds + 1):
        if turn:
            try:
                tried = _annealed(warm, base, schedule, seed * 101 + turn)
            except openmm.OpenMMException:
                # OpenMM's word for coordinates that are no longer numbers
                continue
            count += 1
        tried = minimise(system, tried, LOOP[1:], None).xyz
        still.setPositions(tried)
        energy, turned = energy_of(still), _angles(tried, held) - aims
        if energy < lowest and (np.cos(turned) > 0).all():
            base = best = tried
            lowest = energy
    xyz = returned(structure, source, best, free[kept] & (source >= 0))
    return Outcome(xyz, time.perf_counter() - began, lowest < before, count)


def _annealed(context: Any, places: Floats, schedule: Schedule, seed: int) -> Floats:
    """Where particles (p, 3) are after one round."""
    thermostat = context.getIntegrator()
    context.setPositions(places)
    thermostat.setTemperature(schedule.hot)
    context.setVelocitiesToTemperature(schedule.hot, seed)
    thermostat.setIntegrationForceGroups({DRY})
    thermostat.step(schedule.hot_steps)
    thermostat.setIntegrationForceGroups({DRY, WET})
    cool(thermostat, schedule)
    return places_of(context)


def _held(structure: Structure, first: int, last: int, steering: Mask, source: NDArray[np.int64]) -> list[list[int]]:
    """Particles of the omegas and chiral centres that residues `first` to `last` have a part in."""
    particle = {int(atom): p for p, atom in enumerate(source) if atom >= 0}
    own = [atoms for atoms in guarded(structure, steering) if particle.keys() >= set(atoms)]
    inside = (structure.residue_of >= first) & (structure.residue_of <= last)
    return [[particle[atom] for atom in atoms] for atoms in own if inside[atoms].any()]


def _angles(places: Floats, held: list[list[int]]) -> Floats:
    """Torsions (k,) of the held particles."""
    return dihedral_of_points(torch.as_tensor(places[np.array(held, dtype=np.int64).reshape(-1, 4)])).numpy()
