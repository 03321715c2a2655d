"""Training that can be killed: checkpoints, a curve, and weights with a card that says where they come from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from geofold.errors import InputFileError
from geofold.files import write_atomically

CHECKPOINT, CURVE, FIGURE = "checkpoint.pt", "curve.csv", "curve.png"
WARM_UP = 100


@dataclass(frozen=True)
class Schedule:
    """How a model is trained.

    Parameters
    ----------
    steps : int
        Batches in all; the rate rises over the first hundred and falls to zero by a cosine.
    rate, decay, clip : float
        Of AdamW, and the largest norm of a gradient.
    every : int
        Steps between checkpoints, where the validation loss is taken too.
    """

    steps: int
    rate: float = 3e-3
    decay: float = 0.01
    clip: float = 1.0
    every: int = 200

    def at(self, step: int) -> float:
        """Rate of a step."""
        return self.rate * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / self.steps))


ProgressCallback = Callable[[int, float, float], None]
M = TypeVar("M", bound=nn.Module)


def train(
    model: nn.Module, losses: Callable[[int], Iterable[Tensor]], validate: Callable[[], float], folder: str | Path,
    schedule: Schedule, told: ProgressCallback | None = None, *, stop: int | None = None,
) -> list[tuple[int, float, float]]:  # fmt: skip
    """Train a model in place, from its last checkpoint in the folder if there is one.

    Parameters
    ----------
    losses : callable
        Losses of a batch by its number, one for each update it is good for, asked for one after the other; the same
        number and the same model have to give the same ones.
    validate : callable
        Loss on held-out data, called without gradients.
    told : callable or None
        Called at each checkpoint with the step, the mean training loss since the last one and the validation loss.
    stop : int or None
        Leave after this step, checkpoint written, as if killed.

    Returns
    -------
    list of (step, training loss, validation loss)
        The whole curve, that of earlier runs included.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    first, curve = _resumed(folder / CHECKPOINT, model, optimiser, schedule)
    total = torch.zeros((), dtype=torch.float64)
    last = min(schedule.steps, stop if stop is not None else schedule.steps)
    for step in range(first, last):
        optimiser.param_groups[0]["lr"] = schedule.at(step)
        count, sum_ = 0, torch.zeros((), dtype=torch.float64)
        for loss in losses(step):
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
            optimiser.step()
            count, sum_ = count + 1, sum_ + loss.detach().cpu().double()
        total += sum_ / count
        if (step + 1) % schedule.every == 0 or step + 1 == last:
            with torch.no_grad():
                judged = validate()
            since = (step + 1) - (curve[-1][0] if curve else 0)
            curve.append((step + 1, float(total) / since, judged))
            total.zero_()
            _checkpoint(folder / CHECKPOINT, model, optimiser, step + 1, curve, schedule)
            if told is not None:
                told(*curve[-1])
    return curve


def _checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, step: int, curve: list[tuple[int, float, float]],
    schedule: Schedule,
) -> None:  # fmt: skip
    kept = {
        "step": step, "model": model.state_dict(), "optimiser": optimiser.state_dict(),
        "curve": [list(row) for row in curve], "schedule": asdict(schedule),
    }  # fmt: skip
    write_atomically(path, lambda name: torch.save(kept, name))


def _resumed(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, schedule: Schedule
) -> tuple[int, list[tuple[int, float, float]]]:
    if not path.exists():
        return 0, []
    try:
        kept = torch.load(path, weights_only=True)
        told = kept["schedule"]
        if told == asdict(schedule):
            model.load_state_dict(kept["model"])
            optimiser.load_state_dict(kept["optimiser"])
            return int(kept["step"]), [(int(s), float(a), float(b)) for s, a, b in kept["curve"]]
    except Exception as error:  # whatever pickle, zipfile and torch stumble over in a damaged file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputFileError(
            f"{path} is no checkpoint of this {type(model).__name__} ({reason})", "one that the same command wrote",
            "remove it to begin again, or give another --out",
        ) from None  # fmt: skip
    raise InputFileError(
        f"{path} comes from another schedule ({told})", f"{asdict(schedule)}",
        "give the same options, or another --out",
    )  # fmt: skip


def write_curve(folder: str | Path, curve: list[tuple[int, float, float]], ylabel: str) -> None:
    """The curve as CSV, and as a figure."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("step", "train", "valid"), *curve])
    write_atomically(Path(folder) / CURVE, lambda name: Path(name).write_text(text.getvalue(), encoding="utf-8"))
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4), layout="constrained")
    steps, train_loss, judged = zip(*curve, strict=True)
    axis.plot(steps, train_loss, color="0.6", label="training")
    axis.plot(steps, judged, color="#0072b2", label="validation")
    axis.set(xlabel="batches", ylabel=ylabel)
    axis.legend()
    write_atomically(Path(folder) / FIGURE, lambda name: figure.savefig(name, dpi=120, format="png"))
    pyplot.close(figure)
