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
from geofold.learn.judge.crops import Crops, batch_of, epoch_batches, held_out
from geofold.learn.judge.encoder import InverseFolding, Reading
from geofold.learn.judge.pretrained import save_network
from geofold.learn.judge.task import Task, task_of
from geofold.learn.training_loop import ProgressCallback, Schedule, train, write_curve
from geofold.learn.weights import data_hash

SIZE = 1024
"""Residues of a batch, on average."""
RATE, EVERY = 2e-3, 150
"""Highest learning rate, and batches between checkpoints."""
VALIDATION_CHAINS, VALIDATION_COVERAGE = 120, 0.25
"""Chains of the validation split that the curve is judged by, and the share of their residues that is masked."""
PROGRESS = "recovery.csv"


class Recovery(NamedTuple):
    """How well masked amino acids are predicted.

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


def read_task(network: InverseFolding, task: Task) -> Reading:
    """Read the segments of a task with a network."""
    environment = network.embed_environment(task.known, task.environment)
    return network.read(environment, task.known, task.sent, task.loops)


@torch.no_grad()
def evaluate(network: InverseFolding, batches: Iterable[Crops], device: str = "cpu") -> Recovery:
    """Perplexity and recovery over all masked residues of some crops."""
    count, sums = 0, torch.zeros(4, dtype=torch.float64)
    for crops in batches:
        task = task_of(crops.to(device), network.neighbours)
        reading = read_task(network, task)
        for k, logits in enumerate((reading.structure, reading.conditional)):
            sums[2 * k] += float(cross_entropy(logits, task.letters, reduction="sum"))
            sums[2 * k + 1] += int((logits.argmax(-1) == task.letters).sum())
        count += len(task.letters)
    means = (sums / max(count, 1)).tolist()
    return Recovery(count, math.exp(means[0]), means[1], math.exp(means[2]), means[3])


def pretrain(
    data: str | Path, folder: str | Path, *, steps: int, seed: int = 0, device: str = "cpu",
    told: ProgressCallback | None = None, stop: int | None = None, size: int = SIZE, every: int = EVERY, **options: Any,
) -> Recovery:  # fmt: skip
    """Train on the training split of a `backbones.npz`; returns perplexity and recovery on validation chains.

    The folder gets checkpoint, curve (CSV and PNG), `recovery.csv`, weights and card. A run that was killed goes on
    from its last checkpoint to the same weights.

    Parameters
    ----------
    data : str or Path
        See `geofold.learn.data.chains.read_chains`.
    folder : str or Path
        Made if it is not there.
    steps : int
        Batches.
    seed : int
        Of the first weights, of the order of the chains, and of segments and noise.
    device : str
        Where the network computes, e.g. 'cpu' or 'cuda'.
    told : callable or None
        Called at each checkpoint with the step, the mean training loss since the last one and the validation loss.
    stop : int or None
        Leave after this step, checkpoint written, as if killed.
    size : int
        Residues of a batch, on average.
    every : int
        Batches between checkpoints.
    options
        Of `InverseFolding`.
    """
    chains = read_chains(data)
    network = InverseFolding(seed=seed, **options).to(device)
    judged = held_out(chains, "valid", count=VALIDATION_CHAINS, coverage=VALIDATION_COVERAGE)
    last: list[Recovery] = []

    def losses(number: int) -> Iterator[Tensor]:
        crops = batch_of(chains, "train", number, size=size, seed=seed).to(device)
        task = task_of(crops, network.neighbours)
        reading = read_task(network, task)
        yield 0.5 * (cross_entropy(reading.structure, task.letters) + cross_entropy(reading.conditional, task.letters))

    def validate() -> float:
        last.append(evaluate(network, judged, device))
        return last[-1].loss

    def report(step: int, loss: float, valid: float) -> None:
        _append(Path(folder) / PROGRESS, step, loss, last[-1])
        if told is not None:
            told(step, loss, valid)

    schedule = Schedule(steps, rate=RATE, every=every)
    curve = train(network, losses, validate, folder, schedule, report, stop=stop)
    found = last[-1] if last else evaluate(network, judged, device)
    write_curve(folder, curve, "cross-entropy (nat a residue)")
    if curve[-1][0] == steps:
        save_network(folder, network, _card(chains, data, steps, seed, size) | found._asdict())
    return found


def _append(path: Path, step: int, loss: float, found: Recovery) -> None:
    """Add a line to the table of perplexity and recovery by batches."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(("step", "train", *Recovery._fields))
        writer.writerow((step, f"{loss:.4f}", found.residues, *(f"{value:.4f}" for value in found[1:])))


def _card(chains: Chains, data: str | Path, steps: int, seed: int, size: int) -> dict[str, Any]:
    """Return the entries of the card about the training."""
    return {
        "seed": seed, "steps": steps, "batch_residues": size,
        "epochs": round(steps / epoch_batches(chains, "train", size), 3), "data_sha256": data_hash(data),
        "command": f"geofold train judge --steps {steps} --seed {seed}",
    }  # fmt: skip
