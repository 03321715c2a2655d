"""Shared driver of the training commands: progress bars, threads, interruptions; and the two simplest trainings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from geofold.app.train.folder import open_run
from geofold.backbone.registry import BACKBONE_NAMES
from geofold.errors import GeofoldError, OptionError, WorkersError
from geofold.learn.training_loop import ProgressCallback
from geofold.learn.weights import data_hash
from geofold.modelling.threads import use_one_thread

VALIDATION_LOOPS = 100
"""Perturbed loops of the validation split from which the threshold of --auto is found."""


def train_prior_model(data: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """Train the torsion prior.

    Parameters
    ----------
    data : str
        A `backbones.npz`.
    out : str
        Output folder.
    steps : int
        Number of batches.
    kind : str
        Name of the backbone.
    seed : int
        Seed of weights and batches.
    """
    from geofold.learn.data.chains import read_chains
    from geofold.learn.torsion_prior.model import TorsionPrior
    from geofold.learn.torsion_prior.training import train_prior, window_size

    require_backbone(kind)
    size = window_size(read_chains(data), data)
    backbone = "" if kind == TorsionPrior.USUAL else f" --backbone {kind}"
    open_run(out, f"geofold train prior --steps {steps} --seed {seed}{backbone}", data_sha256=data_hash(data))
    valid_loss = run_training(
        "prior",
        out,
        steps,
        lambda progress: train_prior(data, out, steps=steps, seed=seed, progress=progress, kind=kind),
    )
    summary = f"validation {valid_loss:.3f} nat per residue after {steps} batches of windows of {size} residues"
    typer.echo(f"{out}: {summary}")


def train_loop_model(data: str, packed: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """Train the loop model, and find the threshold of --auto on validation chains.

    Parameters
    ----------
    data : str
        A `backbones.npz`.
    packed : str
        Its packed side chains.
    out : str
        Output folder.
    steps : int
        Number of batches.
    kind : str
        Name of the backbone.
    seed : int
        Seed of weights, batches and rollouts.
    """
    from geofold.learn.data.chains import SPLITS, read_chains
    from geofold.learn.loop_denoiser.model import LoopModel
    from geofold.learn.loop_denoiser.training import train_loop
    from geofold.molecule.datasets.bent_loops import perturbed_structures
    from geofold.molecule.datasets.loop_windows import loop_windows, require_loops
    from geofold.molecule.datasets.packed_chains import packed_structure, read_packed
    from geofold.molecule.loop.detection import AnomalyScore, anomaly_threshold, score_anomalies
    from geofold.molecule.structure import Structure

    require_backbone(kind)
    chains = read_chains(data)
    digest = data_hash(data)
    side_chains = read_packed(packed, digest, chains)
    loops = loop_windows(chains, side_chains, "train"), loop_windows(chains, side_chains, "valid")
    for split, dataset in zip(SPLITS[:2], loops, strict=True):
        require_loops(dataset, packed, side_chains, chains, split)
    backbone = "" if kind == LoopModel.USUAL else f" --backbone {kind}"
    command, packed_digest = f"geofold train loop --steps {steps} --seed {seed}{backbone}", data_hash(packed)
    open_run(out, command, data_sha256=digest, packed_sha256=packed_digest)
    intact = [int(c) for c in side_chains.chain if chains.split[c] == SPLITS.index("valid")]

    def card(model: LoopModel) -> dict[str, Any]:
        def detect(structure: Structure) -> AnomalyScore:
            return score_anomalies(structure, [(0, len(structure.residues) - 1)], model)

        native = [detect(packed_structure(chains, side_chains, c)) for c in intact]
        perturbed = [
            (detect(structure), loop.first, loop.last)
            for structure, loop in perturbed_structures(chains, side_chains, "valid", VALIDATION_LOOPS)
        ]
        return {
            "trouble": anomaly_threshold(native, perturbed),
            "data_sha256": digest,
            "packed_sha256": packed_digest,
            "command": command,
        }

    valid_loss = run_training(
        "loop",
        out,
        steps,
        lambda progress: train_loop(loops, out, steps=steps, seed=seed, progress=progress, card=card, kind=kind),
    )
    typer.echo(f"{out}: validation {valid_loss:.3f} nat per torsion after {steps} batches")


def require_backbone(kind: str) -> None:
    """Raise OptionError if no backbone has the name."""
    if kind not in BACKBONE_NAMES:
        raise OptionError(f"backbone {kind}", f"one of {', '.join(BACKBONE_NAMES)}", "choose one of them")


@contextmanager
def progress_bar(*columns: str | ProgressColumn) -> Iterator[Progress]:
    """Show a progress bar on standard error; it is erased if bad input is refused, so that only one line remains."""
    with Progress(*columns, console=Console(stderr=True)) as bar:
        try:
            yield bar
        except GeofoldError:
            bar.live.transient = True
            bar.live.stop()
            bar.disable = True  # otherwise it ends with an empty line if standard error is not a terminal
            raise


def run_training(
    name: str, out: str, steps: int, train: Callable[[ProgressCallback], float], *, unit: str = "nat"
) -> float:
    """Run a training with a progress bar on standard error, on one thread, which makes it reproducible bit for bit.

    Parameters
    ----------
    name : str
        Label of the bar.
    out : str
        Output folder, for the message after an interruption.
    steps : int
        Number of batches.
    train : callable
        Trains, given a progress callback; returns the validation loss.
    unit : str
        Unit of the loss.

    Returns
    -------
    float
        Validation loss.

    Raises
    ------
    typer.Exit
        After Ctrl-C, with status 130.
    """
    use_one_thread()
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    with progress_bar(*columns) as bar:
        task = bar.add_task(name, total=steps, loss="")

        def progress(step: int, loss: float, valid_loss: float) -> None:
            bar.update(task, completed=step, loss=f"training {loss:.3f}, validation {valid_loss:.3f} {unit}")

        try:
            return train(progress)
        except KeyboardInterrupt:
            typer.echo(f"geofold: interrupted; the same command resumes from the checkpoint in {out}", err=True)
            raise typer.Exit(130) from None


def make_once(
    name: str, folder: Path, jobs: dict[Path, tuple[Any, ...]], make: Callable[..., None], workers: int
) -> None:
    """Make those files that do not exist, in parallel; an interrupted run resumes after the last complete file.

    Parameters
    ----------
    name : str
        Label of the progress bar.
    folder : Path
        Folder of the files, for the message after an interruption.
    jobs : dict
        Arguments of `make` after the path, by path.
    make : callable
        Makes one file.
    workers : int
        Number of processes.

    Raises
    ------
    typer.Exit
        After Ctrl-C, with status 130.
    """
    missing = {path: arguments for path, arguments in jobs.items() if not path.exists()}
    if not missing:
        return
    with progress_bar() as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task(name, total=len(jobs), completed=len(jobs) - len(missing))
        try:
            for job in as_completed([pool.submit(make, path, *arguments) for path, arguments in missing.items()]):
                job.result()
                bar.advance(task)
        except BrokenProcessPool:
            raise WorkersError(
                f"a process that made {name} in {folder} was killed",
                "enough memory for each of them",
                "give the same command again: it resumes from the complete files",
            ) from None
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            typer.echo(f"geofold: interrupted; the same command resumes from the files in {folder}", err=True)
            raise typer.Exit(130) from None
