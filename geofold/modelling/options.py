"""Options of a run, with their limits and with defaults that were chosen on the tuning set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geofold.errors import OptionError

TORSION_CAP = math.radians(10.0)
"""Largest change (radian) of one torsion in one step, equal for every agent."""
STREAMS, ROUNDS = 12, 6
PREDICTORS = ("trained", "hold-still")
"""Predictors: the shipped weights (loop model, peptide policy), or no learned motion, for comparison."""
STARTS = ("extended", "prior")
"""Start conformations of a sequence."""
LIMITS = {
    "streams": (1, 256),
    "rounds": (1, 1000),
    "steps": (1, 100000),
    "seed": (0, 2**31 - 1),
    "models": (1, 100),
    "budget": (1, 1e6),
    "repack_shell": (0, 20),
}


@dataclass(frozen=True)
class RunOptions:
    """Options of `repair` and `constrain`.

    Parameters
    ----------
    seed : int
        Random seed; the same input and seed give the same bytes.
    altloc : str or None
        Conformer that moves if the backbone has several.
    energy : bool
        Evaluate amber14 + OBC2 before and after (the slowest part on a large protein).
    streams : int
        Conformations in one batch (repair); more widen the search and take longer.
    rounds : int
        Maximum rounds of streaming and selection (repair). A search runs half as many generations, and up to twice
        that number if the loop is found by the search alone.
    steps : int
        Maximum streaming steps (constrain).
    device : str
        Torch device of the controller.
    predictor : str
        'trained', or 'hold-still' for comparison.
    models : int
        Maximum number of mutually distinct models to return, best first (repair).
    budget : float or None
        Time limit (s) of search and refinement, in place of `rounds` (repair); results then depend on the machine's
        speed.
    repack_shell : float
        Distance (A) from the loop within which side chains, by their CB, are repacked with it (repair); 0: none.
    allow_cis_pro : bool
        Also build loops with one of their prolines cis, at the cost of the torsion prior (repair).
    """

    seed: int = 0
    altloc: str | None = None
    energy: bool = True
    streams: int = STREAMS
    rounds: int = ROUNDS
    steps: int = 128
    device: str = "cpu"
    predictor: str = PREDICTORS[0]
    models: int = 1
    budget: float | None = None
    repack_shell: float = 0.0
    allow_cis_pro: bool = False

    def __post_init__(self) -> None:
        if self.predictor not in PREDICTORS:
            raise OptionError(f"predictor {self.predictor}", " or ".join(PREDICTORS), "choose one of them")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                given = name.replace("_", "-")
                raise OptionError(f"{given} {value}", f"a number from {low} to {high}", f"give another --{given}")
