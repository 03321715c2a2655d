"""How the loop model is trained: denoising along streams that it steers itself.

Native loops are bent closed; the model streams over them and moves them by its own increments, a rough corrector
meddling in half of the rows; at every step it learns what still leads back to the native torsions. The states that it
learns from are so those that it will meet (imitation on the learner's own path: Ross, Gordon and Bagnell, AISTATS
2011). Moves carry no gradient: features are recorded on the way, and a batch is trained on by one scan.

Glossary: see `loop_pieces`; ``T`` steps of a stream, ``W`` residues of the window.
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
from geofold.learn.loop_denoiser.dataset import LoopDataset
from geofold.learn.loop_denoiser.features import featurise
from geofold.learn.loop_denoiser.inference import SWEEPS, stream_time, update_belief, window_values
from geofold.learn.loop_denoiser.model import DISTANCE_OFFSETS, WEIGHTS, Increments, LoopModel, LoopPrediction
from geofold.learn.loop_denoiser.perturbation import perturb
from geofold.learn.training_loop import ProgressCallback as Tell
from geofold.learn.training_loop import Schedule, train, write_curve
from geofold.learn.weights import save_weights

BATCH_SIZE, PASSES, PARTS = 128, 2, 2
"""Loops of a course, how often it is gone through, and updates made in one go."""
PERTURBATION_RMSD = (0.5, 6.0)
"""A: backbone RMSD of the bends."""
DISTANCE_WEIGHT = 0.1
MEDDLING = (math.radians(2.0), 0.15)
"""Of the rough corrector: noise (radian), and the share of what is still missing that it makes up for."""
WIDTH, FLOOR = 3.0, 0.3
"""How far hinges follow a step: a bump around the cursor above a floor, as in the loop domain."""
VALIDATION_BATCHES, VALIDATION_BATCH_SIZE = 6, 64
STEPS = 950
TEMPERATURES = torch.linspace(0.5, 2.5, 41)
LEVELS = (0.68, 0.95)
CALIBRATION_SIZE = 12_000
"""Increments that the temperature is found on."""


class Rollout(NamedTuple):
    """A stream as it went: features (T, B, F), missing increments (T, B, W, 2), which of them count, CA distances
    (T, B, 10) relative to the present ones with NaN where there is none, and pieces at the start and at the end."""

    features: Tensor
    missing: Tensor
    counted: Tensor
    distance: Tensor
    start: BackboneBatch
    end: BackboneBatch

    def rows(self, chosen: Tensor) -> Rollout:
        """Some rows of what was seen and missing; the pieces stay whole."""
        return self._replace(**{name: getattr(self, name)[:, chosen] for name in self._fields[:4]})


def turn_weights(length: int, cursor: int, like: Tensor) -> Tensor:
    """How far each hinge (h,) follows a step at the cursor."""
    apart = torch.arange(length, device=like.device).to(like) - cursor
    return (FLOOR + (1 - FLOOR) * torch.exp(-0.5 * (apart / WIDTH).square())).repeat_interleave(2)


@torch.no_grad()
def roll_out(
    model: LoopModel, native: BackboneBatch, noise: torch.Generator, *, meddle: bool = True, sweeps: int = SWEEPS
) -> Rollout:
    """Bend loops, let the model stream over them, and record what it saw and what was missing."""
    rows, length = len(native.xyz), native.length
    low, high = PERTURBATION_RMSD
    start = perturb(native, low + (high - low) * torch.rand(rows, generator=noise), noise)
    meddled = (torch.rand(rows, generator=noise) < 0.5)[:, None] & meddle
    truth, now = loop_torsions(native.xyz), start
    belief, state = loop_torsions(start.xyz), model.stream.init_state(rows)
    innovation, told = torch.zeros_like(belief), []
    for step in range(sweeps * length):
        cursor = step % length
        angle = loop_torsions(now.xyz)
        seen = featurise(now, cursor, stream_time(step // length), window_values(innovation, cursor).flatten(1))
        z, state = model.stream.step(seen, state)
        mean, _ = model.decode(z).increments.circular_mean()
        told.append((seen, *_wanted(native, now, wrap(truth - angle), cursor)))
        belief = update_belief(belief, angle, mean, cursor)
        proposal = wrap(belief - angle)
        shaken = MEDDLING[0] * torch.randn(proposal.shape, generator=noise)
        innovation = torch.where(meddled, shaken + MEDDLING[1] * (wrap(truth - angle) - proposal), 0.0)
        now, _ = move_closed(now, proposal + innovation, turn_weights(length, cursor, angle))
    features, missing, counted, distance = (torch.stack(part) for part in zip(*told, strict=True))
    return Rollout(features, missing, counted, distance, start, now)


def _wanted(native: BackboneBatch, now: BackboneBatch, missing: Tensor, cursor: int) -> tuple[Tensor, Tensor, Tensor]:
    counted = window_values(native.free.to(missing), cursor) > 0
    places = torch.tensor([FLANK + cursor + k for k in DISTANCE_OFFSETS])
    inside = (places >= 0) & (places < native.xyz.shape[1])
    places = places.clamp(0, native.xyz.shape[1] - 1)

    def distances(pieces: BackboneBatch) -> Tensor:
        ca = pieces.xyz[:, :, 1]
        return (ca[:, places] - ca[:, FLANK + cursor, None]).norm(dim=-1)

    known = inside & native.there[:, places]
    return window_values(missing, cursor), counted, torch.where(known, distances(native) - distances(now), torch.nan)


def loss_terms(told: LoopPrediction, been: Rollout) -> tuple[Tensor, Tensor]:
    """Mean negative log-likelihood of the missing increments (nat a torsion), and of the distances (nat each)."""
    angle = -told.increments.log_density(been.missing)[been.counted].mean()
    known = been.distance.isfinite()
    off = (been.distance.nan_to_num(0.0) - told.distance) * torch.exp(-told.spread)
    return angle, (0.5 * off.square() + told.spread)[known].mean()


def train_loop(
    loops: tuple[LoopDataset, LoopDataset], folder: str | Path, *, steps: int = STEPS, seed: int = 0, told: Tell | None = None,
    stop: int | None = None, card: Callable[[LoopModel], dict[str, Any]] | None = None, **options: Any,
) -> float:  # fmt: skip
    """Train on loops of the training split, judge on those of the validation split; returns its last loss.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    card
        What else to tell of the trained model in its card.
    """
    learnt, judged = loops
    model = LoopModel(seed=seed, **options)

    def lessons(number: int) -> Iterator[Tensor]:
        noise = torch.Generator().manual_seed(seed * 1_000_003 + number)
        been = roll_out(model, learnt.batch(number, seed, BATCH_SIZE), noise)
        # a course costs more than what is learnt from it: it is gone through twice, half of it at a time
        for _ in range(PASSES):
            for rows in torch.randperm(BATCH_SIZE, generator=noise).chunk(PARTS):
                part = been.rows(rows)
                angle, distance = loss_terms(model.decode(_scanned(model, part)), part)
                yield angle + DISTANCE_WEIGHT * distance

    def validate() -> float:
        return sum(
            float(loss_terms(model.decode(_scanned(model, been)), been)[0]) for been in _held_out(model, judged)
        ) / (VALIDATION_BATCHES)

    curve = train(model, lessons, validate, folder, Schedule(steps, rate=2e-3, every=100), told, stop=stop)
    write_curve(folder, curve, "negative log-likelihood (nat a torsion)")
    if curve[-1][0] == steps:
        model.temperature = calibrate(model, judged)
        before, after = (torch.cat(part) for part in zip(*_way(model, judged), strict=True))
        whole = {
            "model": "loop denoiser", "options": model.options, "temperature": model.temperature, "seed": seed,
            "steps": steps, "rows": BATCH_SIZE, "sweeps": SWEEPS, "loops": len(learnt), "valid_nll": curve[-1][2],
            "valid_rmsd_before": float(before.median()), "valid_rmsd_after": float(after.median()),
            "parameters": sum(p.numel() for p in model.parameters()),
        }  # fmt: skip
        save_weights(
            Path(folder) / WEIGHTS, model.state_dict(), whole | (card(model.eval()) if card is not None else {})
        )
    return curve[-1][2]


def _scanned(model: LoopModel, been: Rollout) -> Tensor:
    return model.stream.scan(been.features, model.stream.init_state(been.features.shape[1]))[0]


def _held_out(model: LoopModel, loops: LoopDataset, *, meddle: bool = True) -> list[Rollout]:
    return [
        roll_out(model, loops.batch(k, 1, VALIDATION_BATCH_SIZE), torch.Generator().manual_seed(k), meddle=meddle)
        for k in range(VALIDATION_BATCHES)
    ]


def _way(model: LoopModel, loops: LoopDataset) -> list[tuple[Tensor, Tensor]]:
    """RMSD (A) from the native before and after streams without a corrector."""
    found = []
    for k, been in enumerate(_held_out(model, loops, meddle=False)):
        native = loops.batch(k, 1, VALIDATION_BATCH_SIZE).xyz
        found.append((loop_rmsd(been.start.xyz, native), loop_rmsd(been.end.xyz, native)))
    return found


@torch.no_grad()
def calibrate(model: LoopModel, loops: LoopDataset) -> float:
    """Temperature at which the decoder's 68 % and 95 % regions hold their share of a split's increments."""
    return model.temperature * fit_temperature(*predict_increments(model, loops), TEMPERATURES)


def fit_temperature(said: Increments, missing: Tensor, options: Tensor) -> float:
    """Of some temperatures, that at which 68 % and 95 % regions hold most nearly their share of increments."""
    off = [
        sum((a - b) ** 2 for a, b in zip(coverage(said, missing, temperature), LEVELS, strict=True))
        for temperature in options.tolist()
    ]
    return float(options[int(torch.tensor(off).argmin())])


@torch.no_grad()
def predict_increments(model: LoopModel, loops: LoopDataset, seed: int = 0) -> tuple[Increments, Tensor]:
    """What the model says of some increments (n,) of streams without a corrector, and the increments themselves."""
    noise = torch.Generator().manual_seed(seed)
    said, missing = [], []
    for been in _held_out(model, loops, meddle=False):
        increments = model.decode(_scanned(model, been)).increments
        kept = been.counted.flatten().nonzero()[:, 0]
        kept = kept[torch.randperm(len(kept), generator=noise)[: CALIBRATION_SIZE // VALIDATION_BATCHES]]
        said.append([part.flatten(0, -2)[kept] for part in increments])
        missing.append(been.missing.flatten()[kept])
    return Increments(*(torch.cat(part) for part in zip(*said, strict=True))), torch.cat(missing)


def coverage(said: Increments, missing: Tensor, temperature: float = 1.0) -> tuple[float, ...]:
    """Shares of increments within the smallest regions of probability 68 % and 95 %."""
    level = said._replace(kappa=said.kappa / temperature).level(missing)
    return tuple(float((level <= share).float().mean()) for share in LEVELS)
