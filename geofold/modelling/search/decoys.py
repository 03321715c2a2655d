"""Decoys of a loop of a native, for the potential to learn from and to be judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from geofold import geometry
from geofold.errors import BuildError
from geofold.learn.loop_score.decoys import CROSSOVER, EVOLVED, GUIDED, PERTURBED, SAMPLED, SEARCH_END, Decoys
from geofold.learn.loop_score.model import LoopScore
from geofold.modelling.search.candidates import LoopCandidates, rebuilt
from geofold.modelling.search.evolutionary import Effort, bred, searched, unlike
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.structure import Floats, Structure

DRAWS, KEPT, NEAREST = 480, 96, 24
"""Drawn, kept of those that close, and how many of them are the nearest."""
SIZES, EACH = (3.0, 8.0, 16.0, 32.0), 12
"""Degrees: standard deviations of the disturbed natives' torsions, and how many natives each disturbs."""
PARENTS, CROSSES = (8, 12), 96
"""Of crosses near the native: the nearest drawn ones and disturbed natives; and how many are made."""
HARD = Effort(draws=DRAWS, crosses=96, broods=4, parents=12)
LIKED, LEADING, NATIVES = 64, 12, 4
"""Bred ones that an earlier potential likes best, how many of them are led, and how many disturbed natives."""
SEARCHES = Effort(draws=512, crosses=160, led=16, generations=2)


def decoys_of(native: Structure, first: int, last: int, score: LoopScore | None, *, seed: int) -> Decoys:
    """Candidates of a loop of a native: drawn, its own torsions disturbed, those and the nearest drawn ones crossed;
    with a potential those that it likes once they are bred, and the best of them led and polished.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    noise = np.random.default_rng(seed)
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    every = loop.drawn(DRAWS, noise)[1:]  # the first is that of the structure, and was drawn to be closed at all
    disturbed = _disturbed(loop, native, first, last, noise)
    if not len(every) or not len(disturbed):
        raise BuildError(f"none of {DRAWS} draws closes {loop.build.label}", "one that does", "leave the loop out")
    order = np.argsort(_rmsd(loop, native, first, last, every), kind="stable")
    kept = np.concatenate([order[:NEAREST], noise.permutation(order[NEAREST:])[: KEPT - NEAREST]])
    near = np.concatenate([every[order[: PARENTS[0]]], disturbed[:: max(1, len(disturbed) // PARENTS[1])]])
    parts = [(SAMPLED, every[kept]), (PERTURBED, disturbed), (CROSSOVER, loop.crossed(near, CROSSES, noise))]
    if score is not None:
        pool = bred(loop, every, HARD, score, noise)
        liked = pool.taken(unlike(pool.rows, pool.value, LIKED)).rows
        led, _ = loop.led(np.concatenate([liked[:LEADING], disturbed[:: max(1, len(disturbed) // NATIVES)]]))
        polished, _ = loop.polished(led, score)
        parts += [(EVOLVED, liked), (GUIDED, np.concatenate([led, polished]))]
    return _decoys(loop, native, first, last, parts)


def _disturbed(loop: LoopCandidates, native: Structure, first: int, last: int, noise: np.random.Generator) -> Floats:
    """Candidates that have the native's torsions but for noise of several sizes."""
    torsions = backbone_torsions(native)[first : last + 2, :2]
    sizes = np.radians(np.repeat(SIZES, EACH))[:, None, None]
    return loop.closed(torsions + sizes * noise.standard_normal((len(sizes), *torsions.shape)))


def ends_of(native: Structure, first: int, last: int, score: LoopScore, *, seed: int) -> Decoys:
    """Candidates of a loop of a native that a search by a potential led.

    Raises
    ------
    BuildError
        If nothing that is drawn closes.
    """
    loop = LoopCandidates.of(native, rebuilt(native, first, last), seed=seed)
    ends = searched(loop, SEARCHES, seed=seed, score=score).rows
    return _decoys(loop, native, first, last, [(SEARCH_END, ends)])


def _rmsd(loop: LoopCandidates, native: Structure, first: int, last: int, rows: Floats) -> Floats:
    """To the native's backbone, A."""
    there = native.xyz[np.array(backbone_atoms(native, first, last, native.steering_mask))].reshape(-1, 4, 3)
    return 10 * geometry.rmsd(loop.backbone(rows), there, (1, 2))


def _decoys(
    loop: LoopCandidates, native: Structure, first: int, last: int, every: Sequence[tuple[int, Floats]]
) -> Decoys:
    kind = np.repeat([kind for kind, _ in every], [len(rows) for _, rows in every])
    rows = np.concatenate([rows for _, rows in every])
    rmsd = _rmsd(loop, native, first, last, rows)
    return Decoys(
        torch.as_tensor(10 * loop.backbone(rows), dtype=torch.float32), torch.as_tensor(rmsd, dtype=torch.float32),
        torch.as_tensor(kind), loop.around,
    )  # fmt: skip
