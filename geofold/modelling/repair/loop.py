"""Repair of one loop: what the input leads to, what the loop model leads to, and loops searched for anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from geofold.core.population import Plan, evolve, take
from geofold.errors import GeofoldError
from geofold.learn.loop_denoiser.model import TRAINED_LENGTHS
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import guided
from geofold.modelling.force_field_stage import ENERGY_WEIGHT
from geofold.modelling.options import STREAMS, TORSION_CAP, RunOptions
from geofold.modelling.outcome import MODELLED, Model, Move, lifted
from geofold.modelling.repair.refinement import (
    STILL,
    Path,
    controller,
    energy_of,
    in_order,
    judged,
    ranked,
    scored,
    settle,
)
from geofold.modelling.repair.side_chain_shell import ANGSTROM, Shell, room_for
from geofold.modelling.search.candidates import LoopCandidates, rebuilt
from geofold.modelling.search.consensus import Searched, agreed, agreeing, end_backbone, sure
from geofold.modelling.search.evolutionary import WORTH, between, effort_of, searched, spread, unlike
from geofold.modelling.time_budget import Clock
from geofold.molecule.loop.batch_states import with_own_bonds
from geofold.molecule.loop.domain import LoopDomain, LoopGoal, LoopState
from geofold.molecule.loop.predictor import LoopPredictor, LoopSense
from geofold.molecule.structure import Structure

Told = Callable[[str], Callable[[int, int, float], None] | None]
"""What to call along the way, by the name of what is being done (mend, lead, search, settle, pack and settle)."""
LED = LoopPredictor.name
CONTENT = 0.9
"""Loss at which a loop is clean: no severe overlap and no outlier is left (each of which costs one)."""
SOFTENING = (0.002, 0.02, 0.2, 1.0)
"""Weight of the sterics after a kick: torsions find their basins before clashes wall them in."""
SWEEPS = (2, 1, 1, 1)
KICKS, KICK_SIZE = 12, 0.6
STRICT_WEIGHT = 1.0
"""Per kJ/mol, where nothing but the energy may decide."""
FINALISTS = 3
"""Modelled loops that are settled, of the usual number of streams."""
LEAN = 0.1
"""By how much the potential has to like a modelled loop better than what the input leads to."""
MARGIN = 0.3
"""What settling may win a modelled loop over what the input leads to; those that are further behind are left out."""
GUIDED_STREAMS = 4
"""Streams from where the loop model leads, one of them as it is, the others kicked away."""


def silent(stage: str) -> None:
    """Nothing to call."""


def _softened(phase: int, fresh: tuple[bool, ...]) -> LoopGoal:
    return LoopGoal(sterics=tuple(SOFTENING[phase] if kicked else 1.0 for kicked in fresh))


def repair_loop(
    structure: Structure, first: int, last: int, options: RunOptions, told: Told = silent
) -> list[Model]:  # fmt: skip
    """Stream residues `first` to `last` of a structure until their clashes and outliers are gone.

    Returns
    -------
    list of Model
        Best first, at most `options.models`; one with status 'rigid' and no motion where closure leaves no freedom.
    """
    clock, ends = Clock(options.budget), Ends()
    if options.repack_shell:
        ends = _in_shell(structure, first, last, options, clock, told)
        if ends.models and not _spoiling(structure, ends, options):
            return _told(structure, apart(structure, ends.models, options.models, options), ends.found)
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    anew = not ends.models  # else a search has been heard
    candidates, value, found = contenders(structure, domain, options, clock, told, anew=anew)
    if not candidates:
        return [Model(still(structure, domain), 0.0)]
    models = ranked(structure, candidates, value, options)
    best = _not_worse(structure, domain, models[0], options) if options.energy else models[0]
    chosen = apart(structure, [best, *models, *ends.models], options.models, options)
    return _told(structure, chosen, ends.found if found is None else found)


def _not_worse(structure: Structure, domain: LoopDomain, best: Model, options: RunOptions) -> Model:
    """The best end, if its energy is below the input's; else one that is nearer to the input."""
    before = energy_of(structure, structure.xyz, options)
    if best.energy is None or best.energy < before or not np.isfinite(before):
        return best
    # A loop that was nearly right is better mended where it stands than traded for a clean one of higher energy.
    near = _mended(structure, domain, options, ENERGY_WEIGHT)
    if near.energy is not None and near.energy < before:
        return near
    # Nor is an outlier worth more than the force field allows: then it alone decides.
    return min((_mended(structure, domain, options, STRICT_WEIGHT), near, best), key=lambda model: model.energy or 0.0)


