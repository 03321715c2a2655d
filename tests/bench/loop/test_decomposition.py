"""Decomposition of the loop search: pools are recorded once, and scored again without a search."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_cases import STRUCTURES

from geofold.bench.loop import decomposition, pools
from geofold.bench.loop.decomposition import run
from geofold.bench.loop.pools import RESOLUTION, STAGES, read_pools, record_pool
from geofold.bench.loop.sets import Episode, remove_loop
from geofold.errors import InputFileError
from geofold.modelling.search.effort import Effort
from geofold.molecule.io.read import read

LENGTH = 7


def episode() -> Episode:
    return remove_loop("ubiquitin", read(STRUCTURES / "1ubi.pdb"), "A:46-52")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One loop, a short search, all work in this process."""

    def run_here(name: str, function, jobs, workers: int) -> Iterator:
        yield from (function(*job) for job in jobs)

    few = Effort(draws=64, crosses=16, generations=1, pooled=4, guided=2, restarts=2, parents=3)
    monkeypatch.setattr(pools, "choose_effort", lambda *_, **__: few)
    monkeypatch.setattr(decomposition, "run_jobs", run_here)
    monkeypatch.setattr(decomposition, "episodes", lambda *_: iter([episode()]))


def test_stages_of_a_search_are_nested(tmp_path: Path) -> None:
    assert record_pool(tmp_path / "pool.npz", episode(), 0) == ""
    (pool,) = read_pools([tmp_path / "pool.npz"])
    counts = [len(pool.rows[stage]) for stage in STAGES]
    assert counts[0] < counts[1] and counts[2] >= 8 and 2 * counts[3] == 3 * counts[2]
    known = {row.tobytes() for row in np.round(pool.rows["tried"] / (2 * RESOLUTION)).astype(int)}
    for stage in ("drawn", "best"):
        assert {row.tobytes() for row in np.round(pool.rows[stage] / (2 * RESOLUTION)).astype(int)} <= known
        assert pool.rmsd(stage).min() >= pool.rmsd("tried").min()
    assert pool.native.shape == (LENGTH, 4, 3)
    bonds = np.linalg.norm(pool.rows["pool"][:, :, 1] - pool.rows["pool"][:, :, 0], axis=-1)
    np.testing.assert_allclose(bonds, 0.1458, atol=2 * RESOLUTION)


def test_scoring_again_gives_the_same_table(tmp_path: Path) -> None:
    options = {"set_name": "valid_bare", "data": "none", "quick": False, "limit": None, "seed": 0}
    with pytest.raises(InputFileError, match="no pools"):
        run(str(tmp_path), rescore=True, **options)
    run(str(tmp_path), **options)
    table, made = (tmp_path / "table.md").read_text(), (tmp_path / "pools" / "ubiquitin.npz").stat().st_mtime_ns
    metrics = json.loads((tmp_path / "summary.json").read_text())["metrics"]
    assert metrics["geofold.nearest.tried.median"] <= metrics["geofold.nearest.best.median"]
    assert metrics["geofold.nearest.pool.median"] <= metrics["geofold.chosen.total.median"]
    run(str(tmp_path), rescore=True, **options)
    assert (tmp_path / "table.md").read_text() == table
    assert (tmp_path / "pools" / "ubiquitin.npz").stat().st_mtime_ns == made
