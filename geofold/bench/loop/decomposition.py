"""Where the loop search loses accuracy: the nearest candidate of each stage, and what each score chooses.

`--decompose` searches for the loops of a set, records the candidates and writes the table; `--rescore` writes it again
from the records with the present scores, in seconds.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from geofold.bench.common.processes import run_jobs
from geofold.bench.common.records import table_of, write_summary
from geofold.bench.loop.pools import Pool, loop_of_episode, read_pools, record_pool
from geofold.bench.loop.sets import Episode, episodes
from geofold.errors import InputFileError
from geofold.learn.loop_score.model import shipped_score
from geofold.modelling.scoring import FOUND, Scores
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.diversity import MIN_RMSD_MODELS, select_distinct

POOLS = "pools"
"""Folder of the recorded candidates in the output folder."""
WORKERS = 2
FAMILIES = (12, 24)
"""Numbers of families (1 A) whose heads could be refined."""
BANDS = ((0.0, 1.0), (1.0, 2.0), (2.0, 4.0))
"""Ranges of RMSD (A) within which the rank correlation of a score is measured."""
Numbers = dict[str, float]


def run(
    out: str, *, set_name: str, data: str | None, quick: bool, limit: int | None, seed: int, rescore: bool = False
) -> None:
    """Record pools of a set where there are none yet, and write the decomposition.

    Parameters
    ----------
    out : str
        Folder of the records.
    set_name : str
        Name of a set of missing loops; see `geofold.bench.loop.sets`.
    data : str or None
        Folder of the set's data.
    quick : bool
        Use eight loops only.
    limit : int or None
        Number of loops.
    seed : int
        Seed of the searches.
    rescore : bool
        Only read recorded pools.

    Raises
    ------
    InputFileError
        If there is no pool to read.
    """
    began = time.time()
    folder = Path(out) / POOLS
    folder.mkdir(parents=True, exist_ok=True)
    chosen = {episode.name: episode for episode in episodes(set_name, data, limit or (8 if quick else None))}
    files = {name: folder / f"{name}.npz" for name in chosen}
    if not rescore:
        jobs = [(path, chosen[name], seed) for name, path in files.items() if not path.exists()]
        for reason in run_jobs(f"searches {set_name}", record_pool, jobs, WORKERS):
            if reason:
                print(f"left out: {reason}")
    present = [path for path in files.values() if path.exists()]
    if not present:
        raise InputFileError(f"{folder} holds no pools of {set_name}", "those of --decompose", "run --decompose first")
    pools = [(pool, chosen[pool.name]) for pool in read_pools(present)]
    rows = dict(run_jobs("scores", score_pool, pools, WORKERS))
    write_decomposition(Path(out), set_name, [rows[name] for name in sorted(rows)], quick or limit is not None, began)


def score_pool(pool: Pool, episode: Episode) -> tuple[str, Numbers]:
    """Numbers of one loop: nearest candidates by stage, what each score chooses, and rank correlations by band."""
    loop = loop_of_episode(episode)
    numbers: Numbers = {f"nearest.{stage}": float(pool.rmsd(stage).min()) for stage in pool.rows}
    final = pool.rmsd("pool")
    scores = terms_of_pool(loop, pool.rows["pool"])
    for name, value in scores.items():
        numbers[f"chosen.{name}"] = float(final[value.argmin()])
    order = select_distinct(pool.rows["pool"].reshape(len(final), -1, 3), scores["total"], len(final), MIN_RMSD_MODELS)
    numbers["families"] = float(len(order))
    for count in FAMILIES:
        numbers[f"nearest_of_heads.{count}"] = float(final[order[:count]].min())
    numbers |= correlations(loop, pool)
    return episode.name, numbers | {"cpu_seconds": pool.cpu_seconds}


def terms_of_pool(loop: LoopCandidates, backbone: np.ndarray) -> dict[str, np.ndarray]:
    """Cost of each candidate (K, n, 4, 3) by each score alone, and by the total of `FOUND` without clashes."""
    potential, judge = learned_scores(loop, backbone)
    total = Scores.of(potential, judge=judge).total(replace(FOUND, clash=0.0))
    return {"potential": potential, "judge": judge, "total": total}


def learned_scores(loop: LoopCandidates, backbone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Potential and judge's energy (K,) of backbones (K, n, 4, 3) in nm."""
    return loop.potential_of_backbone(backbone, shipped_score()[0]), loop.judge_of_backbone(backbone)


def correlations(loop: LoopCandidates, pool: Pool, count: int = 200) -> Numbers:
    """Spearman correlation of each score with the RMSD, within bands of RMSD, over candidates of all stages."""
    from scipy.stats import spearmanr

    rows = np.concatenate([pool.rows["tried"], pool.rows["pool"]])
    distance = np.concatenate([pool.rmsd("tried"), pool.rmsd("pool")])
    noise, numbers = np.random.default_rng(0), dict[str, float]()
    for low, high in BANDS:
        members = np.flatnonzero((distance >= low) & (distance < high))
        if len(members) < 20:
            continue
        members = np.sort(noise.permutation(members)[:count])
        for name, value in zip(("potential", "judge"), learned_scores(loop, rows[members]), strict=True):
            numbers[f"spearman.{name}.{low:g}_{high:g}"] = float(spearmanr(value, distance[members]).statistic)
    return numbers


def write_decomposition(folder: Path, set_name: str, rows: list[Numbers], quick: bool, began: float) -> None:
    """Write table and summary: medians and means over the loops.

    Parameters
    ----------
    folder : Path
        Output folder.
    set_name : str
        Name of the set.
    rows : list of dict
        Numbers of each loop.
    quick : bool
        Whether only a part of the set was run.
    began : float
        Start of the run (`time.time`).
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = {name: np.array([row[name] for row in rows if name in row]) for name in names}
    table = table_of(
        ["quantity", "loops", "median", "mean", "below 1 A", "below 2 A"],
        [
            [
                name,
                str(len(value)),
                f"{np.median(value):.2f}",
                f"{value.mean():.2f}",
                *(
                    (f"{(value < limit).mean():.2f}" for limit in (1, 2))
                    if "nearest" in name or "chosen" in name
                    else "  "
                ),
            ]
            for name, value in values.items()
        ],
    )
    metrics = {f"geofold.{name}.median": float(np.median(value)) for name, value in values.items()}
    metrics |= {f"geofold.{name}.mean": float(value.mean()) for name, value in values.items()}
    write_summary(
        folder,
        {"geofold.loops": float(len(rows)), **metrics},
        quick=quick,
        began=began,
        table=table,
        note=f"decomposition of the loop search, {set_name}",
    )