def _mended(structure: Structure, domain: LoopDomain, options: RunOptions, weight: float) -> Model:
    """The input's loop settled where it stands."""
    move = settle(structure, domain, domain.start(structure.xyz), Path(), options, weight=weight)
    return ranked(structure, [move], judged(structure, domain, [move]), options)[0]


def apart(structure: Structure, models: Sequence[Model], count: int, options: RunOptions) -> list[Model]:
    """The first of some models, and of the others the best whose backbones are unlike those before; see `between`."""
    ends = np.nan_to_num([end_backbone(structure, model).reshape(-1, 3) for model in models])
    return [models[k] for k in unlike(ends, np.arange(len(models), dtype=float), count, between(options))]


class Ends(NamedTuple):
    """Ends of a loop, best first, what a search for it led, and the residues whose energies they were told."""

    models: Sequence[Model] = ()
    found: Searched | None = None
    region: frozenset[int] | None = None


def _in_shell(
    structure: Structure, first: int, last: int, options: RunOptions, clock: Clock, told: Told
) -> Ends:  # fmt: skip
    """Ends found without the side chains around, packed with them and settled, best first.

    What the input leads to fits side chains that may be wrong: like any other end it has to lie where the search finds
    that the loop should be, or be liked so much better.
    """
    try:
        bare, kept = room_for(structure, rebuilt(structure, first, last), options)
    except GeofoldError:
        return Ends()  # nothing else can stand there
    domain = LoopDomain.of(bare, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    moves, value, found = contenders(bare, domain, replace(options, energy=False), clock, told)
    if not moves:
        return Ends()
    ends = [Model(move, float(worth)) for move, worth in zip(moves, value, strict=True)]
    chosen = apart(bare, in_order(agreeing(bare, ends, found)), max(FINALISTS, options.models), options)
    shell, models, place = Shell(structure, first, last, ANGSTROM * options.repack_shell), [], np.flatnonzero(kept)
    shell = shell.seeing(np.array([model.move.frames[-1] for model in chosen]))
    tell = told("pack and settle")
    for model in chosen:
        frames = [lifted(structure.xyz, place, model.move, frame) for frame in model.move.frames]
        settled = shell.settled(frames[-1], frames[:-1], options)
        models.append(replace(settled, move=replace(settled.move, predictor=model.move.predictor)))
        if tell is not None:
            tell(len(models), len(chosen), settled.score)
        if clock.spent():
            break
    return Ends(in_order(agreeing(structure, models, found)), found, shell.region)


def _spoiling(structure: Structure, ends: Ends, options: RunOptions) -> bool:
    """Whether the first of some ends is where the input led, and has no lower energy among side chains packed anew.

    A loop that was searched for is not held against the energy of side chains that fit another one.
    """
    best = ends.models[0]
    if best.energy is None or best.move.predictor == MODELLED:
        return False
    return best.energy >= energy_of(structure, structure.xyz, options, ends.region)


def _told(structure: Structure, models: list[Model], found: Searched | None) -> list[Model]:
    """With the confidence of ends that were searched for; of what an input led to a search knows nothing."""
    return [sure(structure, [model], found)[0] if model.move.predictor == MODELLED else model for model in models]


def still(structure: Structure, domain: LoopDomain) -> Move:
    """No motion, where closure leaves no freedom."""
    atoms = domain.fold.kin.atoms.cpu().numpy()
    return Move(domain.tree, atoms, structure.xyz[atoms][None], "rigid", STILL)


def contenders(
    structure: Structure, domain: LoopDomain, options: RunOptions, clock: Clock, told: Told = silent, *,
    anew: bool = True,
) -> tuple[list[Move], np.ndarray, Searched | None]:  # fmt: skip
    """Settled ends of what the input leads to, of what the loop model leads to, and of loops as if there were none.

    Parameters
    ----------
    anew
        Whether to search for loops as if there were none.

    Returns
    -------
    moves : list of Move
    value : (M,)
        See `judged`; lower is better. Both are empty where closure leaves no freedom.
    found : Searched or None
        What the search led, where there was one.
    """
    start = domain.start(structure.xyz, options.streams)
    if not len(domain.tree) or int(start.fold.space.freedom[0]) <= 0:
        return [], np.empty(0), None
    candidates = [_search(structure, domain, start, options, told("mend"), Path())]
    if domain.tree.closed and domain.length <= TRAINED_LENGTHS[1] and options.predictor != STILL:
        # the loop model may know better, and may not: what the input itself leads to stays in the race
        ahead = Path(LED, f"{shipped_gate().name}, threshold")
        led = _predicted(structure, domain, options, ahead)
        candidates.append(_search(structure, domain, led, options, told("lead"), ahead))
    value = judged(structure, domain, candidates)
    found = None
    if anew and domain.tree.closed and options.predictor != STILL:
        fitting = options.models == 1 and not options.repack_shell
        limit = float(value.min()) + MARGIN if fitting else np.inf
        modelled, found = _modelled(structure, domain, options, limit, clock, told)
        if modelled:
            candidates += modelled
            value = np.concatenate([value, judged(structure, domain, modelled) + LEAN])
    return candidates, value, found


def _search(
    structure: Structure, domain: LoopDomain, start: LoopState, options: RunOptions,
    progress: Callable[[int, int, float], None] | None, path: Path,
) -> Move:  # fmt: skip
    """A population of streams from a state, the best of them settled; its path goes on from where `path` ends."""
    plan = Plan(
        steps=tuple(sweeps * domain.length for sweeps in SWEEPS), rounds=options.rounds, kicks=KICKS, size=KICK_SIZE,
        content=CONTENT,
    )  # fmt: skip
    parts = controller(options)
    state, lineage = evolve(
        parts, domain, parts.init(domain, start), _softened, plan, worth=domain.worth,
        snapshot=lambda s: (s.fold.xyz, s.cursor), seed=options.seed, progress=progress,
    )  # fmt: skip
    cursor = 0
    for (xyz, after), info, row in lineage.path(0):
        path.add(xyz[row], info, row, cursor)
        cursor = after
    best = take(domain, state, torch.zeros(1, dtype=torch.long))
    return settle(structure, domain, best.domain, path, options)


def _predicted(structure: Structure, domain: LoopDomain, options: RunOptions, path: Path) -> LoopState:
    """Rows where the loop model leads, corrected where its gate says so; the way there is noted in the path."""
    seeing, start = replace(domain, sense=LoopSense.of(structure, domain.fold)), domain.start(structure.xyz)
    path.add(start.fold.xyz[0], None, 0, 0)
    for state, info, cursor in guided(seeing, start, seed=options.seed):
        path.add(state.fold.xyz[0], info, 0, cursor)
    rows = torch.zeros(min(GUIDED_STREAMS, options.streams), dtype=torch.long)
    return domain.select(state._replace(cursor=0), rows)


def _modelled(
    structure: Structure, domain: LoopDomain, options: RunOptions, limit: float, clock: Clock, told: Told
) -> tuple[list[Move], Searched | None]:  # fmt: skip
    """Loops as if there were none: candidates searched without side chains, the best unlike ones brought to the bonds
    and angles of the loop that is there, led around the side chains where those are to stay and, where they are worth
    less than a limit, settled."""
    first, last = domain.tree.first, domain.tree.last
    try:
        loop = LoopCandidates.of(structure, rebuilt(structure, first, last), altloc=options.altloc, seed=options.seed)
        effort = effort_of(options, last - first + 1, alone=bool(options.repack_shell))
        pool = agreed(loop, searched(loop, effort, seed=options.seed, told=told("search"), clock=clock))
    except GeofoldError:
        return [], None  # what cannot be built anew (an unusual residue) is mended as it stands
    start, found = domain.start(structure.xyz), Searched.of(loop, pool)
    best = pool.finalists(options.streams, options)
    torsions, backbone = loop.torsions(best.rows), loop.backbone(best.rows)
    turned, closed = with_own_bonds(domain, structure, start, torsions, backbone)
    if not closed.any():
        return [], found
    ends, paths = turned, [Path(MODELLED, f"{shipped_gate().name}, threshold") for _ in range(len(turned.fold.xyz))]
    for row, path in enumerate(paths):
        path.add(start.fold.xyz[0], None, 0, 0)
        path.add(turned.fold.xyz[row], None, 0, 0)
    if not options.repack_shell:  # side chains around, which the search has not seen, are to stay
        seeing = replace(domain, sense=LoopSense.of(structure, domain.fold))
        for ends, info, cursor in guided(seeing, turned, seed=options.seed):
            for row, path in enumerate(paths):
                path.add(ends.fold.xyz[row], info, row, cursor)
    ends = ends._replace(cursor=0)
    xyz = ends.fold.xyz.cpu().numpy()
    value = scored(structure, domain, xyz) + WORTH * domain.worth(ends).cpu().numpy()
    # with a shell the loop's side chains are packed later: what they run into now is not what it will be
    order = np.arange(len(xyz), dtype=float) if options.repack_shell else value
    most = max(round(FINALISTS * options.streams / STREAMS), options.models)
    chosen = [row for row in spread(xyz, order, most, options) if value[row] < limit]
    settled, tell = list[Move](), told("settle")
    for row in chosen:
        settled.append(settle(structure, domain, domain.select(ends, torch.tensor([row])), paths[row], options))
        if tell is not None:
            tell(len(settled), len(chosen), float(value[row]))
        if clock.spent():
            break
    return settled, found
