"""How the peptide policy is trained: it imitates what an offline optimiser found, from noisy ways there.

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
"""Share of the lessons that the curve is judged by."""
CALIBRATION_SIZE = 10_000
"""About how many held-out increments the temperature is found on."""


class Demonstration(NamedTuple):
    """A way of a peptide: features (T, L, F), poses (T, L, 12), increments (T, L, 4) still missing, NaN where fixed."""

    features: Tensor
    pose: Tensor
    missing: Tensor


def stack_demonstrations(lessons: Sequence[Demonstration]) -> Demonstration:
    """Several peptides side by side (T, P, L, ...), the shorter ones filled up with residues that are not there."""
    longest = max(lesson.features.shape[1] for lesson in lessons)

    def stacked(parts: Sequence[Tensor], value: float = 0.0) -> Tensor:
        wide = [torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1]), value=value) for part in parts]
        return torch.stack(wide, 1)

    features, pose, missing = zip(*lessons, strict=True)
    return Demonstration(stacked(features), stacked(pose), stacked(missing, torch.nan))


def scan_latents(policy: Policy, lesson: Demonstration) -> Tensor:
    """Latents (T, P, L, d) along lessons."""
    enters = policy.enters(lesson.features, lesson.pose)
    rows = enters.shape[1:3]
    return policy.stream.scan(enters.flatten(1, 2), policy.stream.init_state(rows.numel()))[0].unflatten(1, rows)


def imitation_loss(policy: Policy, lesson: Demonstration) -> Tensor:
    """Mean negative log-likelihood of what is missing, nat a torsion."""
    known = lesson.missing.isfinite()
    return -policy.decode(scan_latents(policy, lesson)).log_density(lesson.missing.nan_to_num(0.0))[known].mean()


def train_peptide(
    lessons: Callable[[int], Demonstration], count: int, folder: str | Path, *, steps: int = STEPS, seed: int = 0,
    told: ProgressCallback | None = None, stop: int | None = None, card: dict[str, Any] | None = None,
    policy: Policy | None = None, weights: str = WEIGHTS, **options: Any,
) -> float:  # fmt: skip
    """Train on lessons by number, the last tenth of them held out; returns the last validation loss.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    card
        What else to tell in the card.
    policy, weights
        Another model than a `PeptidePolicy` of the options, and the name of its file.
    """
    model: Any = PeptidePolicy(seed=seed, **options) if policy is None else policy
    learnt = count - max(int(HELD_OUT_SHARE * count), 1)
    held_out = stack_demonstrations([lessons(k) for k in range(learnt, count)])

    def losses(number: int) -> Iterator[Tensor]:
        chosen = np.random.default_rng([seed, number]).integers(learnt, size=BATCH_SIZE)
        yield imitation_loss(model, stack_demonstrations([lessons(int(k)) for k in chosen]))

    curve = train(
        model,
        losses,
        lambda: float(imitation_loss(model, held_out)),
        folder,
        Schedule(steps, rate=2e-3),
        told,
        stop=stop,
    )
    write_curve(folder, curve, "negative log-likelihood (nat a torsion)")
    if curve[-1][0] == steps:
        said, missing = predict_increments(model, [lessons(k) for k in range(learnt, count)])
        model.temperature = fit_temperature(said, missing, TEMPERATURES)
        whole = {
            "model": "peptide policy", "options": model.options, "temperature": model.temperature, "seed": seed,
            "steps": steps, "rows": BATCH_SIZE, "lessons": count, "valid_nll": curve[-1][2],
            "parameters": sum(p.numel() for p in model.parameters()),
        }  # fmt: skip
        save_weights(Path(folder) / weights, model.state_dict(), whole | (card or {}))
    return curve[-1][2]


@torch.no_grad()
def predict_increments(policy: Policy, lessons: Sequence[Demonstration]) -> tuple[Increments, Tensor]:
    """What a policy says of about `CALIBRATED` increments of lessons, and the increments themselves (n,)."""
    whole = stack_demonstrations(lessons)
    known = whole.missing.isfinite()
    every = max(int(known.sum()) // CALIBRATION_SIZE, 1)
    said = policy.decode(scan_latents(policy, whole))
    return Increments(*(part[known][::every] for part in said)), whole.missing[known][::every]
