"""Decoys of a training of the potential of loops: made once, one file per loop, and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from geofold.app.train.driver import make_once
from geofold.app.train.score_loops import LoopSite, choose_sites
from geofold.app.train.score_options import DECOYS, ScoreRun
from geofold.errors import GeofoldError
from geofold.files import write_npz
from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.loop_score.decoys import MIN_CANDIDATES, Decoys, decoys_to_arrays, read_decoy_file
from geofold.learn.loop_score.model import LoopScore, load_score
from geofold.modelling.search.decoys import decoys_of, search_decoys
from geofold.modelling.threads import use_one_thread
from geofold.molecule.datasets.packed_chains import backbone_structure, with_betas
from geofold.molecule.structure import Structure

WORKERS = 2
CONFIDENCE_LOOPS = 48
"""Validation loops that are searched for with the final potential, to fit its confidence."""


def read_decoys(files: Sequence[Path], min_count: int | None = None) -> list[Decoys]:
    """Read decoys; loops with fewer than `min_count` candidates (`MIN_CANDIDATES` by default) are left out."""
    min_count = MIN_CANDIDATES if min_count is None else min_count
    decoys = [read_decoy_file(path) for path in files]
    return [loop for loop in decoys if loop is not None and len(loop.rmsd) >= min_count]


def make_decoys(run: ScoreRun, split: str, sites: Sequence[LoopSite], weights: Path | None) -> list[Path]:
    """Make missing decoy files, one per loop.

    Parameters
    ----------
    run : ScoreRun
        The options.
    split : str
        Split of the loops, for the file names.
    sites : sequence of LoopSite
        The loops.
    weights : Path or None
        Potential whose searches make the decoys; None for sampled ones.

    Returns
    -------
    list of Path
        Files of all loops.
    """
    folder = run.folder / DECOYS
    folder.mkdir(parents=True, exist_ok=True)
    jobs = {folder / f"{split}_{run.seed}_{site.name}.npz": (run.data, site, weights, run.seed) for site in sites}
    method = "sampled" if weights is None else "searched for with the potential"
    make_once(f"decoys ({split}, {method})", folder, jobs, _make_decoys, WORKERS)
    return list(jobs)


def _make_decoys(path: Path, data: str, site: LoopSite, weights: Path | None, seed: int) -> None:
    score = None if weights is None else load_score(weights)[0]
    write_decoys(path, data, site, partial(decoys_of, score=score, seed=1000 * seed + site.number))


def write_decoys(path: Path, data: str, site: LoopSite, make: Callable[[Structure, int, int], Decoys]) -> None:
    """Write the decoys of a loop; an empty file if there can be none, so that it is not tried again.

    Parameters
    ----------
    path : Path
        The file.
    data : str
        A `backbones.npz`.
    site : LoopSite
        The loop.
    make : callable
        Decoys of a native and the first and last residue of its loop.
    """
    use_one_thread()
    native = with_betas(backbone_structure(read_chains_once(data), site.chain))
    try:
        parts = decoys_to_arrays(make(native, site.first, site.last))
    except GeofoldError:
        parts = {}
    write_npz(path, parts)


@cache
def read_chains_once(data: str) -> Chains:
    """Chains of the data; each worker process keeps them in memory."""
    return read_chains(data)


def search_validation_loops(run: ScoreRun, weights: Sequence[Path]) -> list[Decoys]:
    """Return final candidates of searches for validation loops with a potential, the mean of some networks."""
    folder = run.folder / "searched"
    folder.mkdir(parents=True, exist_ok=True)
    jobs: dict[Path, tuple[Any, ...]] = {
        folder / f"{run.seed}_{site.name}.npz": (run.data, site, list(weights), run.seed)
        for site in choose_sites(read_chains_once(run.data), "valid", CONFIDENCE_LOOPS, 0, run.seed, run.irregular)
    }
    make_once("searches (valid)", folder, jobs, _search, WORKERS)
    return read_decoys(list(jobs), min_count=1)


def _search(path: Path, data: str, site: LoopSite, weights: list[Path], seed: int) -> None:
    score = LoopScore.join([load_score(part)[0] for part in weights])
    write_decoys(path, data, site, partial(search_decoys, score=score, seed=seed))
