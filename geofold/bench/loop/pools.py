"""Candidates of searches for missing loops, recorded stage by stage, so that a score is judged without a new search.

A pool is made once per loop and kept in a file. Coordinates are stored in 0.01 A.

Glossary: ``K`` candidates, ``n`` residues of the loop.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofold.bench.loop.sets import Episode
from geofold.errors import GeofoldError
from geofold.files import write_npz
from geofold.geometry import rmsd
from geofold.learn.arrays import FLOATS, INTEGERS, TEXT, Field, read_arrays
from geofold.modelling.options import RunOptions
from geofold.modelling.repair.side_chain_shell import without_reachable_side_chains
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.effort import choose_effort
from geofold.modelling.search.evolutionary import search_loop
from geofold.molecule.loop.build_request import plan_builds
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats

STAGES = ("drawn", "tried", "best", "pool")
"""Candidates that were drawn, all that were drawn or recombined, the best of each restart, and the final ones."""
RESOLUTION = 1e-3
"""Resolution (nm) of stored coordinates."""
FIELDS: dict[str, Field] = {
    **{stage: (INTEGERS, (f"K_{stage}", "n", 4, 3)) for stage in STAGES},
    "native": (FLOATS, ("n", 4, 3)),
    "origin": (FLOATS, (3,)),
    "cpu_seconds": (FLOATS, ()),
    "name": (TEXT, ()),
}
"""Arrays of a file of recorded candidates."""


class Pool(NamedTuple):
    """Recorded candidates of a loop.

    Attributes
    ----------
    name : str
        Name of the episode.
    native : (n, 4, 3)
        N, CA, C and O of the native (nm).
    rows : dict of str to (K, n, 4, 3)
        N, CA, C and O of the candidates of each of `STAGES` (nm).
    cpu_seconds : float
        CPU time of the search.
    """

    name: str
    native: Floats
    rows: dict[str, Floats]
    cpu_seconds: float

    def rmsd(self, stage: str) -> Floats:
        """Backbone RMSD (K,) in A from the native, in the frame of the protein."""
        return 10 * rmsd(self.rows[stage], self.native, (1, 2))


def loop_of_episode(episode: Episode) -> LoopCandidates:
    """Set up the search for the missing loop of an episode, as `repair --build` does."""
    options = RunOptions(repack_shell=episode.shell)
    build = plan_builds(episode.start, [f"{episode.loop}={episode.sequence}"])[0]
    bare = without_reachable_side_chains(episode.start, build, options)[0] if episode.shell else episode.start
    return LoopCandidates.of(bare, build, seed=0)


def record_pool(path: Path, episode: Episode, seed: int) -> str:
    """Search for the loop of an episode and write its candidates; returns the reason if it cannot be searched for."""
    stages: dict[str, list[NDArray[np.float64]]] = defaultdict(list)
    began = time.process_time()
    try:
        loop = loop_of_episode(episode)
    except GeofoldError as error:
        return str(error)
    effort = choose_effort(RunOptions(), len(loop.build.names), only_source=True)
    pool = search_loop(loop, effort, seed=seed, observe=lambda stage, rows: stages[stage].append(loop.backbone(rows)))
    seconds = time.process_time() - began
    stages["pool"] = [loop.backbone(pool.rows)]
    first, last = episode.span
    native = episode.native
    atoms = backbone_atoms(native, first, last, native.conformer_mask)
    if None in atoms:
        return f"{episode.name}: the native lacks backbone atoms"
    reference = native.xyz[np.array(atoms)].reshape(-1, 4, 3)
    origin = reference.mean((0, 1))
    arrays = {stage: _pack(np.concatenate(stages[stage]) - origin) for stage in STAGES}
    numbers = {"native": reference, "origin": origin, "cpu_seconds": np.array(seconds), "name": np.array(episode.name)}
    write_npz(path, arrays | numbers)
    return ""


def read_pools(files: Sequence[Path]) -> list[Pool]:
    """Read recorded pools.

    Raises
    ------
    InputFileError
        If a file is damaged.
    """
    pools = []
    for path in files:
        arrays = read_arrays(
            path,
            FIELDS,
            content="candidates of a search",
            expected="a file of `geofold bench loop --decompose`",
            remedy="remove it, and run again",
        )
        rows = {stage: RESOLUTION * arrays[stage] + arrays["origin"] for stage in STAGES}
        pools.append(Pool(str(arrays["name"]), arrays["native"], rows, float(arrays["cpu_seconds"])))
    return pools


def _pack(rows: Floats) -> NDArray[np.int16]:
    """Coordinates as multiples of `RESOLUTION`."""
    limits = np.iinfo(np.int16)
    packed: NDArray[np.int16] = np.clip(np.round(rows / RESOLUTION), limits.min, limits.max).astype(np.int16)
    return packed
