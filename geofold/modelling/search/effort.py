"""Size of a loop search: how many conformations are drawn, recombined and guided, and when the search ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geofold.modelling.options import ROUNDS, STREAMS, RunOptions

FULL_EFFORT_LENGTH = 12
"""Number of residues from which the whole effort is made."""
RECOMBINATION = 3
"""Every how many restarts one begins with offspring of the pool."""
MIN_GAIN, MAX_EXTENSION = 0.5, 3
"""By how much the last `RECOMBINATION` restarts have to lower the lowest cost for another one to follow the usual
number, and largest multiple of that number."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Size of a search.

    Parameters
    ----------
    draws : int
        Conformations drawn at the beginning of a restart.
    crosses : int
        Offspring in each generation.
    generations : int
        Generations of offspring in a restart.
    pooled : int
        Candidates of a restart that enter the pool.
    guided : int
        How many of these are guided.
    restarts : int
        Usual number of restarts; see `MIN_GAIN`.
    parents : int
        Parents of a generation.
    """

    draws: int = 768
    crosses: int = 256
    generations: int = 4
    pooled: int = 24
    guided: int = 8
    restarts: int = 3
    parents: int = 12

    @property
    def judged_generations(self) -> int:
        """Number of the last generations, which are selected by the judge too."""
        return self.generations // 2

    def finished(self, lowest: Sequence[float]) -> bool:
        """Whether a search ends, from the lowest cost after each of its restarts."""
        done = len(lowest)
        if done < max(self.restarts, 1):
            return False
        gain = lowest[max(0, done - 1 - RECOMBINATION)] - lowest[-1]
        return done >= MAX_EXTENSION * self.restarts or gain <= MIN_GAIN

    def tried(self, restarts: int) -> int:
        """Return the number of conformations that are drawn or recombined in a number of restarts."""
        recombined = restarts // RECOMBINATION
        offspring = self.generations * restarts + recombined
        return (restarts - recombined) * self.draws + offspring * self.crosses


def choose_effort(options: RunOptions, length: int, *, only_source: bool = False) -> Effort:
    """Effort that the options ask for, less for a short loop.

    Parameters
    ----------
    options : RunOptions
        Its streams and rounds scale the effort.
    length : int
        Residues of the loop.
    only_source : bool
        Whether the search is the only source of models: the loop is missing, or the side chains around it cannot be
        trusted. Up to twice as many restarts are then made, more for longer loops.
    """
    part = min(1.0, length / FULL_EFFORT_LENGTH)
    share = options.streams / STREAMS * part
    half = options.rounds // 2
    restarts = max(round(options.rounds * part), half) if only_source else half
    return Effort(
        draws=max(round(Effort.draws * share), 64),
        crosses=max(round(Effort.crosses * share), 32),
        generations=max(round(Effort.generations * min(1.0, options.rounds / ROUNDS)), 1),
        pooled=max(round(Effort.pooled * share), 4),
        guided=max(round(Effort.guided * share), 2),
        restarts=max(restarts, 1),
        parents=min(options.streams, Effort.parents),
    )
