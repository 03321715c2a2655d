"""Train the loop model as a denoiser, along streams that it steers itself.

Native loops are perturbed under closure. The model streams over them and moves them by its own increments, disturbed by
a rough corrector in half of the rows; at every step it learns the increments that lead from the present torsions to the
native ones. So it learns from the states that it meets (imitation along the learner's own path: Ross, Gordon and
Bagnell, AISTATS 2011). Moves carry no gradient: features are recorded on the way, and a batch is trained by one scan.

Glossary: see `geofold.learn.loop_denoiser.batched_backbone`; ``T`` steps of a stream, ``W`` residues of the window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from geofold.geometry import wrap
from geofold.learn.loop_denoiser.batched_backbone import FLANK, BackboneBatch, loop_rmsd, loop_torsions, move_closed
from geofold.learn.loop_denoiser.dataset import CorrectedStream, LoopDataset
from geofold.learn.loop_denoiser.features import featurise
from geofold.learn.loop_denoiser.inference import SWEEPS, distance_partners, stream_time, update_belief, window_values
from geofold.learn.loop_denoiser.model import WEIGHTS, Increments, LoopModel, LoopPrediction
from geofold.learn.loop_denoiser.perturbation import perturb
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import save_weights

STEPS = 950
BATCH_SIZE, PASSES, PARTS = 128, 2, 2
"""Loops of a rollout, passes over it, and updates per pass."""
PERTURBATION_RMSD = (0.5, 6.0)
"""Range of the backbone RMSD (A) of perturbed loops."""
DISTANCE_WEIGHT = 0.1
CORRECTOR_NOISE, CORRECTOR_SHARE = math.radians(2.0), 0.15
"""The rough corrector: standard deviation of its noise (radian), and fraction of the error of a proposal it removes."""
BUMP_WIDTH, MIN_WEIGHT = 3.0, 0.3
"""How far torsions follow a step, as in the loop domain: width (residues) of a bump at the cursor, and its floor."""
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 6, 64
TEMPERATURES = torch.linspace(0.5, 2.5, 41)
LEVELS = (0.68, 0.95)
CALIBRATION_SIZE = 12_000
"""Increments on which the temperature is fitted."""


class Rollout(NamedTuple):
    """Record of a stream over perturbed loops.

    features : (T, B, F)
    missing : (T, B, W, 2) increments from the present to the native torsions (radian).
    counted : (T, B, W, 2) bool, increments of torsions that may turn.
    distance : (T, B, 10) native minus present CA distances (A), NaN for missing residues.
    start, end : loops before and after the stream.
    """

    features: Tensor
    missing: Tensor
    counted: Tensor
    distance: Tensor
    start: BackboneBatch
    end: BackboneBatch

    def select(self, rows: Tensor) -> Rollout:
        """Return the record of some rows; `start` and `end` stay complete."""
        return self._replace(**{name: getattr(self, name)[:, rows] for name in self._fields[:4]})


def turn_weights(length: int, cursor: int, like: Tensor) -> Tensor:
    """Fractions (h,) by which torsions follow a step at the cursor, in the type of `like`."""
    offset = torch.arange(length, device=like.device).to(like) - cursor
    bump = torch.exp(-0.5 * (offset / BUMP_WIDTH).square())
    return (MIN_WEIGHT + (1 - MIN_WEIGHT) * bump).repeat_interleave(2)


@torch.no_grad()
def roll_out(
    model: LoopModel, native: BackboneBatch, noise: torch.Generator, *, correct: bool = True, sweeps: int | None = None
) -> Rollout:
    """Perturb loops, let the model stream over them, and record features and missing increments.

    Parameters
    ----------
    model : LoopModel
        The model.
    native : BackboneBatch
        Native loops.
    noise : Generator
        Source of perturbations and corrections.
    correct : bool
        Whether a rough corrector disturbs half of the rows.
    sweeps : int, optional
        Sweeps over each loop, `SWEEPS` by default.
    """
    rows, length = len(native.xyz), native.length
    low, high = PERTURBATION_RMSD
    start = perturb(native, low + (high - low) * torch.rand(rows, generator=noise), noise)
    corrected = (torch.rand(rows, generator=noise) < 0.5)[:, None] & correct
    truth, loops = loop_torsions(native.xyz), start
    belief, state = loop_torsions(start.xyz), model.stream.init_state(rows)
    innovation, record = torch.zeros_like(belief), []
    for step in range((SWEEPS if sweeps is None else sweeps) * length):
        cursor = step % length
        angle = loop_torsions(loops.xyz)
        window = window_values(innovation, cursor).flatten(1)
        features = featurise(loops, cursor, stream_time(step // length), window)
        z, state = model.stream.step(features, state)
        mean, _ = model.decode(z).increments.circular_mean()
        record.append((features, *targets(native, loops, wrap(truth - angle), cursor)))
        belief = update_belief(belief, angle, mean, cursor)
        proposal = wrap(belief - angle)
        disturbance = CORRECTOR_NOISE * torch.randn(proposal.shape, generator=noise)
        correction = disturbance + CORRECTOR_SHARE * (wrap(truth - angle) - proposal)
        innovation = torch.where(corrected, correction, 0.0)
        loops, _ = move_closed(loops, proposal + innovation, turn_weights(length, cursor, angle))
    features, missing, counted, distance = (torch.stack(part) for part in zip(*record, strict=True))
    return Rollout(features, missing, counted, distance, start, loops)


def targets(native: BackboneBatch, loops: BackboneBatch, missing: Tensor, cursor: int) -> tuple[Tensor, Tensor, Tensor]:
    """Missing increments in the window, which of them count, and CA distances relative to the present ones.

    Parameters
    ----------
    native, loops : BackboneBatch
    missing : (B, h)
        Increments from the present to the native torsions (radian).
    cursor : int
    """
    counted = window_values(native.free.to(missing), cursor) > 0
    residue, known = distance_partners(native.present, cursor)

    def distances(batch: BackboneBatch) -> Tensor:
        ca = batch.xyz[:, :, 1]
        return (ca[:, residue] - ca[:, FLANK + cursor, None]).norm(dim=-1)

    distance = torch.where(known, distances(native) - distances(loops), torch.nan)
    return window_values(missing, cursor), counted, distance


def loss_terms(prediction: LoopPrediction, rollout: Rollout | CorrectedStream) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihoods of the missing increments (nat per torsion) and of the distances (nat each)."""
    angle = -prediction.increments.log_density(rollout.missing)[rollout.counted].mean()
    known = rollout.distance.isfinite()
    deviation = (rollout.distance.nan_to_num(0.0) - prediction.distance) * torch.exp(-prediction.spread)
    return angle, (0.5 * deviation.square() + prediction.spread)[known].mean()


