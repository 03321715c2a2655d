"""How the maze's predictors are trained: streaming backbones that imitate the oracle's ways, one for each rival.

A latent is a plan of moves in steps, so the backbone's own read-out is what is trained and nothing stands between it
and the domain.

Glossary: ``N`` ways, ``T`` steps, ``F`` features, ``d`` of the latent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from geofold.backbone.attention import Attention, FeedForward
from geofold.backbone.protocol import StreamingBackbone
from geofold.backbone.registry import build_backbone
from geofold.core.draws import DrawsFrom
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import load_frozen, save_weights

WIDTH, DEPTH = 64, 2
WINDOW = 128
"""Steps that the Transformer attends to (GeoSSM, 5.1)."""
BATCH_SIZE, STEPS = 32, 500
"""Ways of a batch, and batches."""
HELD_OUT_SHARE = 0.1
"""Share of the ways that the curve is judged by."""
LOSS_ROUNDING = 0.25
"""Steps of error up to which the loss is a parabola."""
INNOVATION_SCALE = 0.1
"""Scale of the weights by which a correction enters: no lesson is corrected, so they stay as they are drawn."""


class Demonstrations(NamedTuple):
    """Ways: features (N, T, F), plans (N, T, d), and whether the way still goes on (N, T)."""

    features: Tensor
    plan: Tensor
    known: Tensor


def _transformer(features: int, latent: int, seed: int) -> StreamingBackbone:
    with DrawsFrom(seed):
        layers = [layer for _ in range(DEPTH) for layer in (Attention(WIDTH, window=WINDOW), FeedForward(WIDTH))]
        return StreamingBackbone("transformer", layers, features, latent, WIDTH)


def _of_zoo(name: str) -> Callable[[int, int, int], StreamingBackbone]:
    return lambda features, latent, seed: build_backbone(name, features, latent, width=WIDTH, depth=DEPTH, seed=seed)


PREDICTORS: dict[str, Callable[[int, int, int], StreamingBackbone]] = {
    "selective": _of_zoo("selective"), "transformer": _transformer, "selective_window": _of_zoo("selective_window"),
}  # fmt: skip
"""State-space model, Transformer with a streaming cache, and state-space model with windowed attention."""


def build_predictor(kind: str, features: int, latent: int, *, seed: int = 0) -> StreamingBackbone:
    """A predictor before training, one of `KINDS`."""
    model = PREDICTORS[kind](features, latent, seed)
    with torch.no_grad():
        model.innovation.weight.mul_(INNOVATION_SCALE)
    return model


def plan_loss(model: StreamingBackbone, lessons: Demonstrations) -> Tensor:
    """Mean error of the plans along lessons, rounded off near zero, in steps."""
    told = model.scan(lessons.features.transpose(0, 1), model.init_state(len(lessons.features)))[0].transpose(0, 1)
    return smooth_l1_loss(told[lessons.known], lessons.plan[lessons.known], beta=LOSS_ROUNDING)


def train_predictor(
    lessons: Demonstrations, folder: str | Path, *, kind: str, steps: int = STEPS, seed: int = 0, told: ProgressCallback | None = None,
    stop: int | None = None, card: dict[str, Any] | None = None,
) -> float:  # fmt: skip
    """Train on lessons, the last tenth of them held out; returns the last validation loss.

    The folder gets checkpoint, curve, weights and card, as in `geofold.learn.torsion_prior.training.train_prior`.
    """
    features, latent = lessons.features.shape[-1], lessons.plan.shape[-1]
    model = build_predictor(kind, features, latent, seed=seed)
    count = len(lessons.features)
    learnt = count - max(int(HELD_OUT_SHARE * count), 1)
    held_out = Demonstrations(*(part[learnt:] for part in lessons))

    def losses(number: int) -> Iterator[Tensor]:
        chosen = torch.as_tensor(np.random.default_rng([seed, number]).integers(learnt, size=BATCH_SIZE))
        yield plan_loss(model, Demonstrations(*(part[chosen] for part in lessons)))

    curve = train(
        model, losses, lambda: float(plan_loss(model, held_out)), folder, Schedule(steps, rate=3e-3, every=100), told,
        stop=stop,
    )  # fmt: skip
    write_curve(folder, curve, "error of the plan (steps)")
    if curve[-1][0] == steps:
        whole = {
            "model": "maze predictor", "kind": kind, "features": features, "latent": latent, "seed": seed,
            "steps": steps, "rows": BATCH_SIZE, "ways": count, "valid_loss": curve[-1][2],
            "parameters": sum(p.numel() for p in model.parameters()),
        }  # fmt: skip
        save_weights(Path(folder) / weights_name(kind), model.state_dict(), whole | (card or {}))
    return curve[-1][2]


def weights_name(kind: str) -> str:
    """Name of the file that a predictor's weights are in."""
    return f"maze_{kind}.safetensors"


def load_predictor(path: str | Path) -> tuple[StreamingBackbone, dict[str, Any]]:
    """Predictor of a weights file, in double precision as the maze is, and its card; see `learn.training.frozen`."""
    model, card = load_frozen(path, lambda card: build_predictor(card["kind"], card["features"], card["latent"]))
    return model.double(), card
