"""Several loops of one structure, one after the other; those that may touch do not stand in each other's way.

A loop in trouble is no obstacle worth avoiding: while one is repaired, those near it whose turn is still to come are
not there. Once all have had theirs, each that was repaired so is settled among the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import Model, lifted
from geofold.modelling.repair.loop import Told, repair_loop, still
from geofold.modelling.repair.refinement import Path, judged, ranked, settle
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.sidechains.repacking import Turned, subset
from geofold.molecule.structure import Floats, Structure

NEAR = 1.2
"""nm between atoms of two loops from which they may touch."""
Span = tuple[int, int]


def repair_loops(
    structure: Structure, spans: list[Span], options: RunOptions, told: Callable[[int, int], Told]
) -> list[Model]:
    """Repair loops (first and last residue of each), in their order.

    Parameters
    ----------
    told
        Gives what to call along the way, by first and last residue.
    """
    now, models, waiting = structure, list[Model](), dict[int, list[Floats]]()
    for turn, (first, last) in enumerate(spans):
        later = [other for other in spans[turn + 1 :] if touching(structure, (first, last), other)]
        if not later:
            models.append(repair_loop(now, first, last, options, told(first, last))[0])
            now = replace(now, xyz=models[-1].move.apply(now.xyz))
            continue
        gone = np.isin(now.residue_of, [k for a, b in later for k in range(a, b + 1)])
        place, shift = np.flatnonzero(~gone), sum(b - a + 1 for a, b in later if b < first)
        model = repair_loop(subset(now, ~gone), first - shift, last - shift, options, told(first, last))[0]
        frames = [lifted(now.xyz, place, model.move, frame) for frame in model.move.frames]
        beside = Turned(place[model.move.beside.atoms], model.move.beside.xyz)
        waiting[turn] = frames
        models.append(replace(model, move=replace(model.move, beside=beside)))
        now = replace(now, xyz=frames[-1])
    for turn, frames in waiting.items():
        models[turn] = _settled(now, spans[turn], models[turn], frames, options)
        now = replace(now, xyz=models[turn].move.apply(now.xyz))
    return models


def touching(structure: Structure, one: Span, other: Span) -> bool:
    """Whether atoms of two stretches are near one another."""
    places = [
        structure.xyz[(structure.residue_of >= first) & (structure.residue_of <= last)] for first, last in (one, other)
    ]
    return bool(cKDTree(places[0]).query(places[1], distance_upper_bound=NEAR)[0].min() <= NEAR)


def _settled(structure: Structure, span: Span, model: Model, frames: list[Floats], options: RunOptions) -> Model:
    """A loop settled where it stands among all others, behind the frames (n_atoms, 3) that led there."""
    domain = LoopDomain.of(structure, *span, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    start = domain.start(structure.xyz)
    if not len(domain.tree) or int(start.fold.space.freedom[0]) <= 0:
        return replace(model, move=still(structure, domain))
    path = Path(model.move.predictor, model.move.gate)
    move = settle(structure, domain, start, path, options)
    before = np.array([frame[move.atoms] for frame in frames])
    whole = replace(move, frames=np.concatenate([before, move.frames]), beside=model.move.beside)
    (judgement,) = ranked(structure, [move], judged(structure, domain, [move]), options)
    return replace(judgement, move=whole)