def train_loop(
    loops: tuple[LoopDataset, LoopDataset],
    folder: str | Path,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    card: Callable[[LoopModel], dict[str, Any]] | None = None,
    **options: Any,
) -> float:
    """Train a loop model.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    loops : tuple of LoopDataset
        Loops of the training and of the validation split.
    folder : str or Path
        Output folder.
    steps, seed : int
        Number of batches, and seed of weights, batches and rollouts.
    progress, stop
        See `geofold.learn.training_loop.train`.
    card : callable, optional
        Gives further entries of the card from the trained model.
    options
        Options of `LoopModel`.

    Returns
    -------
    float
        Last validation loss (nat per torsion).
    """
    (training, validation), model = loops, LoopModel(seed=seed, **options)

    def losses(number: int) -> Iterator[Tensor]:
        noise = torch.Generator().manual_seed(seed * 1_000_003 + number)
        rollout = roll_out(model, training.batch(number, seed, BATCH_SIZE), noise)
        # a rollout is expensive compared with an update: it is used twice, in two halves each time
        for _ in range(PASSES):
            for rows in torch.randperm(BATCH_SIZE, generator=noise).chunk(PARTS):
                part = rollout.select(rows)
                angle, distance = loss_terms(model.decode(scan_latents(model, part)), part)
                yield angle + DISTANCE_WEIGHT * distance

    def validate() -> float:
        rollouts = _validation_rollouts(model, validation)
        total = sum(float(loss_terms(model.decode(scan_latents(model, part)), part)[0]) for part in rollouts)
        return total / VALIDATION_BATCHES

    curve = train(model, losses, validate, folder, Schedule(steps, rate=2e-3, every=100), progress, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat per torsion)")
    if curve[-1][0] == steps:
        model.temperature = calibrate(model, validation)
        entries = _card(model, loops, seed, curve[-1])
        entries |= card(model.eval()) if card is not None else {}
        save_weights(Path(folder) / WEIGHTS, model.state_dict(), entries)
    return curve[-1][2]


