"""How the torsion prior is trained, and how its weights are read."""

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

BATCH_SIZE, WINDOW_SIZE, SHORTEST = 16, 128, 16
"""Windows of a batch and residues of a window; with short chains it is halved down to the shortest."""
VALIDATION_BATCHES = 12
"""Batches of the validation split that the curve is judged by."""
CIS_WEIGHT = 1.0
UNLIKELY_WINDOW, UNLIKELY_SHARE = 5, 0.005
"""Residues of a stretch, and the share of nature's stretches that count as unlikely."""
STEPS = 10000


def draw_batch(
    chains: Chains, starts: np.ndarray, number: int, seed: int, rows: int = BATCH_SIZE, size: int = WINDOW_SIZE
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Letters (T, B) and torsions (T, B, 3) of windows drawn by number."""
    chosen = starts[np.random.default_rng([seed, number]).integers(len(starts), size=rows)]
    place = chosen + np.arange(size)[:, None]
    return torch.as_tensor(chains.residue[place]).long(), torch.as_tensor(chains.torsions[place])


def window_size(chains: Chains, path: str | Path) -> int:
    """Residues of a window: `SIZE`, halved until the training and the validation split both have one.

    Raises
    ------
    InputFileError
        If one of them has no chain of `SHORTEST` residues.
    """
    require_splits(chains, path, SHORTEST)
    size = WINDOW_SIZE
    while not all(len(chains.windows(split, size)) for split in ("train", "valid")):
        size //= 2
    return size


def negative_log_likelihoods(model: TorsionPrior, letters: Tensor, torsions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihood of (phi, psi) and of omega, in nat a residue that has them."""
    torsion, turn = model.log_likelihood(letters, torsions)
    known = torsions[..., :2].isfinite().all(-1)
    return -torsion[known].mean(), -turn[torsions[..., 2].isfinite()].mean()


def train_prior(
    data: str | Path, folder: str | Path, *, steps: int = STEPS, seed: int = 0, told: ProgressCallback | None = None,
    stop: int | None = None, **options: Any,
) -> float:  # fmt: skip
    """Train on the training split of a `backbones.npz`; returns the last validation loss.

    The folder gets checkpoint, curve (CSV and PNG), weights and card; a run that was killed goes on from its last
    checkpoint to the same weights.

    Parameters
    ----------
    stop : int or None
        See `geofold.learn.training_loop.train`.
    options
        Of `TorsionPrior`.

    Raises
    ------
    InputFileError
        If the data are no backbones, or one of the two splits has no chain that is long enough.
    """
    chains = read_chains(data)
    size = window_size(chains, data)
    starts = {split: chains.windows(split, size) for split in ("train", "valid")}
    model = TorsionPrior(seed=seed, **options)
    held_out = [draw_batch(chains, starts["valid"], k, 1, size=size) for k in range(VALIDATION_BATCHES)]

    def losses(number: int) -> Iterator[Tensor]:
        torsion, turn = negative_log_likelihoods(model, *draw_batch(chains, starts["train"], number, seed, size=size))
        yield torsion + CIS_WEIGHT * turn

    def validate() -> float:
        return float(np.mean([float(negative_log_likelihoods(model, *part)[0]) for part in held_out]))

    curve = train(model, losses, validate, folder, Schedule(steps), told, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat a residue)")
    if curve[-1][0] == steps:
        card = {
            "model": "torsion prior", "options": model.options, "seed": seed, "steps": steps, "rows": BATCH_SIZE,
            "size": size, "window": UNLIKELY_WINDOW, "unlikely_nat": unlikely_threshold(model, held_out),
            "data_sha256": data_hash(data), "valid_nll": curve[-1][2],
            "parameters": sum(p.numel() for p in model.parameters()),
            "command": f"geofold train prior --steps {steps} --seed {seed}" + _asked(model),
        }  # fmt: skip
        save_weights(Path(folder) / WEIGHTS, model.state_dict(), card)
    return curve[-1][2]


def _asked(model: TorsionPrior) -> str:
    """The backbone, as the command line has it, where it is not the usual one."""
    kind = model.options["kind"]
    return "" if kind == TorsionPrior.USUAL else f" --backbone {kind}"


@torch.no_grad()
def unlikely_threshold(model: TorsionPrior, held_out: list[tuple[Tensor, Tensor]]) -> float:
    """Mean log-likelihood (nat) below which a stretch of `WINDOW` residues is rarer than `RARE` in nature."""
    found = []
    for letters, torsions in held_out:
        each, _ = model.log_likelihood(letters, torsions)
        means = each.unfold(0, UNLIKELY_WINDOW, 1).mean(-1)
        found.append(means[torsions[..., :2].isfinite().all(-1).unfold(0, UNLIKELY_WINDOW, 1).all(-1)])
    return float(torch.cat(found).quantile(UNLIKELY_SHARE))
