"""Settling a loop that was built: the best of its conformations with their side chains; the best end comes first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import Model
from geofold.modelling.repair.loop import FINALISTS, apart
from geofold.modelling.repair.refinement import Path, judged, ranked, settle
from geofold.modelling.repair.side_chain_shell import ANGSTROM, Shell
from geofold.modelling.search.consensus import Searched, agreeing
from geofold.modelling.search.evolutionary import spread
from geofold.modelling.time_budget import Clock
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.structure import Floats, Structure

AGAIN = 3
"""So many times as many are settled at most, where none of the first ones comes out clean."""


def stream_built(
    structure: Structure, first: int, last: int, rows: Floats, value: Floats, options: RunOptions,
    progress: Callable[[int, int, float], None] | None = None, clock: Clock | None = None,
    found: Searched | None = None,
) -> list[Model]:  # fmt: skip
    """Settle residues `first` to `last` from the best of conformations (R, m, 3) of all their atoms, valued (R,).

    Returns
    -------
    list of Model
        At most `options.models`: clean ones first, then as the potential, and the energy where it is evaluated, like
        their ends.
    """
    settled = _among_shell if options.repack_shell else _as_it_stands
    settle_one = settled(structure, first, last, rows, options)
    least = max(FINALISTS, options.models)
    ends, chosen = list[Model](), spread(rows, value, AGAIN * least, options)
    for done, row in enumerate(chosen):
        if done >= least and any(end.move.status == "done" for end in ends):
            break
        ends.append(settle_one(row))
        if progress is not None:
            progress(done + 1, max(least, done + 1), float(value[row]))
        if clock is not None and clock.spent():
            break
    ends = agreeing(structure, ends, found)
    ends = sorted(ends, key=lambda model: (model.move.status != "done", model.score))
    return apart(structure, ends, options.models, options)


def _as_it_stands(
    structure: Structure, first: int, last: int, rows: Floats, options: RunOptions
) -> Callable[[int], Model]:
    """Settles a row where all others stay."""
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    state = state_of_rows(domain, structure, rows)

    def settled(row: int) -> Model:
        move = settle(structure, domain, domain.select(state, torch.tensor([row])), Path(), options)
        return ranked(structure, [move], judged(structure, domain, [move]), options)[0]

    return settled


def _among_shell(
    structure: Structure, first: int, last: int, rows: Floats, options: RunOptions
) -> Callable[[int], Model]:
    """Settles a row with the side chains around it packed anew."""
    shell = Shell(structure, first, last, ANGSTROM * options.repack_shell).seeing(rows)
    own = np.flatnonzero((structure.residue_of >= first) & (structure.residue_of <= last))

    def settled(row: int) -> Model:
        xyz = structure.xyz.copy()
        xyz[own] = rows[row]
        return shell.settled(xyz, (), options)

    return settled
