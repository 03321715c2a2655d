"""Evolutionary search for the backbone of a loop.

Each restart draws conformations from the torsion prior and breeds them for several generations: crossover and mutation
of torsions, closure, selection by the learned potential and, in the last generations, by the judge. The best enter the
pool; the first of them are guided by the loop model and the corrector, minimised on the potential, and enter it once
more. Every third restart begins with a recombination of the pool's best instead of fresh draws; the others are
independent, so that a restart that goes astray has a rival. A search that still finds lower costs continues beyond
its usual number of restarts.

Glossary: see `geofold.modelling.search.candidates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from geofold.learn.loop_score.model import LoopScore, shipped_score
from geofold.modelling.options import RunOptions
from geofold.modelling.progress import Progress
from geofold.modelling.scoring import BREEDING, FOUND, GUIDING, SEARCH, Scores, Weights
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.diversity import MIN_RMSD_MODELS, select_distinct, select_diverse
from geofold.modelling.search.effort import RECOMBINATION, Effort
from geofold.modelling.time_budget import SEARCH_SHARE, TimeBudget
from geofold.molecule.structure import Floats

JUDGED = 192
"""Candidates of the first generations of a restart that the judge reads, at most; it is slower than the potential that
leads the search."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of a search, lowest cost first.

    Attributes
    ----------
    rows : (K, m, 3)
        Coordinates (nm).
    scores : Scores, (K,)
    cost : (K,)
        Total of the scores under the weights of the stage.
    tried : int
        Number of conformations that the search drew or recombined.
    """

    rows: Floats
    scores: Scores
    cost: Floats
    tried: int = 0

    @classmethod
    def rank(cls, rows: Floats, scores: Scores, weights: Weights) -> Candidates:
        """Candidates sorted by their cost."""
        cost = scores.total(weights)
        return cls(rows, scores, cost).take(np.argsort(cost, kind="stable"))

    @classmethod
    def empty(cls, atoms: int) -> Candidates:
        """Empty set of candidates of a loop of `atoms` atoms."""
        return cls(np.empty((0, atoms, 3)), Scores.of(np.empty(0)), np.empty(0))

    def take(self, chosen: Sequence[int] | NDArray[np.int64]) -> Candidates:
        """Return some of the candidates, in the given order."""
        return replace(self, rows=self.rows[chosen], scores=self.scores.take(chosen), cost=self.cost[chosen])

    def distinct(self, count: int, radius: float | None = None) -> Candidates:
        """Up to `count` candidates that differ from one another by a radius (RMSD, nm)."""
        if radius is None:
            return self.take(select_distinct(self.rows, self.cost, count))
        return self.take(select_distinct(self.rows, self.cost, count, radius))

    def finalists(self, count: int, options: RunOptions) -> Candidates:
        """Up to `count` candidates that models are made of; see `select_diverse`."""
        return self.take(select_diverse(self.rows, self.cost, count, options))


def search_loop(
    loop: LoopCandidates,
    effort: Effort,
    *,
    seed: int = 0,
    score: LoopScore | None = None,
    progress: Progress | None = None,
    budget: TimeBudget | None = None,
    observe: Callable[[str, Floats], None] | None = None,
    external: Floats | None = None,
) -> Candidates:
    """Search for conformations of a loop.

    Parameters
    ----------
    loop : LoopCandidates
    effort : Effort
    seed : int
    score : LoopScore, optional
        Learned potential that leads the search; the one that ships if not given.
    progress : Progress, optional
        Updated at the beginning and after each restart with the lowest cost (infinite at the beginning).
    budget : TimeBudget, optional
        With a limit, restarts follow until its share for searching has passed, instead of as many as the effort says.
    observe : callable, optional
        Called in each restart with a stage (``drawn``, ``tried``, ``best``) and the candidates (K, m, 3) that are
        drawn, that are drawn or recombined, and that enter the pool, of which the first are guided.
    external : (K, m, 3), optional
        Candidates from elsewhere (nm), which begin the pool.

    Returns
    -------
    Candidates
        The best of each restart, and those that were guided as they ended.
    """
    score = shipped_score()[0] if score is None else score
    budget = TimeBudget() if budget is None else budget
    progress = Progress() if progress is None else progress
    noise = np.random.default_rng([seed, 2])
    pool = Candidates.empty(len(loop.atoms))
    if external is not None and len(external):
        pool = polish(loop, evaluate_with_judge(loop, external, score, weights=SEARCH), len(external), score, seed=seed)
    lowest: list[float] = []
    progress.update(0, effort.restarts, math.inf)
    for restart in count():
        if restart and (budget.exhausted(SEARCH_SHARE) if budget.seconds is not None else effort.finished(lowest)):
            break
        if (restart + 1) % RECOMBINATION:
            rows = loop.draw(effort.draws, noise)
        else:
            rows = loop.cross(pool.distinct(effort.parents, MIN_RMSD_MODELS).rows, effort.crosses, noise)
        if not len(rows):
            break
        tried = breed(loop, rows, effort, score, noise)
        judged = breed_judged(loop, tried, effort, score, noise)
        best = judged.distinct(effort.pooled)
        if observe is not None:
            everything = np.concatenate([tried.rows, judged.rows])
            for stage, candidates in (("drawn", rows), ("tried", everything), ("best", best.rows)):
                observe(stage, candidates)
        pool = merge([pool, polish(loop, best, effort.guided, score, seed=seed + restart)])
        lowest.append(float(pool.cost[0]))
        progress.update(restart + 1, max(restart + 1, effort.restarts), lowest[-1])
    return replace(Candidates.rank(pool.rows, pool.scores, FOUND), tried=effort.tried(len(lowest)))


def breed(
    loop: LoopCandidates, rows: Floats, effort: Effort, score: LoopScore, noise: np.random.Generator
) -> Candidates:
    """Breed candidates for the first generations of a restart, each of offspring of the pool's best.

    Parameters
    ----------
    loop : LoopCandidates
    rows : (K, m, 3)
        First generation (nm).
    effort : Effort
    score : LoopScore
    noise : numpy.random.Generator

    Returns
    -------
    Candidates
        Of all generations, ranked as they are, before guided sampling.
    """

    def evaluate(rows: Floats) -> Candidates:
        return Candidates.rank(rows, evaluate_candidates(loop, rows, score), BREEDING)

    return _breed(loop, evaluate(rows), effort.generations - effort.judged_generations, effort, evaluate, noise)


def breed_judged(
    loop: LoopCandidates, pool: Candidates, effort: Effort, score: LoopScore, noise: np.random.Generator
) -> Candidates:
    """Breed the best of a pool for further generations, selected by the judge too.

    Parameters
    ----------
    loop : LoopCandidates
    pool : Candidates
        See `breed`.
    effort : Effort
    score : LoopScore
    noise : numpy.random.Generator

    Returns
    -------
    Candidates
        Those that the judge has read: the best of the pool, and all offspring.
    """
    best = pool.distinct(JUDGED)
    judged = Candidates.rank(best.rows, replace(best.scores, **_judge(loop, best.rows)), GUIDING)
    evaluate = partial(evaluate_with_judge, loop, score=score, weights=GUIDING)
    return _breed(loop, judged, effort.judged_generations, effort, evaluate, noise)


def _breed(
    loop: LoopCandidates,
    pool: Candidates,
    generations: int,
    effort: Effort,
    evaluate: Callable[[Floats], Candidates],
    noise: np.random.Generator,
) -> Candidates:
    """Return the candidates of a pool and of further generations of offspring of its best."""
    for _ in range(generations):
        offspring = loop.cross(pool.distinct(effort.parents, MIN_RMSD_MODELS).rows, effort.crosses, noise)
        if len(offspring):
            pool = merge([pool, evaluate(offspring)])
    return pool


def polish(loop: LoopCandidates, best: Candidates, guided: int, score: LoopScore, *, seed: int) -> Candidates:
    """Guide and minimise the first of some candidates; returns these as they end, and all as they were.

    Some leave their basin when they are guided.

    Parameters
    ----------
    loop : LoopCandidates
    best : Candidates
        With the judge's scores.
    guided : int
        Number of candidates to guide.
    score : LoopScore
        Potential that they are minimised on.
    seed : int
    """
    rows, _ = loop.guide(best.rows[:guided], seed=seed)
    rows, _ = loop.minimise(rows, score, seed=seed)
    return merge(
        [Candidates.rank(best.rows, best.scores, SEARCH), evaluate_with_judge(loop, rows, score, weights=SEARCH)]
    )


def evaluate_with_judge(loop: LoopCandidates, rows: Floats, score: LoopScore, *, weights: Weights) -> Candidates:
    """Evaluate all scores of a search.

    Parameters
    ----------
    loop : LoopCandidates
    rows : (K, m, 3)
        Coordinates (nm).
    score : LoopScore
        Potential that leads the search.
    weights : Weights
        By which the candidates are ranked.
    """
    scores = replace(evaluate_candidates(loop, rows, score), **_judge(loop, rows))
    return Candidates.rank(rows, scores, weights)


def _judge(loop: LoopCandidates, rows: Floats) -> dict[str, Floats]:
    """Scores (K,) of candidates (K, m, 3) that are evaluated for a few of them only."""
    return {"judge": loop.judge(rows), "cis": np.full(len(rows), loop.cis_penalty)}


def evaluate_candidates(loop: LoopCandidates, rows: Floats, score: LoopScore) -> Scores:
    """Evaluate the scores (K,) of candidates (K, m, 3) before guided sampling, without the judge's."""
    return Scores.of(
        loop.potential(rows, score),
        clash=loop.cost(rows),
        outlier_after=loop.outlier_after(rows),
        density=loop.density_cost(rows),
    )


def merge(pools: Sequence[Candidates]) -> Candidates:
    """Candidates of several pools of one loop, lowest cost first."""
    rows = np.concatenate([pool.rows for pool in pools])
    cost = np.concatenate([pool.cost for pool in pools])
    scores, tried = Scores.concatenate([pool.scores for pool in pools]), sum(pool.tried for pool in pools)
    merged = Candidates(rows, scores, cost, tried)
    return merged.take(np.argsort(cost, kind="stable"))
