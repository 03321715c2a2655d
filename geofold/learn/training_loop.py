"""Training that can be interrupted: a schedule, checkpoints and a learning curve.

The same seed gives the same weights, whether a run is interrupted and resumed or not.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from geofold.errors import InputFileError
from geofold.files import write_atomically

CHECKPOINT, CURVE, FIGURE = "checkpoint.pt", "curve.csv", "curve.png"
WARM_UP = 100
"""Steps over which the learning rate rises."""
Curve = list[tuple[int, float, float]]
"""Step, training loss and validation loss at each checkpoint."""
ProgressCallback = Callable[[int, float, float], None]
"""Called with step, training loss and validation loss."""


@dataclass(frozen=True)
class Schedule:
    """Learning rate, regularisation and checkpoints of a training with AdamW.

    Parameters
    ----------
    steps : int
        Number of batches; the learning rate rises over the first `WARM_UP` and falls to zero along a cosine.
    rate : float
        Largest learning rate.
    decay : float
        Weight decay.
    clip : float
        Largest norm of a gradient.
    every : int
        Steps between checkpoints, at which the validation loss is computed too.
    """

    steps: int
    rate: float = 3e-3
    decay: float = 0.01
    clip: float = 1.0
    every: int = 200

    def at(self, step: int) -> float:
        """Learning rate of a step."""
        return self.rate * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def train(
    model: nn.Module,
    losses: Callable[[int], Iterable[Tensor]],
    validate: Callable[[], float],
    folder: str | Path,
    schedule: Schedule,
    progress: ProgressCallback | None = None,
    *,
    stop: int | None = None,
) -> Curve:
    """Train a model in place, from the last checkpoint in the folder if there is one.

    Parameters
    ----------
    model : Module
        The model.
    losses : callable
        Gives the losses of a batch by its number, one per update, lazily; it must be a function of the number and the
        model alone.
    validate : callable
        Gives the validation loss; called without gradients.
    folder : str or Path
        Folder of the checkpoint.
    schedule : Schedule
        Learning rate and checkpoints.
    progress : callable, optional
        Called at each checkpoint with the step, the mean training loss since the last one and the validation loss.
    stop : int, optional
        Step after which to return as if interrupted, with a checkpoint.

    Returns
    -------
    list of (step, training loss, validation loss)
        The complete curve, including that of earlier runs.

    Raises
    ------
    InputFileError
        If the checkpoint is damaged or was written with another schedule.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    first, curve = _resume(folder / CHECKPOINT, model, optimiser, schedule)
    total = torch.zeros((), dtype=torch.float64)
    last = min(schedule.steps, stop if stop is not None else schedule.steps)
    for step in range(first, last):
        optimiser.param_groups[0]["lr"] = schedule.at(step)
        total += _update(model, optimiser, losses(step), schedule.clip)
        if (step + 1) % schedule.every == 0 or step + 1 == last:
            with torch.no_grad():
                valid_loss = validate()
            steps = (step + 1) - (curve[-1][0] if curve else 0)
            curve.append((step + 1, float(total) / steps, valid_loss))
            total.zero_()
            _save_checkpoint(folder / CHECKPOINT, model, optimiser, curve, schedule)
            if progress is not None:
                progress(*curve[-1])
    return curve


def _update(model: nn.Module, optimiser: torch.optim.Optimizer, losses: Iterable[Tensor], clip: float) -> Tensor:
    """Descend along each loss of a batch; returns their mean."""
    count, total = 0, torch.zeros((), dtype=torch.float64)
    for loss in losses:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimiser.step()
        count, total = count + 1, total + loss.detach().cpu().double()
    return total / count


def _save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, curve: Curve, schedule: Schedule
) -> None:
    checkpoint = {
        "step": curve[-1][0],
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "curve": [list(row) for row in curve],
        "schedule": asdict(schedule),
    }
    write_atomically(path, lambda name: torch.save(checkpoint, name))


def _resume(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule) -> tuple[int, Curve]:
    """Load a checkpoint, if there is one; returns its step and curve."""
    if not path.exists():
        return 0, []
    try:
        checkpoint = torch.load(path, weights_only=True)
        written_with = checkpoint["schedule"]
        if written_with == asdict(schedule):
            model.load_state_dict(checkpoint["model"])
            optimiser.load_state_dict(checkpoint["optimiser"])
            return int(checkpoint["step"]), [(int(s), float(a), float(b)) for s, a, b in checkpoint["curve"]]
    except Exception as error:  # pickle, zipfile and torch raise errors of many kinds for a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputFileError(
            f"{path} is not a checkpoint of this {type(model).__name__} ({reason})",
            "one that the same command wrote",
            "remove it to begin again, or give another --out",
        ) from None
    raise InputFileError(
        f"{path} comes from another schedule ({written_with})",
        f"{asdict(schedule)}",
        "give the same options, or another --out",
    )


def write_curve(folder: str | Path, curve: Curve, ylabel: str) -> None:
    """Write the learning curve as CSV and as a figure."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("step", "train", "valid"), *curve])
    write_atomically(Path(folder) / CURVE, lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    steps, train_loss, valid_loss = zip(*curve, strict=True)
    axis.plot(steps, train_loss, color="0.6", label="training")
    axis.plot(steps, valid_loss, color="#0072b2", label="validation")
    axis.set(xlabel="batches", ylabel=ylabel)
    axis.legend()
    write_atomically(Path(folder) / FIGURE, lambda name: figure.savefig(name, dpi=120, format="png"))
    pyplot.close(figure)
