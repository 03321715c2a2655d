"""Refinement of a loop: natural steps of backbone and side chains, then steps down the force field."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from geofold.core.state import ControllerState
from geofold.modelling.controllers import refinement_controller
from geofold.modelling.density import map_of, with_density, with_density_weight
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.force_field_stage import ENERGY_WEIGHT, run_force_field, whole_coordinates, with_energy_model
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import StreamOutcome
from geofold.modelling.trajectory import TrajectoryRecorder
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal, LoopState
from geofold.molecule.sidechains.repacking import find_repackable, repack
from geofold.molecule.structure import Structure

REFINEMENT_SWEEPS = 4
MIN_IMPROVEMENT = 0.5
"""By how much the geometric cost of a loop has to fall in its refinement to replace the input: half of a severe overlap
or of an outlier. What a torsion move cannot remove, such as an overlap with a ligand, does not justify a move."""


def loop_domain(structure: Structure, first: int, last: int, options: RunOptions) -> LoopDomain:
    """Domain of residues `first` to `last` of a structure under the options of a run.

    Parameters
    ----------
    structure : Structure
        Complete structure.
    first, last : int
        First and last residue (inclusive indices).
    options : RunOptions
        Options of the run.
    """
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    return with_density(domain, structure, map_of(options))


def refine(
    structure: Structure,
    domain: LoopDomain,
    state: LoopState,
    options: RunOptions,
    energies: EnergySource | None,
    recorder: TrajectoryRecorder | None = None,
    *,
    weight: float = ENERGY_WEIGHT,
) -> StreamOutcome:
    """Refine one conformation of a loop with all its atoms.

    Parameters
    ----------
    structure : Structure
        Coordinates of the atoms that are not local to the domain.
    domain : LoopDomain
    state : LoopState
        With one row.
    options : RunOptions
    energies : EnergySource or None
        Force field of the last steps; None: these are left out.
    recorder : TrajectoryRecorder, optional
        Trajectory to append to.
    weight : float
        Weight of the energy per kJ/mol. Above the usual weight, only the force-field steps are made.

    Returns
    -------
    StreamOutcome
        With status 'done' if neither a severe overlap nor a Ramachandran outlier is left.
    """
    recorder = TrajectoryRecorder() if recorder is None else recorder
    goal = with_density_weight(LoopGoal(side_chains=True), domain)
    parts, all_atom = refinement_controller(options.seed), replace(domain, goal=goal)
    run = parts.init(all_atom, all_atom.resume(state))
    recorder.add(state.conformation.xyz[0], None, 0, 0)
    for _ in range(REFINEMENT_SWEEPS * domain.length if weight <= ENERGY_WEIGHT else 0):
        cursor = run.domain.cursor
        run, info = parts.step(all_atom, run, all_atom.goal)
        recorder.add(run.domain.conformation.xyz[0], info, 0, cursor)
    if energies is not None or domain.density is not None:
        run = _minimise_energy(structure, all_atom, run, recorder, energies, weight, options.seed)
    return recorder.outcome(domain, "done" if all_atom.clean(run.domain)[0] else "stuck")


def refine_input(
    structure: Structure, domain: LoopDomain, options: RunOptions, energies: EnergySource | None
) -> StreamOutcome:
    """Refine the loop of the input, whose backbone stays if the loop is clean with other side chains.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
        The loop in the structure.
    options : RunOptions
    energies : EnergySource or None
        Force field of the last steps; None: these are left out.
    """
    recorder, state = TrajectoryRecorder(), domain.start(structure.xyz)
    recorder.add(state.conformation.xyz[0], None, 0, 0)
    # with a shell, side chains are packed later
    repacked = None if options.shell else _repack(structure, domain, state, options)
    if repacked is not None:
        state = repacked
        if domain.clean(state)[0]:
            recorder.add(state.conformation.xyz[0], None, 0, 0)
            return recorder.outcome(domain, "done")
    return refine(structure, domain, state, options, energies, recorder)


def _repack(structure: Structure, domain: LoopDomain, start: LoopState, options: RunOptions) -> LoopState | None:
    """Repack the loop's side chains: of its clashing residues, or else of all; None if nothing is gained.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
    start : LoopState
        The loop in the structure.
    options : RunOptions
    """
    if domain.clean(start)[0]:
        return None
    first, last = domain.tree.first, domain.tree.last
    clashing = first + np.flatnonzero(domain.residue_costs(start)[0].cpu().numpy() > MIN_IMPROVEMENT)
    loop = [k for k in find_repackable(structure, domain.tree.conformer) if first <= k <= last]
    best, lowest = None, float(domain.cost(start)[0]) - MIN_IMPROVEMENT
    for residues in ([k for k in loop if k in clashing], loop):
        if residues:
            state = domain.start(repack(structure, residues, (), seed=options.seed).apply(structure.xyz))
            cost = float(domain.cost(state)[0])
            if cost < lowest:
                best, lowest = state, cost
            if domain.clean(state)[0]:
                return state
    return best


def _minimise_energy(
    structure: Structure,
    domain: LoopDomain,
    run: ControllerState,
    recorder: TrajectoryRecorder,
    energies: EnergySource | None,
    weight: float,
    seed: int,
) -> ControllerState:
    """Step the whole loop down the force field, with hydrogens placed for the present coordinates, and into the map.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
    run : ControllerState
        Where the steps begin.
    recorder : TrajectoryRecorder
        Trajectory to append to.
    energies : EnergySource or None
        None: only the density map is followed.
    weight : float
        Weight of the energy per kJ/mol.
    seed : int
    """
    goal = with_density_weight(LoopGoal(side_chains=True, floor=1.0), domain)
    domain = replace(domain, goal=goal)
    if energies is not None:
        goal = replace(goal, energy=weight)
        present = whole_coordinates(structure, domain, run.domain.conformation.xyz[0].cpu().numpy())
        domain = with_energy_model(replace(domain, goal=goal), energies.model_at(present), present)
    steps = run_force_field(refinement_controller(seed), domain, domain.resume(run.domain), goal)
    for run, info in steps:
        recorder.add(run.domain.conformation.xyz[0], info, 0, (run.domain.cursor - 1) % domain.length)
    return run
