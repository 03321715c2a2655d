"""Tasks: densities that are densities, and answers that are where they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from geofold.bench.models.sequence_tasks import (
    COMPONENTS,
    AssociativeRecall,
    SelectiveCopying,
    Torsions,
    mixture_log_likelihood,
)
from geofold.learn.data.chains import Chains

NOISE = np.random.default_rng(0)


def chains(count: int = 400) -> Chains:
    torsions = NOISE.uniform(-math.pi, math.pi, (count, 3)).astype(np.float32)
    torsions[0, 0] = torsions[count - 1, 1] = np.nan
    whole = (np.array([0]), np.array([count]), np.array([0]))
    return Chains(NOISE.integers(0, 20, count).astype(np.uint8), torsions, *whole, np.zeros((count, 4, 3), np.int16))


def test_mixture_is_a_density() -> None:
    outputs = 3 * torch.randn(7 * COMPONENTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = (torch.arange(400, dtype=torch.float64) + 0.5) * 2 * math.pi / 400 - math.pi
    angles = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    density = mixture_log_likelihood(outputs.expand(400, 400, -1), angles).exp()
    assert float(density.sum()) * (2 * math.pi / 400) ** 2 == pytest.approx(1.0, abs=1e-9)
    turned = mixture_log_likelihood(outputs.expand(400, 400, -1), angles + 2 * math.pi).exp()
    torch.testing.assert_close(turned, density, rtol=1e-9, atol=1e-12)


def test_sharp_mixtures_do_not_overflow() -> None:
    outputs = torch.full((7 * COMPONENTS,), 1e4)
    found = mixture_log_likelihood(outputs, torch.tensor([math.pi / 4, math.pi / 4]))
    assert bool(found.isfinite())


def test_torsions_are_not_told_in_advance() -> None:
    """The input of a step holds its letter and the torsions of the step before, and nothing later."""
    task = Torsions(chains(), size=32)
    batch = task.batch("train", 3, 4)
    assert batch.inputs.shape == (32, 4, task.features)
    np.testing.assert_allclose(
        batch.inputs[1:, :, 20:22], batch.wanted[:-1].sin() * batch.counts[:-1, :, None], atol=1e-6
    )
    assert bool((batch.inputs[0, :, 20:] == 0).all())
    assert bool((batch.inputs[..., :20].sum(-1) == 1).all())
    again = task.batch("train", 3, 4)
    assert torch.equal(batch.inputs, again.inputs)
    assert not torch.equal(batch.inputs, task.batch("train", 4, 4).inputs)


def test_copying_wants_what_was_said_in_its_order() -> None:
    task = SelectiveCopying()
    batch = task.batch("train", 0, 5)
    shown = batch.inputs.argmax(-1)
    for row in range(5):
        said = [int(s) for s in shown[:, row] if s < task.symbols]
        assert said == batch.wanted[batch.counts[:, row], row].tolist() and len(said) == task.kept
    assert not torch.equal(batch.inputs, task.batch("valid", 0, 5).inputs)


def test_recall_wants_the_value_of_the_key() -> None:
    task = AssociativeRecall()
    batch = task.batch("train", 0, 5)
    shown = batch.inputs.argmax(-1)
    for row in range(5):
        pairs = shown[: 2 * task.size, row].tolist()
        told = dict(zip(pairs[::2], pairs[1::2], strict=True))
        asked = batch.counts[:, row].nonzero()[:, 0]
        assert len(told) == task.size and len(asked) == task.asked
        for place in asked.tolist():
            assert told[int(shown[place, row])] == int(batch.wanted[place, row])


@pytest.mark.parametrize("task", [SelectiveCopying(), AssociativeRecall()], ids=lambda t: t.name)
def test_the_right_answers_score_one_and_cost_nothing(task) -> None:
    batch = task.batch("valid", 1, 3)
    answers = 50 * torch.nn.functional.one_hot(batch.wanted, task.outputs).float()
    assert task.score(answers, batch) == 1.0
    assert float(task.loss(answers, batch)) < 1e-6
    assert task.score(-answers, batch) < 0.2
