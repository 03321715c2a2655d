"""Training of every backbone as the torsion prior at an equal budget, to choose the default.

The time per batch of each backbone is measured alone and converts the budget to a number of batches, so that the
training does not depend on other load of the machine. The best of the first round, and the default, are trained in a
second round with five times the budget.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geofold.backbone.registry import BACKBONE_NAMES
from geofold.bench.common.data import require_data
from geofold.bench.common.records import Records, gather, table_of, write_summary
from geofold.bench.common.statistics import mean_and_half_width
from geofold.learn.data.chains import read_chains
from geofold.learn.torsion_prior.model import WEIGHTS, TorsionPrior, load_prior
from geofold.learn.torsion_prior.training import WINDOW_SIZE, draw_batch, negative_log_likelihoods, train_prior

FIRST_BUDGET, QUICK_BUDGET = 120.0, 4.0
SECOND_BUDGET_FACTOR, FINALISTS = 5.0, 3
TIMED_BATCHES = 5
WORKERS = 2
EVALUATION_ROWS = 32
"""Number of windows in a batch of the evaluation."""


def run(out: str, *, data: str | None, quick: bool, limit: int | None, seed: int) -> None:
    """Train, evaluate on the validation split, and write the table.

    Parameters
    ----------
    out : str
        Folder of the records and of the trained weights.
    data : str or None
        Folder of `backbones.npz`.
    quick : bool
        Train for four seconds instead of two minutes.
    limit : int or None
        Number of backbones, in the order of `BACKBONE_NAMES`.
    seed : int
        Seed of weights and batches.

    Raises
    ------
    OptionError
        If there is no data.
    """
    data = require_data(data, "part backbones", "backbones.npz")
    began = time.time()
    records = Records(out)
    file = Path(data) / "backbones.npz"
    names = BACKBONE_NAMES[:limit]
    budget = QUICK_BUDGET if quick else FIRST_BUDGET
    for name in names:
        if not records.has("pace", name):
            records.add("pace", name, **measure_pace(file, name))
    rounds = [("first", budget, list(names))]
    _train_round(records, file, *rounds[0], seed)
    finalists = sorted(names, key=lambda name: _row(records, "first", name)["nll"])[:FINALISTS]
    default = [TorsionPrior.USUAL] if TorsionPrior.USUAL in names else []
    rounds.append(("second", SECOND_BUDGET_FACTOR * budget, list(dict.fromkeys([*default, *finalists]))))
    _train_round(records, file, *rounds[1], seed)
    summarise(records, rounds, quick=quick, began=began)


def measure_pace(file: Path, name: str) -> dict[str, float]:
    """Time (ms) of a training batch, and number of parameters."""
    chains = read_chains(file)
    part = draw_batch(chains, chains.windows("train", WINDOW_SIZE), 0, 0)
    model = TorsionPrior(name)
    times = []
    for _ in range(TIMED_BATCHES):
        began = time.perf_counter()
        sum(negative_log_likelihoods(model, *part), torch.zeros(())).backward()
        times.append(1e3 * (time.perf_counter() - began))
    return {"milliseconds": float(np.median(times)), "parameters": sum(p.numel() for p in model.parameters())}


def _train_round(records: Records, file: Path, stage: str, budget: float, names: list[str], seed: int) -> None:
    """Train the backbones that have no record of this round yet, `WORKERS` at a time.

    Parameters
    ----------
    records : Records
        Holds the time per batch of each backbone; is appended to.
    file : Path
        Chains (`backbones.npz`).
    stage : str
        Name of the round.
    budget : float
        Seconds of training per backbone, converted to a number of batches.
    names : list of str
        Backbones of the round.
    seed : int
        Seed of weights and batches.
    """
    jobs = []
    for name in names:
        if not records.has(stage, name):
            steps = max(round(1e3 * budget / _row(records, "pace", name)["milliseconds"]), 1)
            jobs.append((stage, name, file, records.folder / "training" / f"{stage}_{name}", steps, seed))
    gather(records, f"{stage} round", _train_one, jobs, WORKERS)


def _train_one(
    stage: str, name: str, file: Path, folder: Path, steps: int, seed: int
) -> list[tuple[str, str, dict[str, Any]]]:
    """Train a backbone and evaluate it on all windows of the validation split; returns its record."""
    began = time.process_time()
    train_prior(file, folder, steps=steps, seed=seed, kind=name)
    seconds = time.process_time() - began
    each = evaluate(load_prior(folder / WEIGHTS)[0], file)
    mean, half_width = mean_and_half_width(each)
    windows = [round(x, 4) for x in each]
    numbers = {"nll": mean, "ci": half_width, "steps": steps, "cpu_seconds": seconds, "windows": windows}
    return [(stage, name, numbers)]


@torch.no_grad()
def evaluate(model: TorsionPrior, file: Path) -> list[float]:
    """Negative log-likelihood (nat per residue) of (phi, psi) of every validation window."""
    chains = read_chains(file)
    starts = chains.windows("valid", WINDOW_SIZE)
    times: list[float] = []
    for k in range(0, len(starts), EVALUATION_ROWS):
        index = starts[k : k + EVALUATION_ROWS] + np.arange(WINDOW_SIZE)[:, None]
        torsions = torch.as_tensor(chains.torsions[index])
        each, _ = model.log_likelihood(torch.as_tensor(chains.residue[index]).long(), torsions)
        times += (-each.sum(0) / torsions[..., :2].isfinite().all(-1).sum(0)).tolist()
    return times


def _row(records: Records, stage: str, name: str) -> dict[str, Any]:
    return next(row for row in records.rows if row["episode"] == stage and row["agent"] == name)


def summarise(records: Records, rounds: list[tuple[str, float, list[str]]], *, quick: bool, began: float) -> None:
    """Write table and summary; differences from the best of a round are paired by window.

    Parameters
    ----------
    records : Records
        All records of the run.
    rounds : list of (str, float, list of str)
        Name, budget (s) and backbones of each round.
    quick : bool
        Whether the run was a small one.
    began : float
        Start of the run (`time.time`).
    """
    metrics: dict[str, float] = {}
    body = []
    for stage, budget, names in rounds:
        rows = sorted((_row(records, stage, name) for name in names), key=lambda row: float(row["nll"]))
        for row in rows:
            name = row["agent"]
            distance, half_width = mean_and_half_width(np.subtract(row["windows"], rows[0]["windows"]))
            pace = _row(records, "pace", name)
            metrics |= {f"{stage}.{name}.nll": row["nll"], f"{stage}.{name}.behind": distance}
            metrics |= {f"{stage}.{name}.behind_ci": half_width, f"{stage}.{name}.steps": row["steps"]}
            body.append(
                [
                    f"{budget:.0f} s",
                    name,
                    f"{row['nll']:.4f}",
                    f"{distance:.4f} +- {half_width:.4f}",
                    str(row["steps"]),
                    f"{pace['milliseconds']:.0f}",
                    str(pace["parameters"]),
                ]
            )
    columns = [
        "budget",
        "backbone",
        "nat a residue, validation",
        "behind the best",
        "batches",
        "ms a batch",
        "parameters",
    ]
    write_summary(records.folder, metrics, quick=quick, began=began, table=table_of(columns, body), note="backbones")
