"""What stands between the train commands and the training: progress, threads, interruptions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from geofold.backbone.registry import NAMES
from geofold.errors import OptionError
from geofold.learn.training_loop import ProgressCallback
from geofold.learn.weights import data_hash

VALIDATION_LOOPS = 100
"""Bent loops of the validation split that the trigger of --auto is judged by."""


def train_prior_model(data: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """The torsion prior."""
    from geofold.learn.torsion_prior.training import train_prior

    require_backbone(kind)
    judged = run_training("prior", out, steps, lambda tell: train_prior(
        data, out, steps=steps, seed=seed, told=tell, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a residue after {steps} batches")


def train_loop_model(data: str, packed: str, out: str, *, steps: int, kind: str, seed: int) -> None:
    """The loop model."""
    from geofold.learn.data.chains import SPLITS, read_chains
    from geofold.learn.loop_denoiser.model import LoopModel
    from geofold.learn.loop_denoiser.training import train_loop
    from geofold.molecule.datasets.bent_loops import perturbed_structures
    from geofold.molecule.datasets.loop_windows import loop_windows
    from geofold.molecule.datasets.packed_chains import packed_structure, read_packed
    from geofold.molecule.loop.detection import Trouble, trouble_level, trouble_of
    from geofold.molecule.structure import Structure

    require_backbone(kind)
    chains = read_chains(data)
    digest = data_hash(data)
    side = read_packed(packed, digest)
    loops = loop_windows(chains, side, "train"), loop_windows(chains, side, "valid")
    usual = "" if kind == LoopModel.USUAL else f" --backbone {kind}"
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
            "trouble": trouble_level(found, bent), "data_sha256": digest, "packed_sha256": data_hash(packed),
            "command": f"geofold train loop --steps {steps} --seed {seed}{usual}",
        }  # fmt: skip

    judged = run_training("loop", out, steps, lambda tell: train_loop(
        loops, out, steps=steps, seed=seed, told=tell, card=card, kind=kind))  # fmt: skip
    typer.echo(f"{out}: validation {judged:.3f} nat a torsion after {steps} batches")


def require_backbone(kind: str) -> None:
    """OptionError for a name that no backbone has."""
    if kind not in NAMES:
        raise OptionError(f"backbone {kind}", f"one of {', '.join(NAMES)}", "choose one of them")


def run_training(
    name: str, out: str, steps: int, train: Callable[[ProgressCallback], float], *, unit: str = "nat"
) -> float:
    """Train on one thread, for the same bits whatever the machine has, with a bar on standard error."""
    torch.set_num_threads(1)
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
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
    with Progress(console=Console(stderr=True)) as bar, ProcessPoolExecutor(workers) as pool:
        task = bar.add_task(name, total=len(files), completed=len(files) - len(left))
        try:
            for job in as_completed([pool.submit(make, path, *given) for path, given in left.items()]):
                job.result()
                bar.advance(task)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            typer.echo(f"geofold: interrupted; the same command goes on from what is in {folder}", err=True)
            raise typer.Exit(130) from None
