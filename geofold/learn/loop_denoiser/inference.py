"""Streaming the loop model: the time it is given, its window, and the belief about the torsions that it updates.

Shared by training (`geofold.learn.loop_denoiser.training`) and the predictor of the loop domain
(`geofold.molecule.loop.predictor`).

Glossary: see `geofold.learn.loop_denoiser.batched_backbone`; ``W`` residues of the window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geofold.learn.loop_denoiser.batched_backbone import FLANK
from geofold.learn.loop_denoiser.features import FEATURE_COUNT, HALF_WINDOW, INNOVATION_SIZE, TIME_COLUMN
from geofold.learn.loop_denoiser.model import DISTANCE_OFFSETS, WINDOW, LoopModel

SWEEPS = 3
"""Sweeps over a loop in training, after which the time is one."""


def stream_time(sweep: int) -> float:
    """Time that the model is given: the fraction of `SWEEPS` that is over, at most one."""
    return min(sweep / SWEEPS, 1.0)


def model_input(model: LoopModel, x: Tensor, sweep: int, change: Tensor) -> Tensor:
    """Features (B, F) that the model reads: those observed, the time, and the correction of the last step.

    Parameters
    ----------
    model : LoopModel
    x : (B, >= F)
        Observation, which begins with the features; it is not modified.
    sweep : int
        Sweeps over the loop that are over.
    change : (B, W, 2)
        Correction of the last increments in the window (radian).
    """
    features = x[:, :FEATURE_COUNT].to(model.stream.enter.weight, copy=True)
    features[:, TIME_COLUMN] = stream_time(sweep)
    features[:, -INNOVATION_SIZE:] = change.flatten(1)
    return features


def window_values(values: Tensor, cursor: int) -> Tensor:
    """Values (B, W, 2) around the cursor, from values (B, h) of the torsions; zero beyond the loop."""
    padded = torch.nn.functional.pad(values.unflatten(1, (-1, 2)), (0, 0, HALF_WINDOW, HALF_WINDOW))
    return padded[:, cursor : cursor + WINDOW]


def distance_partners(present: Tensor, cursor: int) -> tuple[Tensor, Tensor]:
    """Residues (10,) whose CA distances from the cursor are predicted, and which of them exist (..., 10).

    Parameters
    ----------
    present : (..., S) bool
        Residues of loop and flanks that exist.
    cursor : int
        Residue of the loop, counted from its first.
    """
    residue = torch.tensor(DISTANCE_OFFSETS, device=present.device) + FLANK + cursor
    last = present.shape[-1] - 1
    inside = (residue >= 0) & (residue <= last)
    residue = residue.clamp(0, last)
    return residue, inside & present[..., residue]


def update_belief(belief: Tensor, angle: Tensor, mean: Tensor, cursor: int) -> Tensor:
    """Update the angles that torsions are believed to have in the native loop, around the cursor only.

    Parameters
    ----------
    belief : (B, h)
        Believed angles so far (radian).
    angle : (B, h)
        Present angles.
    mean : (B, W, 2)
        Predicted increments around the cursor.
    cursor : int
        Residue of the loop, counted from its first.

    Returns
    -------
    (B, h)
    """
    length = belief.shape[1] // 2
    first, last = max(cursor - HALF_WINDOW, 0), min(cursor + HALF_WINDOW + 1, length)
    offset = first - cursor + HALF_WINDOW
    part = slice(2 * first, 2 * last)
    after = belief.clone()
    after[:, part] = angle[:, part] + mean[:, offset : offset + last - first].flatten(1)
    return after
