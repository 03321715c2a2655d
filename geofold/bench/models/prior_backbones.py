"""Every backbone trained as the torsion prior at an equal budget: which one should be the default?

A backbone's batches a second are measured alone, in turn; the budget in seconds is then a number of batches, so that
the training itself does not depend on what else the machine does. The best of the first round, and the default, go on
to a second one with five times as much.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.backbone.registry import NAMES
from geofold.bench.common.records import Records, mean_and_half_width, table_of, write_summary
from geofold.errors import OptionError
from geofold.learn.data.chains import read_chains
from geofold.learn.torsion_prior.model import WEIGHTS, TorsionPrior, load_prior
from geofold.learn.torsion_prior.training import WINDOW_SIZE, draw_batch, negative_log_likelihoods, train_prior

SECONDS, QUICK_SECONDS = 120.0, 4.0
LONGER, FINALISTS = 5.0, 3
TIMED = 5
WORKERS = 2
JUDGED = 32
"""Rows of a judged batch."""


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Train, judge on the validation split, write the table.

    Raises
    ------
    OptionError
        Without data.
    """
    if data is None:
        raise OptionError("part backbones without --data", "the folder of backbones.npz", "add --data FOLDER")
    began = time.time()
    records = Records(out)
    file = Path(data) / "backbones.npz"
    names = NAMES[:limit]
    budget = QUICK_SECONDS if quick else SECONDS
    for name in names:
        if not records.has("pace", name):
            records.add("pace", name, **pace(file, name))
    rounds = [("first", budget, list(names))]
    _round(records, file, *rounds[0], seed)
    best = sorted(names, key=lambda name: _row(records, "first", name)["nll"])[:FINALISTS]
    usual = [TorsionPrior.USUAL] if TorsionPrior.USUAL in names else []
    rounds.append(("second", LONGER * budget, list(dict.fromkeys([*usual, *best]))))
    _round(records, file, *rounds[1], seed)
    summarise(records, rounds, quick=quick, began=began)


def pace(file: Path, name: str) -> dict[str, float]:
    """Milliseconds of a batch of training, and parameters."""
    chains = read_chains(file)
    part = draw_batch(chains, chains.windows("train", WINDOW_SIZE), 0, 0)
    model = TorsionPrior(name)
    found = []
    for _ in range(TIMED):
        began = time.perf_counter()
        sum(negative_log_likelihoods(model, *part), torch.zeros(())).backward()
        found.append(1e3 * (time.perf_counter() - began))
    return {"milliseconds": float(np.median(found)), "parameters": sum(p.numel() for p in model.parameters())}


def _round(records: Records, file: Path, stage: str, budget: float, names: list[str], seed: int) -> None:
    """Train those that have no record of this round yet, two at a time."""
    with ProcessPoolExecutor(WORKERS) as pool:
        jobs = {}
        for name in names:
            if not records.has(stage, name):
                steps = max(round(1e3 * budget / _row(records, "pace", name)["milliseconds"]), 1)
                folder = records.folder / "training" / f"{stage}_{name}"
                jobs[pool.submit(trained, file, folder, name, steps, seed)] = name
        for job in as_completed(jobs):
            records.add(stage, jobs[job], **job.result())


def trained(file: Path, folder: Path, name: str, steps: int, seed: int) -> dict[str, Any]:
    """Train one, judge it on all windows of the validation split."""
    torch.set_num_threads(1)
    began = time.process_time()
    train_prior(file, folder, steps=steps, seed=seed, kind=name)
    seconds = time.process_time() - began
    each = judged(load_prior(folder / WEIGHTS)[0], file)
    mean, half = mean_and_half_width(each)
    return {"nll": mean, "ci": half, "steps": steps, "cpu_seconds": seconds, "windows": [round(x, 4) for x in each]}


@torch.no_grad()
def judged(model: TorsionPrior, file: Path) -> list[float]:
    """Negative log-likelihood (nat a residue) of (phi, psi) of every validation window."""
    chains = read_chains(file)
    starts = chains.windows("valid", WINDOW_SIZE)
    found: list[float] = []
    for k in range(0, len(starts), JUDGED):
        place = starts[k : k + JUDGED] + np.arange(WINDOW_SIZE)[:, None]
        torsions = torch.as_tensor(chains.torsions[place])
        each, _ = model.log_likelihood(torch.as_tensor(chains.residue[place]).long(), torsions)
        found += (-each.sum(0) / torsions[..., :2].isfinite().all(-1).sum(0)).tolist()
    return found


def _row(records: Records, stage: str, name: str) -> dict[str, Any]:
    return next(row for row in records.rows if row["episode"] == stage and row["agent"] == name)


def summarise(records: Records, rounds: list[tuple[str, float, list[str]]], *, quick: bool, began: float) -> None:
    """Table and summary; differences to the best of a round are paired by window."""
    metrics: dict[str, float] = {}
    body = []
    for stage, budget, names in rounds:
        rows = sorted((_row(records, stage, name) for name in names), key=lambda row: float(row["nll"]))
        for row in rows:
            name = row["agent"]
            behind, half = mean_and_half_width(np.subtract(row["windows"], rows[0]["windows"]))
            timed = _row(records, "pace", name)
            metrics |= {f"{stage}.{name}.nll": row["nll"], f"{stage}.{name}.behind": behind}
            metrics |= {f"{stage}.{name}.behind_ci": half, f"{stage}.{name}.steps": row["steps"]}
            body.append(
                [
                    f"{budget:.0f} s", name, f"{row['nll']:.4f}", f"{behind:.4f} +- {half:.4f}", str(row["steps"]),
                    f"{timed['milliseconds']:.0f}", str(timed["parameters"]),
                ]
            )  # fmt: skip
    columns = [
        "budget", "backbone", "nat a residue, validation", "behind the best", "batches", "ms a batch", "parameters",
    ]  # fmt: skip
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="backbones")
