"""Streaming a loop that was built: every row from a conformation of its own, the best unlike ends settled."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geofold.app.build_loop import unlike
from geofold.app.moves import Move
from geofold.app.options import TORSION_CAP, RunOptions
from geofold.app.repair_loop import Path, energy_of, settle, streamed, told
from geofold.molecule.loop import LoopDomain, LoopState
from geofold.molecule.loop_rows import state_of_rows
from geofold.molecule.structure import Floats, Structure

FINALISTS = 3
"""Ends that are settled and compared by their energy."""
GAIN = 0.1
"""Share of the loss that a round has to win for another one to follow."""


def stream_built(
    structure: Structure, first: int, last: int, rows: Floats, options: RunOptions,
    progress: Callable[[int, int, float], None] | None = None,
) -> Move:  # fmt: skip
    """Stream residues `first` to `last` from conformations (R, m, 3) of all their atoms until one is clean.

    Returns
    -------
    Move
        From one of the conformations to the end of lowest energy, of lowest loss where no energy is evaluated.
    """
    domain = LoopDomain.of(structure, first, last, cap=TORSION_CAP, altloc=options.altloc, device=options.device)
    start = state_of_rows(domain, structure, rows)
    if int(start.fold.space.freedom[0]) <= 0:  # three residues: the conformations are all that there is
        order = torch.argsort(domain.worth(start), stable=True).tolist()
        ends = [_settled(structure, domain, start, row, Path(), options) for row in order[:FINALISTS]]
    else:
        state, lineage = streamed(domain, start, options, progress, kept=len(rows), gain=GAIN)
        xyz, worth = state.domain.fold.xyz.cpu().numpy(), domain.worth(state.domain).cpu().numpy()
        ends = [
            _settled(structure, domain, state.domain, row, told(lineage, domain, Path(), row), options)
            for row in unlike(xyz, worth, FINALISTS, fill=False)
        ]
    return _best(structure, domain, ends, options)


def _settled(
    structure: Structure, domain: LoopDomain, state: LoopState, row: int, path: Path, options: RunOptions
) -> Move:
    return settle(structure, domain, domain.select(state, torch.tensor([row])), path, options)


def _best(structure: Structure, domain: LoopDomain, ends: list[Move], options: RunOptions) -> Move:
    if len(ends) == 1:
        return ends[0]
    if options.energy:
        values = [energy_of(structure, domain, move.apply(structure.xyz), options) for move in ends]
    else:
        xyz = torch.stack([torch.as_tensor(move.frames[-1]) for move in ends]).to(domain.fold.weight)
        overlap, _ = domain.sterics.overlaps(xyz, domain.sterics.pairs(xyz))
        values = domain.sterics.cost(overlap).sum(-1).tolist()
    clean = [move.status == "done" for move in ends]
    return min(zip(clean, values, ends, strict=True), key=lambda end: (not end[0], end[1]))[2]