def _card(
    model: LoopModel, loops: tuple[LoopDataset, LoopDataset], seed: int, end: tuple[int, float, float]
) -> dict[str, Any]:
    """Card of a trained model; `end` is the last row of its learning curve."""
    training, validation = loops
    before, after = (torch.cat(part) for part in zip(*_validation_rmsds(model, validation), strict=True))
    return {
        "model": "loop denoiser",
        "options": model.options,
        "temperature": model.temperature,
        "seed": seed,
        "steps": end[0],
        "rows": BATCH_SIZE,
        "sweeps": SWEEPS,
        "loops": len(training),
        "valid_nll": end[2],
        "valid_rmsd_before": float(before.median()),
        "valid_rmsd_after": float(after.median()),
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def scan_latents(model: LoopModel, rollout: Rollout) -> Tensor:
    """Latents (T, B, d) along a rollout."""
    return model.stream.scan(rollout.features, model.stream.init_state(rollout.features.shape[1]))[0]


def _validation_rollouts(model: LoopModel, loops: LoopDataset, *, correct: bool = True) -> list[Rollout]:
    return [
        roll_out(model, loops.batch(k, 1, VALIDATION_BATCH_SIZE), torch.Generator().manual_seed(k), correct=correct)
        for k in range(VALIDATION_BATCHES)
    ]


def _validation_rmsds(model: LoopModel, loops: LoopDataset) -> list[tuple[Tensor, Tensor]]:
    """RMSD (A) from the native before and after streams without a corrector."""
    rmsds = []
    for k, rollout in enumerate(_validation_rollouts(model, loops, correct=False)):
        native = loops.batch(k, 1, VALIDATION_BATCH_SIZE).xyz
        rmsds.append((loop_rmsd(rollout.start.xyz, native), loop_rmsd(rollout.end.xyz, native)))
    return rmsds


@torch.no_grad()
def calibrate(model: LoopModel, loops: LoopDataset) -> float:
    """Temperature at which the 68 % and 95 % regions of the decoder hold their share of increments of a data set."""
    return model.temperature * fit_temperature(*predict_increments(model, loops), TEMPERATURES)


def fit_temperature(predicted: Increments, missing: Tensor, options: Tensor) -> float:
    """Choose the temperature at which 68 % and 95 % regions come closest to holding their share of increments.

    Parameters
    ----------
    predicted : Increments
        Predictions of n increments.
    missing : (n,)
        The increments (radian).
    options : (k,)
        Temperatures to choose from.
    """
    error = [
        sum((a - b) ** 2 for a, b in zip(coverage(predicted, missing, temperature), LEVELS, strict=True))
        for temperature in options.tolist()
    ]
    return float(options[int(torch.tensor(error).argmin())])


@torch.no_grad()
def predict_increments(model: LoopModel, loops: LoopDataset, seed: int = 0) -> tuple[Increments, Tensor]:
    """Predictions of some increments (n,) of streams without a corrector, and the increments themselves (radian)."""
    noise = torch.Generator().manual_seed(seed)
    predicted, missing = [], []
    for rollout in _validation_rollouts(model, loops, correct=False):
        increments = model.decode(scan_latents(model, rollout)).increments
        index = rollout.counted.flatten().nonzero()[:, 0]
        index = index[torch.randperm(len(index), generator=noise)[: CALIBRATION_SIZE // VALIDATION_BATCHES]]
        predicted.append([part.flatten(0, -2)[index] for part in increments])
        missing.append(rollout.missing.flatten()[index])
    return Increments(*(torch.cat(part) for part in zip(*predicted, strict=True))), torch.cat(missing)


def coverage(predicted: Increments, missing: Tensor, temperature: float = 1.0) -> tuple[float, ...]:
    """Fractions of increments (n,) in the smallest regions of probability 68 % and 95 % of their predictions."""
    level = predicted._replace(kappa=predicted.kappa / temperature).level(missing)
    return tuple(float((level <= share).float().mean()) for share in LEVELS)
