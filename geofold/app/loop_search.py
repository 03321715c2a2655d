"""Search for the backbone of a loop: many draws, the best led, the best of those crossed, and so on.

Each generation closes many candidates, which is cheap, and lets the loop model and the corrector lead the few that the
potential likes best, which is not. What was led stays in the pool; the pool's best are the parents of the next.

Glossary: see `loop_candidates`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import count

import numpy as np
from numpy.typing import NDArray

from geofold.app.clock import SEARCHING, Clock
from geofold.app.loop_candidates import LoopCandidates
from geofold.app.options import STREAMS, RunOptions
from geofold.learn.loop_score import LoopScore, shipped_score
from geofold.molecule.structure import Floats

WORTH = 0.2
"""What a unit of clash or outlier weighs beside the potential."""
SPOILED = 5.0
"""What an outlier behind the loop costs, which no stream can mend."""
LONG = 12
"""Residues from which the whole effort is made."""
APART = 0.05
"""nm: candidates nearer to one another than this (RMSD) count as one."""
Told = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Effort:
    """How much is tried.

    Parameters
    ----------
    draws, crosses : int
        Closed in the first generation, and in each that follows.
    led : int
        Candidates of a generation that are led.
    generations, parents : int
    """

    draws: int = 1024
    crosses: int = 512
    led: int = 32
    generations: int = 3
    parents: int = 8

    @property
    def tried(self) -> int:
        """Candidates that are drawn or crossed."""
        return self.draws + (self.generations - 1) * self.crosses


def effort_of(options: RunOptions, length: int) -> Effort:
    """As much as the number of streams and of rounds suggests, less for a short loop."""
    share = options.streams / STREAMS * min(1.0, length / LONG)
    return Effort(
        max(round(Effort.draws * share), 64), max(round(Effort.crosses * share), 32), max(round(Effort.led * share), 4),
        generations=max(options.rounds // 2, 1), parents=min(options.streams, Effort.parents),
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

    def best(self, most: int) -> Ranked:
        """So many that are unlike one another; fewer where there are fewer."""
        return self.taken(unlike(self.rows, self.value, most))


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
        parents = pool.best(effort.parents)
        first = number == 0
        fresh = loop.drawn(effort.draws, noise) if first else loop.crossed(parents.rows, effort.crosses, noise)
        if not len(fresh):
            break
        liked = unlike(fresh, loop.scores(fresh, score) + SPOILED * loop.spoiled(fresh), effort.led)
        rows, worth = loop.led(fresh[liked], seed=seed + number)
        scores = loop.scores(rows, score)
        value = scores + WORTH * worth + SPOILED * loop.spoiled(rows) + loop.price
        pool = joined([pool, Ranked(rows, value, scores)])
        if told is not None:
            told(number + 1, effort.generations, float(pool.value[0]))
    return pool


def joined(pools: Sequence[Ranked]) -> Ranked:
    """Candidates of several searches for one loop, best first."""
    every = Ranked(*(np.concatenate([getattr(pool, f.name) for pool in pools]) for f in fields(Ranked)))
    return every.taken(np.argsort(every.value, kind="stable"))


def unlike(rows: Floats, value: Floats, most: int) -> list[int]:
    """The lowest of rows (K, m, 3) by value (K,), each `APART` from those before it."""
    chosen: list[int] = []
    for k in np.argsort(value, kind="stable").tolist():
        if not chosen or np.sqrt(((rows[chosen] - rows[k]) ** 2).sum(-1).mean(-1)).min() > APART:
            chosen.append(k)
            if len(chosen) == most:
                break
    return chosen
