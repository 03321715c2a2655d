"""What can be asked of a run, with the defaults that were tuned on the tuning split."""

from __future__ import annotations

import math
from dataclasses import dataclass

from geofold.errors import OptionError

TORSION_CAP = math.radians(10.0)
"""Largest change of one torsion in one step, the same for every agent."""
STREAMS, ROUNDS = 12, 6
PREDICTORS = ("trained", "hold-still")
"""What ships with weights (loop model, peptide policy), or nothing that moves by itself, for comparison."""
STARTS = ("extended", "prior")
"""What a sequence can start from."""
LIMITS = {
    "streams": (1, 256), "rounds": (1, 1000), "steps": (1, 100000), "seed": (0, 2**31 - 1), "models": (1, 100),
    "budget": (1, 1e6), "repack_shell": (0, 20),
}  # fmt: skip


@dataclass(frozen=True)
class RunOptions:
    """Options of `repair` and `constrain`.

    Parameters
    ----------
    seed : int
        Same input, same seed: same bytes.
    altloc : str or None
        Conformer that moves where the backbone has several.
    energy : bool
        Evaluate amber14 + OBC2 before and after (the slowest part on a large protein).
    streams : int
        Streams in one batch (repair); how much a search tries grows with it.
    rounds : int
        Rounds of streaming and selection at most (repair); half as many generations of a search, and up to twice
        that where a search is all there is to go by.
    steps : int
        Steps at most (constrain).
    device : str
        Torch device of the controller.
    predictor : str
        'trained', or 'hold-still' for comparison.
    models : int
        Ends at most that are handed back, best first, unlike one another (repair).
    budget : float or None
        Seconds that a search and its settling may take, in place of `rounds` (repair); the clock then has a say in
        what comes out.
    repack_shell : float
        Angstrom: side chains whose CB comes this near to a loop are packed anew with it (repair); 0: none.
    allow_cis_pro : bool
        Also search for loops that are built with one of their prolines cis, at the torsion prior's price (repair).
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
