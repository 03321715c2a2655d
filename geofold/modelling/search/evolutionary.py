"""Search for the backbone of a loop: many draws, the best crossed and crossed again, the best of all led, and so on.

Candidates are closed and looked at by the potential, which is cheap, for some broods; then the loop model and the
corrector lead the few that are liked best, which is not, and natural steps take them down the potential. What was led
stays in the pool. Two generations begin with draws of their own, so that a search that goes astray has a rival; a third
begins with crosses of the pool's best.

Glossary: see `loop_candidates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
from numpy.typing import NDArray

from geofold.geometry import rmsd
from geofold.learn.loop_score.model import LoopScore, shipped_score
from geofold.modelling.options import ROUNDS, STREAMS, RunOptions
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.time_budget import SEARCHING, Clock
from geofold.molecule.structure import Floats

WORTH = 0.2
"""What a unit of clash or outlier weighs beside the potential."""
CLASHING = 0.5
"""What an e-fold of clash weighs before a candidate was led, which mends most of them."""
SPOILED = 5.0
"""What an outlier behind the loop costs, which no stream can mend."""
LONG = 12
"""Residues from which the whole effort is made."""
APART = 0.05
"""nm: candidates nearer to one another than this (RMSD) count as one."""
MEETING = 3
"""The last of so many generations begins with crosses of what the others found."""
NICHE = 0.1
"""nm: parents are further from one another than this, so that no brood is of one family; so are several models of which
somebody is to choose."""
Told = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is tried.

    Parameters
    ----------
    draws, crosses : int
        Closed in the first brood of a generation, and in each that follows.
    broods : int
        Crosses of crosses in a generation before some are led.
    led : int
        Candidates of a generation that are led.
    generations, parents : int
    """

    draws: int = 768
    crosses: int = 256
    broods: int = 4
    led: int = 24
    generations: int = 3
    parents: int = 12

    @property
    def tried(self) -> int:
        """Candidates that are drawn or crossed."""
        meetings = self.generations // MEETING
        drawn, bred = self.generations - meetings, self.broods * self.generations + meetings
        return drawn * self.draws + bred * self.crosses


def effort_of(options: RunOptions, length: int, *, alone: bool = False) -> Effort:
    """As much as the number of streams and of rounds suggests, less for a short loop.

    Parameters
    ----------
    alone
        Whether a search is all there is to go by: no loop is there, or none but one whose side chains around cannot be
        trusted. Up to twice as many generations then look for it, the longer the more.
    """
    part = min(1.0, length / LONG)
    share = options.streams / STREAMS * part
    rounds = max(round(options.rounds * part), options.rounds // 2) if alone else options.rounds // 2
    return Effort(
        draws=max(round(Effort.draws * share), 64), crosses=max(round(Effort.crosses * share), 32),
        broods=max(round(Effort.broods * min(1.0, options.rounds / ROUNDS)), 1),
        led=max(round(Effort.led * share), 4), generations=max(rounds, 1),
        parents=min(options.streams, Effort.parents),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ranked:
    """Candidates of a search, best first.

    Attributes
    ----------
    rows : (K, m, 3)
        nm.
    value, liked : (K,)
        What they are worth, and what the potential alone says of them; lower is better.
    """

    rows: Floats
    value: Floats
    liked: Floats

    def taken(self, chosen: Sequence[int] | NDArray[np.int64]) -> Ranked:
        """Some of them, in that order."""
        return Ranked(self.rows[chosen], self.value[chosen], self.liked[chosen])

    def best(self, most: int, apart: float = APART) -> Ranked:
        """So many that are unlike one another (RMSD in nm); fewer where there are fewer."""
        return self.taken(unlike(self.rows, self.value, most, apart))

    def finalists(self, most: int, options: RunOptions) -> Ranked:
        """So many that ends are chosen from; see `spread`."""
        return self.taken(spread(self.rows, self.value, most, options))


def searched(
    loop: LoopCandidates, effort: Effort, *, seed: int = 0, score: LoopScore | None = None, told: Told | None = None,
    clock: Clock | None = None,
) -> Ranked:  # fmt: skip
    """All that was led, ranked by the potential and by what is left of clashes and outliers.

    Parameters
    ----------
    told
        Called at first and after each generation with generations done, generations, and the best value (infinite at
        first).
    clock
        With a budget, generations follow until a share of it is spent, instead of as many as the effort says.
    """
    score = shipped_score()[0] if score is None else score
    noise = np.random.default_rng([seed, 2])
    pool = Ranked(np.empty((0, len(loop.atoms), 3)), np.empty(0), np.empty(0))
    clock = Clock() if clock is None else clock
    if told is not None:
        told(0, effort.generations, math.inf)
    for number in count() if clock.seconds is not None else range(effort.generations):
        if number and clock.spent(SEARCHING):
            break
        if (number + 1) % MEETING:
            fresh = loop.drawn(effort.draws, noise)
        else:
            fresh = loop.crossed(pool.best(effort.parents, NICHE).rows, effort.crosses, noise)
        if not len(fresh):
            break
        every = bred(loop, fresh, effort, score, noise).best(effort.led)
        led, _ = loop.led(every.rows, seed=seed + number)
        rows, worth = loop.polished(led, score, seed=seed + number)
        scores = loop.scores(rows, score)
        value = scores + WORTH * worth + SPOILED * loop.spoiled(rows) + loop.price
        pool = joined([pool, Ranked(rows, value, scores)])
        if told is not None:
            told(number + 1, effort.generations, float(pool.value[0]))
    return pool


def bred(loop: LoopCandidates, rows: Floats, effort: Effort, score: LoopScore, noise: np.random.Generator) -> Ranked:
    """Candidates, the best of them crossed, the best of all those crossed, and so on; ranked as they stand."""

    def judged(rows: Floats) -> Ranked:
        liked = loop.scores(rows, score)
        value = liked + CLASHING * np.log1p(loop.worth(rows)) + SPOILED * loop.spoiled(rows)
        return joined([Ranked(rows, value, liked)])

    pool = judged(rows)
    for _ in range(effort.broods):
        crossed = loop.crossed(pool.best(effort.parents, NICHE).rows, effort.crosses, noise)
        if len(crossed):
            pool = joined([pool, judged(crossed)])
    return pool


def joined(pools: Sequence[Ranked]) -> Ranked:
    """Candidates of several searches for one loop, best first."""
    every = Ranked(*(np.concatenate([getattr(pool, f.name) for pool in pools]) for f in fields(Ranked)))
    return every.taken(np.argsort(every.value, kind="stable"))


def between(options: RunOptions) -> float:
    """nm: how unlike the ends are that one is chosen from; among several models each is another family."""
    return NICHE if options.models > 1 else APART


def spread(rows: Floats, value: Floats, most: int, options: RunOptions) -> list[int]:
    """So many of rows (K, m, 3) by value (K,): one of each family first, and where these are few, more of theirs."""
    chosen = unlike(rows, value, most, between(options))
    return chosen + [k for k in unlike(rows, value, len(rows)) if k not in chosen][: most - len(chosen)]


def unlike(rows: Floats, value: Floats, most: int, apart: float = APART) -> list[int]:
    """The lowest of rows (K, m, 3) by value (K,), each further than that (nm) from those before it."""
    chosen: list[int] = []
    for k in np.argsort(value, kind="stable").tolist():
        if not chosen or rmsd(rows[chosen], rows[k], -1).min() > apart:
            chosen.append(k)
            if len(chosen) == most:
                break
    return chosen
