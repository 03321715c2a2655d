"""Refined candidates of a loop: from the input, guided by the loop model, and from a search."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from geofold.core.population import PopulationPlan, evolve, select_rows
from geofold.errors import GeofoldError
from geofold.learn.loop_denoiser.model import TRAINED_LENGTHS
from geofold.learn.pretrained import shipped_gate
from geofold.modelling.controllers import refinement_controller, run_guided
from geofold.modelling.density import map_of
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import evaluate_geometry, terms_of_local
from geofold.modelling.options import STREAMS, RunOptions
from geofold.modelling.outcome import LOOP_SEARCH, StreamOutcome
from geofold.modelling.progress import Progress
from geofold.modelling.repair.refinement import refine, refine_input
from geofold.modelling.scoring import REFINED, Scores
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.diversity import select_diverse
from geofold.modelling.search.effort import Effort, choose_effort
from geofold.modelling.search.ensemble import Ensemble
from geofold.modelling.search.evolutionary import search_loop
from geofold.modelling.search.external import external_candidates
from geofold.modelling.time_budget import TimeBudget
from geofold.modelling.trajectory import NO_PREDICTOR, TrajectoryRecorder
from geofold.molecule.loop.batch_states import transfer_torsions
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.predictor import LoopFeatures, LoopPredictor
from geofold.molecule.loop.state import LoopGoal, LoopState
from geofold.molecule.structure import Structure

CONVERGED_LOSS = 0.9
"""Loss below which a loop is clean: a severe overlap or an outlier costs one each."""
SOFTENING = (0.002, 0.02, 0.2, 1.0)
"""Weight of the sterics in each phase after a kick: torsions reach their basins before clashes confine them."""
SWEEPS = (2, 1, 1, 1)
"""Sweeps of each phase."""
KICKS, KICK_SIZE = 12, 0.6
FINALISTS = 3
"""Models of a search that are refined, for the usual number of streams."""
MARGIN = 1.0
"""Models of a search whose cost is higher than the best refined model's by more than this are not refined."""
GUIDED_STREAMS = 4
"""Streams from where the loop model leads: one as it is, the others kicked."""


@dataclass(frozen=True, eq=False)
class CandidateModels:
    """Refined candidates of a loop.

    Attributes
    ----------
    outcomes : list of StreamOutcome, (M,)
        Empty where closure leaves no freedom.
    scores : Scores, (M,)
        Without energies.
    ensemble : Ensemble or None
        Candidates of the search, if there was one.
    """

    outcomes: list[StreamOutcome]
    scores: Scores
    ensemble: Ensemble | None = None


def candidate_models(
    structure: Structure,
    domain: LoopDomain,
    options: RunOptions,
    energies: EnergySource | None,
    budget: TimeBudget,
    progress: Progress | None = None,
    *,
    search: bool = True,
    only_source: bool = False,
) -> CandidateModels:
    """Refine the input, what the loop model leads to, and loops found by a search.

    The first outcome is the input, refined in place. Where this leaves a clash or an outlier, a population of streams
    from the input follows.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
        The loop in the structure.
    options : RunOptions
    energies : EnergySource or None
        Force field of the refinement.
    budget : TimeBudget
    progress : Progress, optional
    search : bool
        Whether to search for loops without use of the input's.
    only_source : bool
        Whether the input's loop and what it leads to are not to be trusted; see `choose_effort`.

    Returns
    -------
    CandidateModels
    """
    progress = Progress() if progress is None else progress
    start = domain.start(structure.xyz, options.streams)
    if not domain.decoder.can_move(start.conformation):
        return CandidateModels([], Scores.of(np.empty(0)))
    stage = progress.begin("refine input")
    stage.update(0, 1, math.inf)
    in_place = refine_input(structure, domain, options, energies)
    outcomes = [in_place]
    if in_place.status != "done":
        outcomes.append(_evolve(structure, domain, start, options, energies, stage, TrajectoryRecorder()))
    predicts = domain.tree.closed and options.predictor != NO_PREDICTOR
    if predicts and domain.length <= TRAINED_LENGTHS[1]:
        # The loop model is not always better, so what the input leads to remains a candidate.
        recorder = TrajectoryRecorder(LoopPredictor.name, f"{shipped_gate().name}, threshold")
        guided = _guide(structure, domain, options, recorder)
        outcomes.append(_evolve(structure, domain, guided, options, energies, progress.begin("guided"), recorder))
    scores = evaluate_geometry(structure, domain, outcomes)
    if not (search and predicts):
        return CandidateModels(outcomes, scores)
    one_model = options.models == 1 and not options.shell
    limit = float(scores.total(REFINED).min()) + MARGIN if one_model else np.inf
    effort = choose_effort(options, domain.length, only_source=only_source)
    models, ensemble = _search(structure, domain, options, energies, limit, effort, budget, progress)
    if models:
        scores = Scores.concatenate([scores, evaluate_geometry(structure, domain, models)])
    return CandidateModels(outcomes + models, scores, ensemble)


def _evolve(
    structure: Structure,
    domain: LoopDomain,
    start: LoopState,
    options: RunOptions,
    energies: EnergySource | None,
    progress: Progress,
    recorder: TrajectoryRecorder,
) -> StreamOutcome:
    """Run a population of streams from a state and refine the best; its trajectory continues the recorder's.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
    start : LoopState
    options : RunOptions
    energies : EnergySource or None
    progress : Progress
    recorder : TrajectoryRecorder
    """
    plan = PopulationPlan(
        steps=tuple(sweeps * domain.length for sweeps in SWEEPS),
        rounds=options.rounds,
        kicks=KICKS,
        size=KICK_SIZE,
        converged_loss=CONVERGED_LOSS,
    )

    def soften(phase: int, kicked: tuple[bool, ...]) -> LoopGoal:
        return LoopGoal(sterics=tuple(SOFTENING[phase] if row else 1.0 for row in kicked))

    parts = refinement_controller(options.seed)
    state, lineage = evolve(
        parts,
        domain,
        parts.init(domain, start),
        soften,
        plan,
        cost=domain.cost,
        snapshot=lambda s: (s.conformation.xyz, s.cursor),
        seed=options.seed,
        progress=progress.update,
    )
    cursor = 0
    for (xyz, after), info, row in lineage.path(0):
        recorder.add(xyz[row], info, row, cursor)
        cursor = after
    best = select_rows(domain, state, torch.zeros(1, dtype=torch.long))
    return refine(structure, domain, best.domain, options, energies, recorder)


