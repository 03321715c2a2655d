"""Train the predictors of the maze: streaming backbones that imitate the paths of an oracle, one for each baseline.

A latent is a plan of moves in units of a step, so the read-out of the backbone itself is trained, without a decoder.

Glossary: ``N`` paths, ``T`` steps, ``F`` features, ``d`` of the latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from geofold import resources
from geofold.backbone.attention import Attention, FeedForward
from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.registry import build_backbone
from geofold.core.draws import DrawsFrom
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import load_frozen, save_weights

WIDTH, DEPTH = 64, 2
WINDOW = 128
"""Steps that the Transformer attends to (GeoSSM, 5.1)."""
BATCH_SIZE, STEPS = 32, 1000
"""Paths of a batch, and batches."""
HELD_OUT_SHARE = 0.1
"""Fraction of the paths used for validation."""
LOSS_ROUNDING = 0.25
"""Error (steps) up to which the loss is quadratic; linear beyond."""
INNOVATION_SCALE = 0.1
"""Scale of the weights by which a correction enters; demonstrations have none, so these keep their initial values."""


class Demonstrations(NamedTuple):
    """Paths of the oracle: features (N, T, F), plans (N, T, d), and steps that belong to the path (N, T)."""

    features: Tensor
    plan: Tensor
    known: Tensor


def _transformer(features: int, latent: int, seed: int) -> StreamingBackbone:
    with DrawsFrom(seed):
        layers = [layer for _ in range(DEPTH) for layer in (Attention(WIDTH, window=WINDOW), FeedForward(WIDTH))]
        return StreamingBackbone("transformer", layers, features, latent, WIDTH)


def _from_registry(name: str) -> Callable[[int, int, int], StreamingBackbone]:
    return lambda features, latent, seed: build_backbone(name, features, latent, width=WIDTH, depth=DEPTH, seed=seed)


PREDICTORS: dict[str, Callable[[int, int, int], StreamingBackbone]] = {
    "selective": _from_registry("selective"),
    "transformer": _transformer,
    "selective_window": _from_registry("selective_window"),
}
"""State-space model, Transformer with a streaming cache, and state-space model with windowed attention."""


def build_predictor(kind: str, features: int, latent: int, *, seed: int = 0) -> StreamingBackbone:
    """Build an untrained predictor.

    Parameters
    ----------
    kind : str
        One of `PREDICTORS`.
    features, latent : int
        Sizes of input and output.
    seed : int
        Seed of the initial weights.
    """
    model = PREDICTORS[kind](features, latent, seed)
    with torch.no_grad():
        model.innovation.weight.mul_(INNOVATION_SCALE)
    return model


def plan_loss(model: StreamingBackbone, demonstrations: Demonstrations) -> Tensor:
    """Mean error (steps) of the plans along demonstrations, quadratic near zero."""
    features, plan, known = demonstrations
    predicted = model.scan(features.transpose(0, 1), model.init_state(len(features)))[0].transpose(0, 1)
    return smooth_l1_loss(predicted[known], plan[known], beta=LOSS_ROUNDING)


def train_predictor(
    demonstrations: Demonstrations,
    folder: str | Path,
    *,
    kind: str,
    steps: int = STEPS,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    card: dict[str, Any] | None = None,
) -> float:
    """Train a predictor; the last tenth of the demonstrations is held out for validation.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.

    Parameters
    ----------
    demonstrations : Demonstrations
        Paths of the oracle.
    folder : str or Path
        Output folder.
    kind : str
        One of `PREDICTORS`.
    steps : int
        Number of batches.
    seed : int
        Seed of weights and batches.
    progress, stop
        See `geofold.learn.training_loop.train`.
    card : dict, optional
        Further entries of the card.

    Returns
    -------
    float
        Last validation loss (steps).
    """
    features, latent = demonstrations.features.shape[-1], demonstrations.plan.shape[-1]
    model = build_predictor(kind, features, latent, seed=seed)
    count = len(demonstrations.features)
    train_count = count - max(int(HELD_OUT_SHARE * count), 1)
    held_out = Demonstrations(*(part[train_count:] for part in demonstrations))

    def losses(number: int) -> Iterator[Tensor]:
        rows = torch.as_tensor(np.random.default_rng([seed, number]).integers(train_count, size=BATCH_SIZE))
        yield plan_loss(model, Demonstrations(*(part[rows] for part in demonstrations)))

    schedule = Schedule(steps, rate=3e-3, every=100)
    curve = train(model, losses, lambda: float(plan_loss(model, held_out)), folder, schedule, progress, stop=stop)
    write_curve(folder, curve, "error of the plan (steps)")
    if curve[-1][0] == steps:
        entries = _card(model, kind, demonstrations, seed, curve[-1])
        save_weights(Path(folder) / weights_name(kind), model.state_dict(), entries | (card or {}))
    return curve[-1][2]


def weights_name(kind: str) -> str:
    """File name of a predictor's weights."""
    return f"maze_{kind}.safetensors"


def load_predictor(path: str | Path) -> tuple[StreamingBackbone, dict[str, Any]]:
    """Read a predictor, in double precision like the maze, and its card; see `geofold.learn.weights.load_frozen`."""
    model, card = load_frozen(path, lambda card: build_predictor(card["kind"], card["features"], card["latent"]))
    return model.double(), card


@cache
def shipped_predictor(kind: str = "selective") -> StreamingBackbone:
    """Predictor that ships with the package, one of `PREDICTORS`."""
    return load_predictor(resources.find("maze", weights_name(kind)))[0]


def _card(
    model: StreamingBackbone, kind: str, demonstrations: Demonstrations, seed: int, end: tuple[int, float, float]
) -> dict[str, Any]:
    """Card of a trained predictor; `end` is the last row of its learning curve."""
    return {
        "model": "maze predictor",
        "kind": kind,
        "features": demonstrations.features.shape[-1],
        "latent": demonstrations.plan.shape[-1],
        "seed": seed,
        "steps": end[0],
        "rows": BATCH_SIZE,
        "ways": len(demonstrations.features),
        "valid_loss": end[2],
        "parameters": sum(p.numel() for p in model.parameters()),
    }
