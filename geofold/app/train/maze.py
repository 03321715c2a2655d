"""Train a predictor of the maze on paths of the oracle, which are made once and kept in the output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from geofold.app.train.driver import progress_bar, run_training
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.errors import OptionError
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, Field, read_arrays
from geofold.learn.maze_predictor import PREDICTORS, Demonstrations, train_predictor
from geofold.maze.demonstrations import demonstrate
from geofold.modelling.threads import use_one_thread

FIELDS: dict[str, Field] = {
    "features": (FLOATS, ("N", "T", "F")),
    "plan": (FLOATS, ("N", "T", "d")),
    "known": ("b", ("N", "T")),
}
"""Arrays of a file of demonstrations."""


def train_maze_predictor(out: str, *, worlds: int, steps: int, kind: str, seed: int) -> None:
    """Make missing demonstrations, then train.

    Parameters
    ----------
    out : str
        Output folder; the predictor has a folder of its own in it.
    worlds : int
        Worlds with paths of the oracle.
    steps : int
        Number of batches.
    kind : str
        Name of the predictor.
    seed : int
        Seed of worlds, weights and batches.

    Raises
    ------
    OptionError
        If no predictor has the name.
    """
    if kind not in PREDICTORS:
        raise OptionError(f"backbone {kind}", " or ".join(PREDICTORS), "choose one of them")
    use_one_thread()
    command = f"geofold train maze --worlds {worlds} --steps {steps} --backbone {kind} --seed {seed}"
    folder, card = open_run(Path(out) / kind, command), {"worlds": worlds, "command": command}
    demonstrations = make_demonstrations(Path(out), worlds, seed)
    valid_loss = run_training(
        "maze",
        str(folder),
        steps,
        lambda progress: train_predictor(
            demonstrations, folder, kind=kind, steps=steps, seed=seed, progress=progress, card=card
        ),
        unit="steps",
    )
    typer.echo(f"{folder}: plans off by {valid_loss:.3f} steps (validation) after {steps} batches, {worlds} worlds")


def make_demonstrations(folder: Path, worlds: int, seed: int) -> Demonstrations:
    """Demonstrations of some worlds, one file per world, so that an interrupted run resumes."""
    folder = folder / "ways"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}_{number:05d}.npz" for number in range(worlds)]
    missing = [number for number, path in enumerate(files) if not path.exists()]
    if missing:
        with progress_bar() as bar:
            task = bar.add_task("paths", total=worlds, completed=worlds - len(missing))
            for number in missing:
                arrays = {name: part.numpy() for name, part in demonstrate(number, seed=seed)._asdict().items()}
                write_npz(
                    files[number],
                    {name: part.astype(np.float32) if part.dtype == float else part for name, part in arrays.items()},
                )
                bar.advance(task)
    loaded = [_read(path) for path in files]
    return Demonstrations(
        *(torch.as_tensor(np.concatenate([part[name] for part in loaded])) for name in Demonstrations._fields)
    )


def _read(path: Path) -> dict[str, Any]:
    """Read the demonstrations of one world."""
    return read_arrays(path, FIELDS, content="ways of a maze", expected="what an earlier run wrote", remedy=MADE_AGAIN)
