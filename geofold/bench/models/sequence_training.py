"""Training and evaluation of a backbone on a task, within a budget of time or of batches."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geofold.backbone.protocol import StreamingBackbone
from geofold.bench.models.sequence_tasks import Task

BATCH_ROWS, VALIDATION_BATCHES = 16, 8
LEARNING_RATE, WARM_UP = 3e-3, 20
SEED_STRIDE = 1_000_000
"""Distance of the numbers of the training batches of two seeds."""


def train(
    model: StreamingBackbone,
    task: Task,
    spent: Callable[[int], float],
    *,
    rows: int = BATCH_ROWS,
    rate: float = LEARNING_RATE,
    seed: int = 0,
) -> int:
    """Train a backbone.

    The rate decays to zero within the budget, so that every model is evaluated after annealing.

    Parameters
    ----------
    model : StreamingBackbone
        Is changed.
    task : Task
        Makes batches, and evaluates outputs.
    spent : callable
        Returns the fraction of the budget that is spent, after a number of batches.
    rows : int
        Sequences of a batch.
    rate : float
        Largest learning rate.
    seed : int
        Selects the batches.

    Returns
    -------
    int
        Number of batches.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    number = 0
    while (fraction := spent(number)) < 1:
        optimiser.param_groups[0]["lr"] = rate * min(1.0, (number + 1) / WARM_UP) * (1 - fraction)
        batch = task.batch("train", SEED_STRIDE * seed + number, rows)
        loss = task.loss(model.scan(batch.inputs, model.init_state(rows))[0], batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        number += 1
    return number


@torch.no_grad()
def evaluate(model: StreamingBackbone, task: Task, rows: int = 2 * BATCH_ROWS) -> list[float]:
    """Return the scores of a backbone on `VALIDATION_BATCHES` batches of the validation split."""
    batches = [task.batch("valid", number, rows) for number in range(VALIDATION_BATCHES)]
    return [task.score(model.scan(batch.inputs, model.init_state(rows))[0], batch) for batch in batches]
