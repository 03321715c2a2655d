"""Train the peptide policy: it imitates what an offline optimiser found, from noisy paths towards it.

Glossary: ``T`` steps, ``P`` peptides side by side, ``L`` residues, ``F`` features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_denoiser.model import Increments
from geofold.learn.loop_denoiser.training import TEMPERATURES, fit_temperature
from geofold.learn.peptide_policy.model import WEIGHTS, PeptidePolicy, Policy
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import save_weights

BATCH_SIZE = 32
"""Peptides of a batch."""
STEPS = 3000
HELD_OUT_SHARE = 0.1
"""Fraction of the demonstrations used for validation."""
CALIBRATION_SIZE = 10_000
"""Approximate number of held-out increments on which the temperature is fitted."""


class Demonstration(NamedTuple):
    """Path of a peptide.

    features : (T, L, F)
    pose : (T, L, 12)
    missing : (T, L, 4) increments that are still to be made (radian), NaN for fixed torsions.
    """

    features: Tensor
    pose: Tensor
    missing: Tensor


def stack_demonstrations(demonstrations: Sequence[Demonstration]) -> Demonstration:
    """Stack peptides side by side, fields (T, P, L, ...); shorter ones are padded with missing residues."""
    longest = max(part.features.shape[1] for part in demonstrations)

    def stack(parts: Sequence[Tensor], value: float = 0.0) -> Tensor:
        padded = [torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1]), value=value) for part in parts]
        return torch.stack(padded, 1)

    features, pose, missing = zip(*demonstrations, strict=True)
    return Demonstration(stack(features), stack(pose), stack(missing, torch.nan))


def scan_latents(policy: Policy, demonstration: Demonstration) -> Tensor:
    """Latents (T, P, L, d) of a policy along demonstrations."""
    inputs = policy.embed(demonstration.features, demonstration.pose)
    rows = inputs.shape[1:3]
    return policy.stream.scan(inputs.flatten(1, 2), policy.stream.init_state(rows.numel()))[0].unflatten(1, rows)


def imitation_loss(policy: Policy, demonstration: Demonstration) -> Tensor:
    """Mean negative log-likelihood of the missing increments (nat per torsion)."""
    known = demonstration.missing.isfinite()
    density = policy.decode(scan_latents(policy, demonstration)).log_density(demonstration.missing.nan_to_num(0.0))
    return -density[known].mean()


def train_peptide(
    demonstrations: Callable[[int], Demonstration],
    count: int,
    folder: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    card: dict[str, Any] | None = None,
    policy: Policy | None = None,
    weights: str = WEIGHTS,
    **options: Any,
) -> float:
    """Train a policy; the last tenth of the demonstrations is held out for validation.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    demonstrations : callable
        Gives a demonstration by its number.
    count : int
        Number of demonstrations.
    folder : str or Path
        Output folder.
    steps, seed : int
        Number of batches, and seed of weights and batches.
    progress, stop
        See `geofold.learn.training_loop.train`.
    card : dict, optional
        Further entries of the card.
    policy, weights : Policy and str, optional
        An untrained policy, a new `PeptidePolicy` by default, and the file name of its weights.
    options
        Options of `PeptidePolicy`.

    Returns
    -------
    float
        Last validation loss (nat per torsion).
    """
    model: Any = PeptidePolicy(seed=seed, **options) if policy is None else policy
    train_count = count - max(int(HELD_OUT_SHARE * count), 1)
    held_out = stack_demonstrations([demonstrations(k) for k in range(train_count, count)])

    def losses(number: int) -> Iterator[Tensor]:
        rows = np.random.default_rng([seed, number]).integers(train_count, size=BATCH_SIZE)
        yield imitation_loss(model, stack_demonstrations([demonstrations(int(k)) for k in rows]))

    schedule = Schedule(steps, rate=2e-3)
    curve = train(model, losses, lambda: float(imitation_loss(model, held_out)), folder, schedule, progress, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat per torsion)")
    if curve[-1][0] == steps:
        predicted, missing = predict_increments(model, [demonstrations(k) for k in range(train_count, count)])
        model.temperature = fit_temperature(predicted, missing, TEMPERATURES)
        entries = _card(model, seed, count, curve[-1])
        save_weights(Path(folder) / weights, model.state_dict(), entries | (card or {}))
    return curve[-1][2]


@torch.no_grad()
def predict_increments(policy: Policy, demonstrations: Sequence[Demonstration]) -> tuple[Increments, Tensor]:
    """Predictions of about `CALIBRATION_SIZE` increments (n,) of demonstrations, and the increments themselves."""
    stacked = stack_demonstrations(demonstrations)
    known = stacked.missing.isfinite()
    stride = max(int(known.sum()) // CALIBRATION_SIZE, 1)
    predicted = policy.decode(scan_latents(policy, stacked))
    return Increments(*(part[known][::stride] for part in predicted)), stacked.missing[known][::stride]


def _card(model: Any, seed: int, count: int, end: tuple[int, float, float]) -> dict[str, Any]:
    """Card of a policy trained on `count` demonstrations; `end` is the last row of its learning curve."""
    return {
        "model": "peptide policy",
        "options": model.options,
        "temperature": model.temperature,
        "seed": seed,
        "steps": end[0],
        "rows": BATCH_SIZE,
        "lessons": count,
        "valid_nll": end[2],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
