"""Pretraining of the judge as inverse folding: amino acids of masked segments, from their backbones and environment.

The loss is the mean of two cross-entropies (nat a residue): given the structure of the segments alone, and given the
amino acids of all other residues too.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from geofold.learn.data.chains import Chains, read_chains
from geofold.learn.judge.crops import Crops, epoch_batches, evaluation_crops, make_batch
from geofold.learn.judge.encoder import InverseFolding, ResiduePredictions
from geofold.learn.judge.pretrained import save_network
from geofold.learn.judge.task import Task, make_task
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import data_hash

BATCH_RESIDUES = 1024
"""Residues of a batch, on average."""
LEARNING_RATE, CHECKPOINT_INTERVAL = 2e-3, 150
"""Highest learning rate, and batches between checkpoints."""
VALIDATION_CHAINS, VALIDATION_COVERAGE = 120, 0.25
"""Number of validation chains of the curve, and the fraction of their residues that is masked."""
RECOVERY_TABLE = "recovery.csv"


class Recovery(NamedTuple):
    """Accuracy of the predicted amino acids.

    Attributes
    ----------
    residues : int
        Masked residues.
    structure_perplexity, structure_recovery : float
        From the structure alone: exponential of the mean negative log-likelihood, and share of residues at which the
        most likely amino acid is the native one.
    perplexity, recovery : float
        The same, given the amino acids of all other residues.
    """

    residues: int
    structure_perplexity: float
    structure_recovery: float
    perplexity: float
    recovery: float

    @property
    def loss(self) -> float:
        """Mean of both cross-entropies (nat a residue), as in training."""
        return 0.5 * (math.log(self.structure_perplexity) + math.log(self.perplexity))


def predict_task(network: InverseFolding, task: Task) -> ResiduePredictions:
    """Read the segments of a task with a network."""
    environment = network.embed_environment(task.known, task.environment)
    return network.predict(environment, task.known, task.sent, task.loops)


@torch.no_grad()
def evaluate(network: InverseFolding, batches: Iterable[Crops], device: str = "cpu") -> Recovery:
    """Perplexity and recovery over all masked residues of some crops."""
    count, sums = 0, torch.zeros(4, dtype=torch.float64)
    for crops in batches:
        task = make_task(crops.to(device), network.neighbours)
        predictions = predict_task(network, task)
        for k, logits in enumerate((predictions.structure, predictions.conditional)):
            sums[2 * k] += float(cross_entropy(logits, task.letters, reduction="sum"))
            sums[2 * k + 1] += int((logits.argmax(-1) == task.letters).sum())
        count += len(task.letters)
    means = (sums / max(count, 1)).tolist()
    return Recovery(count, math.exp(means[0]), means[1], math.exp(means[2]), means[3])


def pretrain(
    data: str | Path,
    folder: str | Path,
    *,
    steps: int,
    seed: int = 0,
    device: str = "cpu",
    progress: ProgressCallback | None = None,
    stop: int | None = None,
    size: int = BATCH_RESIDUES,
    checkpoint_interval: int = CHECKPOINT_INTERVAL,
    **options: Any,
) -> Recovery:
    """Train on the training split of a `backbones.npz`; returns perplexity and recovery on validation chains.

    The folder gets checkpoint, curve (CSV and PNG), `recovery.csv`, weights and card. An interrupted run resumes
    from its last checkpoint and gives the same weights.

    Parameters
    ----------
    data : str or Path
        Backbones, see `geofold.learn.data.chains.read_chains`.
    folder : str or Path
        Output folder; made if missing.
    steps : int
        Number of batches.
    seed : int
        Seed of the initial weights, the order of the chains, segments and noise.
    device : str
        Device of the network, e.g. 'cpu' or 'cuda'.
    progress : callable or None
        Called at each checkpoint with the step, the mean training loss since the last one and the validation loss.
    stop : int or None
        Stop after this step, as if interrupted after its checkpoint.
    size : int
        Residues of a batch, on average.
    checkpoint_interval : int
        Batches between checkpoints.
    options
        Options of `InverseFolding`.
    """
    chains = read_chains(data)
    network = InverseFolding(seed=seed, **options).to(device)
    validation_crops = evaluation_crops(chains, "valid", count=VALIDATION_CHAINS, coverage=VALIDATION_COVERAGE)
    last: list[Recovery] = []

    def losses(number: int) -> Iterator[Tensor]:
        crops = make_batch(chains, "train", number, size=size, seed=seed).to(device)
        task = make_task(crops, network.neighbours)
        predictions = predict_task(network, task)
        yield 0.5 * (
            cross_entropy(predictions.structure, task.letters) + cross_entropy(predictions.conditional, task.letters)
        )

    def validate() -> float:
        last.append(evaluate(network, validation_crops, device))
        return last[-1].loss

    def report(step: int, loss: float, valid: float) -> None:
        _append(Path(folder) / RECOVERY_TABLE, step, loss, last[-1])
        if progress is not None:
            progress(step, loss, valid)

    schedule = Schedule(steps, rate=LEARNING_RATE, every=checkpoint_interval)
    curve = train(network, losses, validate, folder, schedule, report, stop=stop)
    recovery = last[-1] if last else evaluate(network, validation_crops, device)
    write_curve(folder, curve, "cross-entropy (nat a residue)")
    if curve[-1][0] == steps:
        save_network(folder, network, _card(chains, data, steps, seed, size) | recovery._asdict())
    return recovery


def _append(path: Path, step: int, loss: float, recovery: Recovery) -> None:
    """Add a line to the table of perplexity and recovery by batches."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("step", "train", *Recovery._fields))
        writer.writerow((step, f"{loss:.4f}", recovery.residues, *(f"{value:.4f}" for value in recovery[1:])))


def _card(chains: Chains, data: str | Path, steps: int, seed: int, size: int) -> dict[str, Any]:
    """Return the entries of the card about the training."""
    return {
        "seed": seed,
        "steps": steps,
        "batch_residues": size,
        "epochs": round(steps / epoch_batches(chains, "train", size), 3),
        "data_sha256": data_hash(data),
        "command": f"geofold train judge --steps {steps} --seed {seed}",
    }
