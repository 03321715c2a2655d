"""Repair of several loops of one structure, in sequence.

An anomalous loop should not be avoided as an obstacle: while one loop is repaired, nearby loops that are repaired
later are removed. Once all have been repaired, each of those that ran without a neighbour is refined among the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import evaluate_model
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, embed_fragment
from geofold.modelling.progress import Progress
from geofold.modelling.repair.copies import model_copies
from geofold.modelling.repair.loop import repair_loop
from geofold.modelling.repair.refinement import loop_domain, refine
from geofold.modelling.trajectory import TrajectoryRecorder, no_motion
from geofold.molecule.loop.copies import CopyPair
from geofold.molecule.sidechains.repacking import RepackedSideChains, select_atoms
from geofold.molecule.structure import Floats, Structure

TOUCHING_DISTANCE = 1.2
"""Distance (nm) between atoms of two loops below which they may touch."""
Range = tuple[int, int]


def repair_loops(
    structure: Structure,
    ranges: list[Range],
    options: RunOptions,
    energies: EnergySource | None,
    progress: Callable[[int, int], Progress],
    copies: Sequence[CopyPair] = (),
) -> list[LoopModel]:
    """Repair several loops, one after the other.

    Parameters
    ----------
    structure : Structure
    ranges : list of (int, int)
        First and last residue of each loop.
    options : RunOptions
    energies : EnergySource or None
        Of the structure.
    progress : callable
        Gives the progress of a loop by its first and last residue.
    copies : sequence of CopyPair
        Loops among `ranges`, at their end, that are copies of others in the structure.

    Returns
    -------
    list of LoopModel
        One for each loop.
    """
    present, models, pending = structure, list[LoopModel](), dict[int, list[Floats]]()
    copied = {pair.copy for pair in copies}
    for number, (first, last) in enumerate(ranges):
        if (first, last) in copied:
            continue
        later = [following for following in ranges[number + 1 :] if may_touch(structure, (first, last), following)]
        if not later:
            models.append(repair_loop(present, first, last, options, energies, progress(first, last))[0])
            present = replace(present, xyz=models[-1].outcome.apply(present.xyz))
            continue
        removed = np.isin(present.residue_of, [k for a, b in later for k in range(a, b + 1)])
        atoms, shift = np.flatnonzero(~removed), sum(b - a + 1 for a, b in later if b < first)
        part = select_atoms(present, ~removed)
        model = repair_loop(
            part, first - shift, last - shift, options, EnergySource.of(part, options), progress(first, last)
        )[0]
        frames = [embed_fragment(present.xyz, atoms, model.outcome, frame) for frame in model.outcome.frames]
        repacked = RepackedSideChains(atoms[model.outcome.repacked.atoms], model.outcome.repacked.xyz)
        pending[number] = frames
        models.append(replace(model, outcome=replace(model.outcome, repacked=repacked)))
        present = replace(present, xyz=frames[-1])
    for model in model_copies(present, copies, options, energies):
        models.append(model)
        present = replace(present, xyz=model.outcome.apply(present.xyz))
    for number, frames in pending.items():
        models[number] = refine_among_others(present, ranges[number], models[number], frames, options, energies)
        present = replace(present, xyz=models[number].outcome.apply(present.xyz))
    return models


def may_touch(structure: Structure, first: Range, second: Range) -> bool:
    """Whether two ranges of residues have atoms near one another."""
    points = [structure.xyz[structure.atoms_within(*residues)] for residues in (first, second)]
    nearest = cKDTree(points[0]).query(points[1], distance_upper_bound=TOUCHING_DISTANCE)[0].min()
    return bool(nearest <= TOUCHING_DISTANCE)


def refine_among_others(
    structure: Structure,
    loop: Range,
    model: LoopModel,
    frames: Sequence[Floats],
    options: RunOptions,
    energies: EnergySource | None,
) -> LoopModel:
    """Return the model refined among all loops; the frames that led to it come first, and its confidence stays.

    Parameters
    ----------
    structure : Structure
        With all other loops as they end.
    loop : (int, int)
    model : LoopModel
    frames : sequence of (n_atoms, 3)
    options : RunOptions
    energies : EnergySource or None
    """
    domain = loop_domain(structure, *loop, options)
    start, before = domain.start(structure.xyz), model.outcome
    if not domain.decoder.can_move(start.conformation):
        return replace(model, outcome=no_motion(domain, structure.xyz))
    outcome = refine(structure, domain, start, options, energies, TrajectoryRecorder(before.predictor, before.gate))
    path = np.concatenate([np.array([frame[outcome.atoms] for frame in frames]), outcome.frames])
    refined = evaluate_model(structure, domain, outcome, energies)
    whole = replace(outcome, frames=path, repacked=before.repacked)
    return replace(refined, outcome=whole, external_rmsd=model.external_rmsd).with_confidence_of(model)
