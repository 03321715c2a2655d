"""Fit of the confidence of loop models: the expected RMSD to the native, and its interval, on validation loops.

Loops of validation chains are removed and built as a user would build them, some with the side chains around them and
some without. The fit goes into the card of the learned potential by hand, `geofold/data/score.json`. How often the
interval holds is measured with each loop left out of the fit in turn.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.loop.sets import Episode, episodes
from geofold.errors import GeofoldError, InputFileError
from geofold.files import write_atomically
from geofold.geometry import rmsd
from geofold.learn.loop_score.confidence import fit_confidence
from geofold.modelling.build.missing_loops import build_loops
from geofold.modelling.evaluation import backbone_of_end
from geofold.modelling.options import RunOptions
from geofold.modelling.search.ensemble import potential_of_end
from geofold.molecule.loop.build_request import plan_builds
from geofold.molecule.selection import backbone_atoms

AGENT = "geofold"
SETS = {"calibration": 100, "valid_bare": 12}
"""Sets of validation loops, and how many of each."""
CLASSES = ((4, 5), (6, 8), (9, 12), (13, 16))
"""Ranges of length for which the share of loops within the interval is given."""
ENTRY = "confidence.json"
"""The fit, as the card of the potential has it."""
WORKERS = 2
Numbers = dict[str, Any]


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Build the loops that are not in the records yet, then write the fit, a table and the summary.

    Parameters
    ----------
    out : str
        Folder of the records.
    data : str or None
        Folder of the chains.
    quick : bool
        Build eight loops of each set only.
    limit : int or None
        Number of loops of each set.
    seed : int
        Seed of the searches.

    Raises
    ------
    InputFileError
        If no loop could be built.
    """
    began, records = time.time(), Records(out)
    jobs = [
        (name, episode, seed)
        for name, count in SETS.items()
        for episode in episodes(name, data, limit or (8 if quick else count))
        if not records.has(f"{name}/{episode.name}", AGENT)
    ]
    gather(records, "confidence", build_episode, jobs, WORKERS)
    rows = [row for row in records.of(AGENT) if "failed" not in row]
    if not rows:
        raise InputFileError(f"{out} holds no loop that was built", "loops of validation chains", "check --data")
    summarise(records, rows, quick=quick or limit is not None, began=began)


def build_episode(name: str, episode: Episode, seed: int) -> list[tuple[str, str, Numbers]]:
    """Build a loop; its record has the features of the first model's confidence, and its RMSD.

    Parameters
    ----------
    name : str
        Name of the set.
    episode : Episode
    seed : int
    """
    key = f"{name}/{episode.name}"
    options = RunOptions(seed=seed, repack_shell=episode.shell)
    try:
        builds = plan_builds(episode.start, [f"{episode.loop}={episode.sequence}"])
        (built, *_) = build_loops(episode.start, builds, options)
    except GeofoldError as error:
        return [(key, AGENT, {"failed": str(error).splitlines()[0]})]
    (model, *_), ensemble = built.models, built.initial[0].ensemble
    assert ensemble is not None
    first, last = episode.span
    atoms = backbone_atoms(episode.native, first, last, episode.native.conformer_mask)
    native = episode.native.xyz[np.array(atoms, dtype=np.int64)].reshape(-1, 4, 3)
    backbone = backbone_of_end(built.structure, model)
    numbers = {
        "features": ensemble.features(backbone, potential_of_end(built.structure, model)).tolist(),
        "rmsd": 10 * float(rmsd(backbone, native)),
        "residues": last - first + 1,
        "repacked": bool(len(model.outcome.repacked.atoms)),
    }
    return [(key, AGENT, numbers)]


def summarise(records: Records, rows: list[Numbers], *, quick: bool, began: float) -> None:
    """Write the fit, a table by length, and the summary.

    Parameters
    ----------
    records : Records
        All records of the run.
    rows : list of dict
        Those of loops that were built.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    features, actual = [np.array(row["features"]) for row in rows], [row["rmsd"] for row in rows]
    repacked = [row["repacked"] for row in rows]
    fit = fit_confidence(features, actual, repacked)
    counts = {name: sum(row["episode"].startswith(f"{name}/") for row in rows) for name in SETS}
    entry = json.dumps(fit.as_dict() | {"sets": counts}, indent=2) + "\n"
    write_atomically(records.folder / ENTRY, lambda path: Path(path).write_text(entry, encoding="utf-8"))
    intervals = [predict_left_out(features, actual, repacked, k) for k in range(len(rows))]
    metrics, body = {"loops": float(len(rows))}, list[list[str]]()
    groups = {f"{low}_to_{high}": [low <= row["residues"] <= high for row in rows] for low, high in CLASSES}
    groups |= {name: [row["episode"].startswith(f"{name}/") for row in rows] for name in SETS}
    for name, inside in {"all": [True] * len(rows), **groups}.items():
        chosen = [(interval, value) for interval, value, yes in zip(intervals, actual, inside, strict=True) if yes]
        if not chosen:
            continue
        held = np.mean([low <= value <= high for (_, low, high), value in chosen])
        ratio = np.median([value / middle for (middle, _, _), value in chosen])
        median = float(np.median([value for _, value in chosen]))
        metrics |= {f"{name}.loops": float(len(chosen)), f"{name}.inside": float(held), f"{name}.ratio": float(ratio)}
        metrics[f"{name}.median_rmsd"] = median
        body.append([name.replace("_", " "), str(len(chosen)), f"{median:.2f}", f"{ratio:.2f}", f"{held:.2f}"])
    table = table_of(["loops", "count", "median RMSD (A)", "median of RMSD / expected", "within the interval"], body)
    write_summary(records.folder, metrics, quick=quick, began=began, table=table, note="confidence, validation loops")


def predict_left_out(
    features: list[np.ndarray], actual: list[float], repacked: list[bool], k: int
) -> tuple[float, float, float]:
    """Predict the RMSD (A) of loop `k`, and the ends of its interval, by a fit to the other loops.

    Parameters
    ----------
    features : list of (F,)
    actual : list of float
        RMSD (A).
    repacked : list of bool
        Whether side chains around the loop were repacked.
    k : int
    """
    others = [j for j in range(len(actual)) if j != k]
    fit = fit_confidence([features[j] for j in others], [actual[j] for j in others], [repacked[j] for j in others])
    return fit.predict_rmsd(features[k], repacked[k])