def _guide(structure: Structure, domain: LoopDomain, options: RunOptions, recorder: TrajectoryRecorder) -> LoopState:
    """Rows at the end of a stream guided by the loop model, which the recorder records."""
    with_features = replace(domain, features=LoopFeatures.of(structure, domain.decoder))
    start = domain.start(structure.xyz)
    recorder.add(start.conformation.xyz[0], None, 0, 0)
    for state, info, cursor in run_guided(with_features, start, seed=options.seed):
        recorder.add(state.conformation.xyz[0], info, 0, cursor)
    rows = torch.zeros(min(GUIDED_STREAMS, options.streams), dtype=torch.long)
    return domain.select(state._replace(cursor=0), rows)


def _search(
    structure: Structure,
    domain: LoopDomain,
    options: RunOptions,
    energies: EnergySource | None,
    limit: float,
    effort: Effort,
    budget: TimeBudget,
    progress: Progress,
) -> tuple[list[StreamOutcome], Ensemble | None]:
    """Models of a search without use of the input's loop.

    Candidates are searched without side chains; the best distinct ones are transferred to the bonds and angles of the
    input's loop, guided around its side chains unless these are repacked later, and refined if their cost is below
    the limit.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
    options : RunOptions
    energies : EnergySource or None
    limit : float
    effort : Effort
    budget : TimeBudget
    progress : Progress
    """
    first, last = domain.tree.first, domain.tree.last
    try:
        plan, density = rebuild_plan(structure, first, last), map_of(options)
        loop = LoopCandidates.of(structure, plan, altloc=options.altloc, seed=options.seed, density=density)
    except GeofoldError:
        return [], None  # a loop that cannot be rebuilt (an unusual residue) is only refined from the input
    external = external_candidates(loop, options.candidate)
    stage = progress.begin("search")
    try:
        pool = search_loop(loop, effort, seed=options.seed, progress=stage, budget=budget, external=external)
    except GeofoldError:
        return [], None
    start, ensemble = domain.start(structure.xyz), Ensemble.of(loop, pool, external)
    best = pool.finalists(options.streams, options)
    torsions, backbone = loop.torsions(best.rows), loop.backbone(best.rows)
    transferred, closed = transfer_torsions(domain, structure, start, torsions, backbone)
    if not closed.any():
        return [], ensemble
    ends = [(transferred, _recorders(start, transferred))]
    if not options.shell:  # the side chains around, which the search has not seen, stay
        # as transferred too: guidance may lead a candidate out of its basin, and a clean one gains nothing from it
        ends.append(_guide_around_side_chains(structure, domain, start, transferred, options))
    xyz = np.concatenate([state.conformation.xyz.cpu().numpy() for state, _ in ends])
    clash = np.concatenate([domain.cost(state).cpu().numpy() for state, _ in ends])
    cost = Scores.of(**terms_of_local(structure, domain, xyz), clash=clash).total(REFINED)
    # with a shell the loop's side chains are packed later, so their present clashes say nothing
    order = np.arange(len(xyz), dtype=float) if options.shell else cost
    count = max(round(FINALISTS * options.streams / STREAMS), options.models)
    chosen = [row for row in select_diverse(xyz, order, count, options) if cost[row] < limit]
    outcomes: list[StreamOutcome] = []
    progress = progress.begin("refine")
    for row in chosen:
        end, place = divmod(row, len(transferred.conformation.xyz))
        state, recorders = ends[end]
        one_row = domain.select(state, torch.tensor([place]))
        outcomes.append(refine(structure, domain, one_row, options, energies, recorders[place]))
        progress.update(len(outcomes), len(chosen), float(cost[row]))
        if budget.exhausted():
            break
    return outcomes, ensemble


def _recorders(start: LoopState, state: LoopState) -> list[TrajectoryRecorder]:
    """Begin the trajectory of each row of a state: from the input to a candidate of the search."""
    recorders = [TrajectoryRecorder(LOOP_SEARCH, f"{shipped_gate().name}, threshold") for _ in state.conformation.xyz]
    for row, recorder in enumerate(recorders):
        recorder.add(start.conformation.xyz[0], None, 0, 0)
        recorder.add(state.conformation.xyz[row], None, 0, 0)
    return recorders


def _guide_around_side_chains(
    structure: Structure, domain: LoopDomain, start: LoopState, state: LoopState, options: RunOptions
) -> tuple[LoopState, list[TrajectoryRecorder]]:
    """Guide rows around the side chains of the structure; returns their ends and trajectories.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain
    start : LoopState
        The input's loop, where trajectories begin.
    state : LoopState
        Candidates of the search.
    options : RunOptions
    """
    recorders = _recorders(start, state)
    with_features = replace(domain, features=LoopFeatures.of(structure, domain.decoder))
    guided = state
    for guided, info, cursor in run_guided(with_features, state, seed=options.seed):
        for row, recorder in enumerate(recorders):
            recorder.add(guided.conformation.xyz[row], info, row, cursor)
    return guided._replace(cursor=0), recorders
