"""Train the torsion prior on the chains of a `backbones.npz`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geofold.learn.data.chains import Chains, read_chains, require_splits
from geofold.learn.torsion_prior.model import WEIGHTS, TorsionPrior
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import data_hash, save_weights

BATCH_SIZE, WINDOW_SIZE, MIN_WINDOW_SIZE = 16, 128, 16
"""Windows of a batch, residues of each, and the smallest size to which windows are halved if chains are short."""
VALIDATION_BATCHES = 12
CIS_WEIGHT = 1.0
UNLIKELY_WINDOW, UNLIKELY_SHARE = 5, 0.005
"""Residues of a segment, and fraction of the segments of native chains that count as unlikely."""
STEPS = 10000


def draw_batch(
    chains: Chains, starts: np.ndarray, number: int, seed: int, rows: int = BATCH_SIZE, size: int = WINDOW_SIZE
) -> tuple[Tensor, Tensor]:
    """Draw a batch of windows by its number.

    Parameters
    ----------
    chains : Chains
        The data.
    starts : (n,) int
        First residues of the windows.
    number, seed : int
        Number and seed of the batch.
    rows : int
        Windows to draw.
    size : int
        Residues of a window.

    Returns
    -------
    (T, B), (T, B, 3)
        Letters and torsions (radian).
    """
    first = starts[np.random.default_rng([seed, number]).integers(len(starts), size=rows)]
    residue = first + np.arange(size)[:, None]
    return torch.as_tensor(chains.residue[residue]).long(), torch.as_tensor(chains.torsions[residue])


def window_size(chains: Chains, path: str | Path) -> int:
    """Residues of a window: `WINDOW_SIZE`, halved until the training and the validation split both have one.

    Raises
    ------
    InputFileError
        If one of them has no chain of `MIN_WINDOW_SIZE` residues.
    """
    require_splits(chains, path, MIN_WINDOW_SIZE)
    size = WINDOW_SIZE
    while not all(len(chains.windows(split, size)) for split in ("train", "valid")):
        size //= 2
    return size


def negative_log_likelihoods(model: TorsionPrior, letters: Tensor, torsions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihoods of (phi, psi) and of omega, in nat per residue that has them."""
    torsion, isomer = model.log_likelihood(letters, torsions)
    known = torsions[..., :2].isfinite().all(-1)
    return -torsion[known].mean(), -isomer[torsions[..., 2].isfinite()].mean()


def train_prior(
    data: str | Path,
    folder: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    **options: Any,
) -> float:
    """Train on the training split of a `backbones.npz`.

    The folder gets checkpoint, curve (CSV and PNG), weights and card. An interrupted run resumes from its last
    checkpoint and ends with the same weights.

    Parameters
    ----------
    data : str or Path
        The chains.
    folder : str or Path
        Output folder.
    steps : int
        Number of batches.
    seed : int
        Seed of weights and batches.
    progress, stop
        See `geofold.learn.training_loop.train`.
    options
        Options of `TorsionPrior`.

    Returns
    -------
    float
        Last validation loss (nat per residue).

    Raises
    ------
    InputFileError
        If `data` is not a file of backbones or has no chain that is long enough in one of the two splits, or the folder
        holds a checkpoint of another schedule.
    """
    chains = read_chains(data)
    size = window_size(chains, data)
    starts = {split: chains.windows(split, size) for split in ("train", "valid")}
    model = TorsionPrior(seed=seed, **options)
    held_out = [draw_batch(chains, starts["valid"], k, 1, size=size) for k in range(VALIDATION_BATCHES)]

    def losses(number: int) -> Iterator[Tensor]:
        torsion, isomer = negative_log_likelihoods(model, *draw_batch(chains, starts["train"], number, seed, size=size))
        yield torsion + CIS_WEIGHT * isomer

    def validate() -> float:
        return float(np.mean([float(negative_log_likelihoods(model, *part)[0]) for part in held_out]))

    curve = train(model, losses, validate, folder, Schedule(steps), progress, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat per residue)")
    if curve[-1][0] == steps:
        card = _card(model, data, held_out, seed, curve[-1])
        save_weights(Path(folder) / WEIGHTS, model.state_dict(), card)
    return curve[-1][2]


@torch.no_grad()
def unlikely_threshold(model: TorsionPrior, held_out: list[tuple[Tensor, Tensor]]) -> float:
    """Mean log-likelihood (nat) below which `UNLIKELY_SHARE` of the segments of `UNLIKELY_WINDOW` residues are."""
    segments = []
    for letters, torsions in held_out:
        likelihood, _ = model.log_likelihood(letters, torsions)
        means = likelihood.unfold(0, UNLIKELY_WINDOW, 1).mean(-1)
        segments.append(means[torsions[..., :2].isfinite().all(-1).unfold(0, UNLIKELY_WINDOW, 1).all(-1)])
    return float(torch.cat(segments).quantile(UNLIKELY_SHARE))


def _card(
    model: TorsionPrior,
    data: str | Path,
    held_out: list[tuple[Tensor, Tensor]],
    seed: int,
    end: tuple[int, float, float],
) -> dict[str, Any]:
    """Card of a trained prior; `end` is the last row of its learning curve."""
    kind = model.options["kind"]
    backbone = "" if kind == TorsionPrior.USUAL else f" --backbone {kind}"
    return {
        "model": "torsion prior",
        "options": model.options,
        "seed": seed,
        "steps": end[0],
        "rows": BATCH_SIZE,
        "size": len(held_out[0][0]),
        "window": UNLIKELY_WINDOW,
        "unlikely_nat": unlikely_threshold(model, held_out),
        "data_sha256": data_hash(data),
        "valid_nll": end[2],
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": f"geofold train prior --steps {end[0]} --seed {seed}{backbone}",
    }
