"""Streaming the loop model: the time it is given, the window that it reads and what it believes of the torsions.

Shared by training (`geofold.learn.loop_denoiser.training`) and by the predictor of the product
(`geofold.molecule.loop.predictor`). Glossary: see `geofold.learn.loop_denoiser.batched_backbone`; ``W`` residues of
the window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.learn.loop_denoiser.features import HALF_WINDOW
from geofold.learn.loop_denoiser.model import WINDOW

SWEEPS = 3
"""Sweeps over a loop in training; the time is one from then on."""


def window_values(hinges: Tensor, cursor: int) -> Tensor:
    """Values (B, W, 2) around the cursor of values (B, h) of hinges, zero beyond the loop."""
    padded = torch.nn.functional.pad(hinges.unflatten(1, (-1, 2)), (0, 0, HALF_WINDOW, HALF_WINDOW))
    return padded[:, cursor : cursor + WINDOW]


def stream_time(sweep: int) -> float:
    """What the model is told of time: sweeps over, up to one."""
    return min(sweep / SWEEPS, 1.0)


def update_belief(belief: Tensor, angle: Tensor, mean: Tensor, cursor: int) -> Tensor:
    """Where each hinge (B, h) is believed to belong, after the increments (B, W, 2) told around the cursor."""
    length = belief.shape[1] // 2
    first, last = max(cursor - HALF_WINDOW, 0), min(cursor + HALF_WINDOW + 1, length)
    offset = first - cursor + HALF_WINDOW
    part = slice(2 * first, 2 * last)
    after = belief.clone()
    after[:, part] = angle[:, part] + mean[:, offset : offset + last - first].flatten(1)
    return after
