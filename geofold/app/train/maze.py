"""The maze's predictors, from ways of the oracle that are made once and kept in the folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from geofold.app.train.driver import progress, run_training
from geofold.app.train.folder import MADE_AGAIN, open_run
from geofold.errors import OptionError
from geofold.files import write_npz
from geofold.learn.arrays import FLOATS, Field, read_arrays
from geofold.learn.maze_predictor import PREDICTORS, Demonstrations, train_predictor
from geofold.maze.demonstrations import demonstrate

FIELDS: dict[str, Field] = {
    "features": (FLOATS, ("N", "T", "F")), "plan": (FLOATS, ("N", "T", "d")), "known": ("b", ("N", "T")),
}  # fmt: skip


def train_maze_predictor(out: str, *, worlds: int, steps: int, kind: str, seed: int) -> None:
    """Make what lessons are missing, then train."""
    if kind not in PREDICTORS:
        raise OptionError(f"backbone {kind}", " or ".join(PREDICTORS), "choose one of them")
    torch.set_num_threads(1)
    command = f"geofold train maze --worlds {worlds} --steps {steps} --backbone {kind} --seed {seed}"
    folder = open_run(Path(out) / kind, command)
    made = make_demonstrations(Path(out), worlds, seed)
    judged = run_training("maze", str(folder), steps, lambda tell: train_predictor(
        made, folder, kind=kind, steps=steps, seed=seed, told=tell, card={"worlds": worlds, "command": command},
    ), unit="steps")  # fmt: skip
    typer.echo(f"{folder}: plans off by {judged:.3f} steps (validation) after {steps} batches, {worlds} worlds")


def make_demonstrations(folder: Path, worlds: int, seed: int) -> Demonstrations:
    """Lessons of so many worlds, one file a world, so that a killed run goes on at the next."""
    folder = folder / "ways"
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{seed}_{number:05d}.npz" for number in range(worlds)]
    left = [number for number, path in enumerate(files) if not path.exists()]
    if left:
        with progress() as bar:
            task = bar.add_task("ways", total=worlds, completed=worlds - len(left))
            for number in left:
                parts = {name: part.numpy() for name, part in demonstrate(number, seed=seed)._asdict().items()}
                small = {name: part.astype(np.float32) if part.dtype == float else part for name, part in parts.items()}
                write_npz(files[number], small)
                bar.advance(task)
    loaded = [_read(path) for path in files]
    return Demonstrations(
        *(torch.as_tensor(np.concatenate([one[name] for one in loaded])) for name in Demonstrations._fields)
    )


def _read(path: Path) -> dict[str, Any]:
    """Arrays of the lessons of one world."""
    return read_arrays(path, FIELDS, content="ways of a maze", expected="what an earlier run wrote", remedy=MADE_AGAIN)
