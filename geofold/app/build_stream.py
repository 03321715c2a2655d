"""Settling a loop that was built: the best of its conformations, each with its side chains, the best end is taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from geofold.app.loop_search import unlike
from geofold.app.moves import Move
from geofold.app.options import TORSION_CAP, RunOptions
from geofold.app.repair_loop import ENERGY_SHARE, FINALISTS, Path, energy_of, judged, settle
from geofold.molecule.loop import LoopDomain
from geofold.molecule.loop_rows import state_of_rows
from geofold.molecule.structure import Floats, Structure


def stream_built(
    structure: Structure, first: int, last: int, rows: Floats, value: Floats, options: RunOptions,
    progress: Callable[[int, int, float], None] | None = None,
) -> Move:  # fmt: skip
    """Settle residues `first` to `last` from the best of conformations (R, m, 3) of all their atoms, valued (R,).

    Returns
    -------
    Move
        From one of the conformations to the end that the potential, and the energy where it is evaluated, like best;
        a clean one where there is one.
    """
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    state = state_of_rows(domain, structure, rows)
    ends = list[Move]()
    chosen = unlike(rows, value, FINALISTS)
    for done, row in enumerate(chosen):
        one = domain.select(state, torch.tensor([row]))
        ends.append(settle(structure, domain, one, Path(), options))
        if progress is not None:
            progress(done + 1, len(chosen), float(value[row]))
    total = judged(structure, domain, ends)
    if options.energy and len(ends) > 1:
        total = total + ENERGY_SHARE * np.array(
            [energy_of(structure, domain, move.apply(structure.xyz), options) for move in ends]
        )
    clean = [move.status == "done" for move in ends]
    return ends[min(range(len(ends)), key=lambda k: (not clean[k], total[k]))]
