"""What stands between the train commands and the training: progress, threads, interruptions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from geofold.app.train.folder import open_run
from geofold.backbone.registry import BACKBONE_NAMES
from geofold.errors import GeofoldError, OptionError, WorkersError
from geofold.learn.training_loop import ProgressCallback
from geofold.learn.weights import data_hash

VALIDATION_LOOPS = 100
"""Bent loops of the validation split that the trigger of --auto is judged by."""


def train_prior_model(data: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """The torsion prior."""
    from geofold.learn.data.chains import read_chains
    from geofold.learn.torsion_prior.model import TorsionPrior
    from geofold.learn.torsion_prior.training import train_prior, window_size

    require_backbone(kind)
    size = window_size(read_chains(data), data)
    usual = "" if kind == TorsionPrior.USUAL else f" --backbone {kind}"
    open_run(out, f"geofold train prior --steps {steps} --seed {seed}{usual}", data_sha256=data_hash(data))
    judged = run_training("prior", out, steps, lambda tell: train_prior(
        data, out, steps=steps, seed=seed, told=tell, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a residue after {steps} batches of windows of {size} residues")


def train_loop_model(data: str, packed: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """The loop model."""
    from geofold.learn.data.chains import SPLITS, read_chains
    from geofold.learn.loop_denoiser.model import LoopModel
    from geofold.learn.loop_denoiser.training import train_loop
    from geofold.molecule.datasets.bent_loops import perturbed_structures
    from geofold.molecule.datasets.loop_windows import loop_windows, require_loops
    from geofold.molecule.datasets.packed_chains import packed_structure, read_packed
    from geofold.molecule.loop.detection import Trouble, trouble_level, trouble_of
    from geofold.molecule.structure import Structure

    require_backbone(kind)
    chains = read_chains(data)
    digest = data_hash(data)
    side = read_packed(packed, digest, chains)
    loops = loop_windows(chains, side, "train"), loop_windows(chains, side, "valid")
    for split, found in zip(SPLITS[:2], loops, strict=True):
        require_loops(found, packed, side, chains, split)
    usual = "" if kind == LoopModel.USUAL else f" --backbone {kind}"
    command, packed_digest = f"geofold train loop --steps {steps} --seed {seed}{usual}", data_hash(packed)
    open_run(out, command, data_sha256=digest, packed_sha256=packed_digest)
    intact = [int(c) for c in side.chain if chains.split[c] == SPLITS.index("valid")]

    def card(model: LoopModel) -> dict[str, Any]:
        def told(structure: Structure) -> Trouble:
            return trouble_of(structure, [(0, len(structure.residues) - 1)], model)

        found = [told(packed_structure(chains, side, c)) for c in intact]
        bent = [
            (told(structure), e.first, e.last)
            for structure, e in perturbed_structures(chains, side, "valid", VALIDATION_LOOPS)
        ]
        return {
            "trouble": trouble_level(found, bent), "data_sha256": digest, "packed_sha256": packed_digest,
            "command": command,
        }  # fmt: skip

    judged = run_training("loop", out, steps, lambda tell: train_loop(
        loops, out, steps=steps, seed=seed, told=tell, card=card, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a torsion after {steps} batches")


def require_backbone(kind: str) -> None:
    """OptionError for a name that no backbone has."""
    if kind not in BACKBONE_NAMES:
        raise OptionError(f"backbone {kind}", f"one of {', '.join(BACKBONE_NAMES)}", "choose one of them")


@contextmanager
def progress(*columns: str | ProgressColumn) -> Iterator[Progress]:
    """A bar on standard error; it goes when what it shows is refused, so that one line is left."""
    with Progress(*columns, console=Console(stderr=True)) as bar:
        try:
            yield bar
        except GeofoldError:
            bar.live.transient = True
            bar.live.stop()
            bar.disable = True  # else its end is an empty line where standard error is no terminal
            raise


def run_training(
    name: str, out: str, steps: int, train: Callable[[ProgressCallback], float], *, unit: str = "nat"
) -> float:
    """Train on one thread, for the same bits whatever the machine has, with a bar on standard error."""
    torch.set_num_threads(1)
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    with progress(*columns) as bar:
        task = bar.add_task(name, total=steps, loss="")

        def tell(step: int, loss: float, judged: float) -> None:
            bar.update(task, completed=step, loss=f"training {loss:.3f}, validation {judged:.3f} {unit}")

        try:
            return train(tell)
        except KeyboardInterrupt:
            typer.echo(f"geofold: interrupted; the same command goes on from the checkpoint in {out}", err=True)
            raise typer.Exit(130) from None


def make_once(
    name: str, folder: Path, files: dict[Path, tuple[Any, ...]], make: Callable[..., None], workers: int
) -> None:
    """Make those of the files that are not there, side by side, so that a killed run goes on at the next.

    Parameters
    ----------
    files
        What `make` is called with, behind the path, for each.
    """
    left = {path: given for path, given in files.items() if not path.exists()}
    if not left:
        return
    with progress() as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task(name, total=len(files), completed=len(files) - len(left))
        try:
            for job in as_completed([pool.submit(make, path, *given) for path, given in left.items()]):
                job.result()
                bar.advance(task)
        except BrokenProcessPool:
            raise WorkersError(
                f"a process that made {name} in {folder} was killed", "enough memory for each of them",
                "give the same command again: it goes on from what is there",
            ) from None  # fmt: skip
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            typer.echo(f"geofold: interrupted; the same command goes on from what is in {folder}", err=True)
            raise typer.Exit(130) from None
