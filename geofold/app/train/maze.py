"""Train a predictor of the maze on paths of the oracle, which are made once and kept in the output folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress

from geofold.app.train.driver import run_training
from geofold.errors import OptionError
from geofold.files import write_npz
from geofold.learn.maze_predictor import PREDICTORS, Demonstrations, train_predictor
from geofold.maze.demonstrations import lessons


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
    torch.set_num_threads(1)
    demonstrations = make_demonstrations(Path(out), worlds, seed)
    command = f"geofold train maze --worlds {worlds} --steps {steps} --backbone {kind} --seed {seed}"
    folder, card = Path(out) / kind, {"worlds": worlds, "command": command}
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
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("paths", total=worlds, completed=worlds - len(missing))
        for number in missing:
            arrays = {name: part.numpy() for name, part in lessons(number, seed=seed)._asdict().items()}
            single = {name: part.astype(np.float32) if part.dtype == float else part for name, part in arrays.items()}
            write_npz(files[number], single)
            bar.advance(task)
    loaded = [np.load(path) for path in files]
    return Demonstrations(
        *(torch.as_tensor(np.concatenate([part[name] for part in loaded])) for name in Demonstrations._fields)
    )
