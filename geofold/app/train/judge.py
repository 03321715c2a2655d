"""The judge's pretraining as a command."""

from __future__ import annotations

from pathlib import Path

import torch
import typer

from geofold.app.train.driver import run_training
from geofold.errors import OptionError
from geofold.learn.training_loop import ProgressCallback
from geofold.modelling.threads import use_one_thread

BACKBONES = "backbones.npz"


def train_judge_model(data: str, out: str, *, steps: int, device: str, seed: int) -> None:
    """Pretrain the judge as inverse folding.

    Parameters
    ----------
    data : str
        Folder of data or file of backbones.
    out : str
        Output folder.
    steps : int
        Number of batches.
    device : str
        Device of the network.
    seed : int
        Seed of the training.
    """
    from geofold.learn.judge.pretraining import Recovery, pretrain

    require_device(device)
    recoveries: list[Recovery] = []

    def train(progress: ProgressCallback) -> float:
        recoveries.append(pretrain(backbones(data), out, steps=steps, seed=seed, device=device, progress=progress))
        return recoveries[-1].loss

    run_training("judge", out, steps, train)
    last = recoveries[-1]
    typer.echo(
        f"{out}: after {steps} batches, {last.residues} masked residues of validation chains: perplexity "
        f"{last.perplexity:.2f}, recovery {last.recovery:.3f} (from the structure of the segments alone "
        f"{last.structure_perplexity:.2f}, {last.structure_recovery:.3f})"
    )


def report_recovery(data: str, weights: str, *, split: str, limit: int | None, device: str) -> None:
    """Print perplexity and recovery of a trained judge on a split.

    Parameters
    ----------
    data : str
        Folder of data or file of backbones.
    weights : str
        Weights of the judge.
    split : str
        One of `SPLITS`.
    limit : int or None
        Largest number of chains; None for all.
    device : str
        Device of the network.
    """
    from geofold.learn.data.chains import SPLITS, read_chains
    from geofold.learn.judge.evaluation import evaluate_settings
    from geofold.learn.judge.pretrained import load_network

    if split not in SPLITS:
        raise OptionError(f"split {split}", " or ".join(SPLITS), "choose one of them")
    require_device(device)
    use_one_thread()
    network, _ = load_network(weights, device)
    recoveries = evaluate_settings(network, read_chains(backbones(data)), split, count=limit, device=device)
    typer.echo("masked    residues  perplexity  recovery  from structure alone: perplexity  recovery")
    for name, row in recoveries.items():
        typer.echo(
            f"{name:9} {row.residues:8}  {row.perplexity:10.3f}  {row.recovery:8.4f}  "
            f"{row.structure_perplexity:32.3f}  {row.structure_recovery:8.4f}"
        )


def backbones(data: str) -> Path:
    """Path of the backbones in a folder of data, or the file itself."""
    path = Path(data)
    return path / BACKBONES if path.is_dir() else path


def require_device(device: str) -> None:
    """OptionError for a device that torch cannot compute on."""
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise OptionError(
            f"device {device} ({reason})", "cpu, or a device of this machine such as cuda", "choose another --device"
        ) from None
