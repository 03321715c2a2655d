"""Train the loop model on streams in which it predicts and the controller corrects in the same step.

A model that has never seen a correction takes it for its own move, and undoes it or goes beyond it. Here its inputs are
those of streams that the controller has corrected, the corrections of its latent among them, and it learns the
increments that lead from the states reached to the native loop (imitation along the learner's own path: Ross, Gordon
and Bagnell, AISTATS 2011). Streams without the controller are mixed in, so that it does not forget them.

Glossary: ``T`` steps, ``B`` rows, ``W`` residues of the window, ``F`` features, ``d`` latent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geofold.learn.loop_denoiser.dataset import CorrectedStream, LoopDataset
from geofold.learn.loop_denoiser.model import LoopModel
from geofold.learn.loop_denoiser.training import DISTANCE_WEIGHT, loss_terms, roll_out, scan_latents
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import save_weights

STEPS = 450
STREAMS_PER_BATCH = 6
"""Recorded streams of a batch, all of loops of one length."""
PLAIN_EVERY, PLAIN_ROWS = 4, 48
"""Every which batch is a stream without the controller, and its loops."""


def join_streams(streams: Sequence[CorrectedStream]) -> CorrectedStream:
    """Streams over loops of one length, side by side."""
    return CorrectedStream(*(torch.cat(parts, 1) for parts in zip(*streams, strict=True)))


def corrected_loss(model: LoopModel, stream: CorrectedStream) -> tuple[Tensor, Tensor]:
    """Loss terms of a corrected stream, see `loss_terms`."""
    start = model.stream.init_state(stream.features.shape[1])
    return loss_terms(model.decode(model.stream.scan(stream.features, start, stream.innovation)[0]), stream)


def train_corrected(
    model: LoopModel,
    streams: tuple[Sequence[CorrectedStream], Sequence[CorrectedStream]],
    loops: LoopDataset,
    folder: str | Path,
    weights: str,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    card: dict[str, Any] | None = None,
) -> float:
    """Train a model further, in place.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    model : LoopModel
        The trained model.
    streams : tuple of sequences of CorrectedStream
        Those of training and of validation loops.
    loops : LoopDataset
        Training loops of the streams without the controller.
    folder : str or Path
        Output folder.
    weights : str
        File name of the weights.
    steps, seed : int
        Number of batches, and their seed.
    progress, stop
        See `geofold.learn.training_loop.train`.
    card : dict, optional
        Further entries of the card.

    Returns
    -------
    float
        Last validation loss (nat per torsion).
    """
    training, held_out = (_group_by_length(part) for part in streams)
    validation = [join_streams(part) for part in held_out]
    share = np.array([len(part) for part in training]) / len(streams[0])

    def losses(number: int) -> Iterator[Tensor]:
        if number % PLAIN_EVERY == PLAIN_EVERY - 1:
            noise = torch.Generator().manual_seed(seed * 1_000_003 + number)
            rollout = roll_out(model, loops.batch(number, seed, PLAIN_ROWS), noise)
            angle, distance = loss_terms(model.decode(scan_latents(model, rollout)), rollout)
        else:
            draws = np.random.default_rng([seed, number])
            same = training[draws.choice(len(training), p=share)]
            rows = draws.integers(len(same), size=STREAMS_PER_BATCH)
            angle, distance = corrected_loss(model, join_streams([same[row] for row in rows]))
        yield angle + DISTANCE_WEIGHT * distance

    def validate() -> float:
        parts = [float(corrected_loss(model, part)[0]) for part in validation]
        return float(np.average(parts, weights=[len(part) for part in held_out]))

    schedule = Schedule(steps, rate=1e-3, every=50)
    curve = train(model, losses, validate, folder, schedule, progress, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat per torsion)")
    if curve[-1][0] == steps:
        entries = {
            "model": "loop denoiser",
            "options": model.options,
            "temperature": model.temperature,
            "seed": seed,
            "steps": steps,
            "streams": len(streams[0]),
            "valid_nll": curve[-1][2],
            "parameters": sum(p.numel() for p in model.parameters()),
        }
        save_weights(Path(folder) / weights, model.state_dict(), entries | (card or {}))
    return curve[-1][2]


def _group_by_length(streams: Sequence[CorrectedStream]) -> list[list[CorrectedStream]]:
    """Streams in groups of as many steps each, the shortest first."""
    groups = defaultdict(list)
    for stream in streams:
        groups[len(stream.features)].append(stream)
    return [groups[length] for length in sorted(groups)]
