"""Train the networks of the potential of loops: the nearer a candidate is to the native, the lower its score.

Scores of the candidates of a loop are read as probabilities, softmax(-score), and compared with softmax(-RMSD / T)
(ListNet: Cao et al., ICML 2007). So only differences within a loop count, and those of near-native candidates most.

Glossary: ``K`` candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_score.decoys import EVOLVED, GUIDED, Decoys
from geofold.learn.loop_score.model import WEIGHTS, LoopScore
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import load_weights, save_weights

STEPS = 2000
RATE = 2e-3
DECAY = 0.05
"""Weight decay of AdamW."""
BATCH_LOOPS, BATCH_CANDIDATES = 4, 48
"""Loops of a batch, and candidates of each."""
NEAREST_SHARE, NEAREST_POOL = 1 / 4, 48
"""Fraction of the candidates drawn from those nearest to the native, and number of these."""
RMSD_TEMPERATURE = 0.7
"""T (A) of the softmax of RMSD."""
SEARCHED_KINDS, SEARCHED_WEIGHT = (GUIDED, EVOLVED), 3.0
"""Origins of candidates that a search must distinguish, and their weight in the draw relative to others."""


def choose_candidates(decoys: Decoys, noise: np.random.Generator) -> Tensor:
    """Draw candidates of a loop for a batch: some of the nearest, others at random, preferring those of searches."""
    order = decoys.rmsd.argsort().numpy()
    near = noise.choice(order[:NEAREST_POOL], min(round(NEAREST_SHARE * BATCH_CANDIDATES), len(order)), replace=False)
    rest = np.setdiff1d(order, near)
    weight = np.where(np.isin(decoys.kind.numpy()[rest], SEARCHED_KINDS), SEARCHED_WEIGHT, 1.0)
    count = min(BATCH_CANDIDATES - len(near), len(rest))
    others = noise.choice(rest, count, replace=False, p=weight / weight.sum())
    return torch.as_tensor(np.concatenate([near, others]))


def ranking_loss(score: LoopScore, decoys: Decoys, rows: Tensor) -> Tensor:
    """Kullback-Leibler divergence (nat) of the distribution by score from that by RMSD, over some candidates."""
    target = torch.log_softmax(-decoys.rmsd[rows] / RMSD_TEMPERATURE, 0)
    predicted = torch.log_softmax(-score(decoys.xyz[rows], decoys.around), 0)
    return (target.exp() * (target - predicted)).sum()


def train_score(
    training: Sequence[Decoys],
    validation: Sequence[Decoys],
    folder: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    init_weights: Path | None = None,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    **options: Any,
) -> float:
    """Train one network of the potential; returns the last validation loss (nat per loop).

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    training, validation : sequence of Decoys
        Decoys of training and of validation loops.
    folder : str or Path
        Output folder.
    steps, seed : int
        Number of batches, and seed of weights, batches and dropout.
    init_weights : Path, optional
        Weights to start from, at half the learning rate; from scratch by default.
    progress, stop
        See `geofold.learn.training_loop.train`.
    options
        Options of `LoopScore`.
    """
    score = LoopScore(seed=seed, **options)
    if init_weights is not None:
        load_weights(init_weights, score)
    sources = [np.random.default_rng([seed, k]) for k in range(len(validation))]
    held_out = [(loop, choose_candidates(loop, noise)) for loop, noise in zip(validation, sources, strict=True)]

    def losses(number: int) -> Iterator[Tensor]:
        noise = np.random.default_rng([seed, 1, number])
        batch = [training[int(k)] for k in noise.integers(len(training), size=BATCH_LOOPS)]
        score.train()
        score.silence_by(torch.Generator().manual_seed(1_000_003 * seed + number))
        terms = [ranking_loss(score, loop, choose_candidates(loop, noise)) for loop in batch]
        yield torch.stack(terms).mean()

    def validate() -> float:
        score.eval()
        return float(np.mean([float(ranking_loss(score, decoys, rows)) for decoys, rows in held_out]))

    schedule = Schedule(steps, rate=RATE if init_weights is None else RATE / 2, decay=DECAY)
    curve = train(score, losses, validate, folder, schedule, progress, stop=stop)
    write_curve(folder, curve, "divergence (nat per loop)")
    if curve[-1][0] == steps:
        entries = {"seed": seed, "steps": steps, "loops": len(training), "valid_loss": curve[-1][2]}
        save_weights(Path(folder) / WEIGHTS, score.state_dict(), {"options": score.options} | entries)
    return curve[-1][2]
