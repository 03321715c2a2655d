"""Tasks for sequence models: normalised densities, and targets at the right positions."""

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
    layout = (np.array([0]), np.array([count]), np.array([0]))
    return Chains(NOISE.integers(0, 20, count).astype(np.uint8), torsions, *layout, np.zeros((count, 4, 3), np.int16))


def test_mixture_is_a_density() -> None:
    outputs = 3 * torch.randn(7 * COMPONENTS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grid = (torch.arange(400, dtype=torch.float64) + 0.5) * 2 * math.pi / 400 - math.pi
    angles = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)
    density = mixture_log_likelihood(outputs.expand(400, 400, -1), angles).exp()
    assert float(density.sum()) * (2 * math.pi / 400) ** 2 == pytest.approx(1.0, abs=1e-9)
    wrapped = mixture_log_likelihood(outputs.expand(400, 400, -1), angles + 2 * math.pi).exp()
    torch.testing.assert_close(wrapped, density, rtol=1e-9, atol=1e-12)


def test_sharp_mixtures_do_not_overflow() -> None:
    outputs = torch.full((7 * COMPONENTS,), 1e4)
    value = mixture_log_likelihood(outputs, torch.tensor([math.pi / 4, math.pi / 4]))
    assert bool(value.isfinite())


def test_inputs_hold_no_later_torsions() -> None:
    """The input of a step has its residue and the torsions of the previous step, and nothing later."""
    task = Torsions(chains(), size=32)
    batch = task.batch("train", 3, 4)
    assert batch.inputs.shape == (32, 4, task.features)
    np.testing.assert_allclose(
        batch.inputs[1:, :, 20:22], batch.targets[:-1].sin() * batch.counts[:-1, :, None], atol=1e-6
    )
    assert bool((batch.inputs[0, :, 20:] == 0).all())
    assert bool((batch.inputs[..., :20].sum(-1) == 1).all())
    repeated = task.batch("train", 3, 4)
    assert torch.equal(batch.inputs, repeated.inputs)
    assert not torch.equal(batch.inputs, task.batch("train", 4, 4).inputs)


def test_copying_targets_are_the_symbols_in_order() -> None:
    task = SelectiveCopying()
    batch = task.batch("train", 0, 5)
    shown = batch.inputs.argmax(-1)
    for row in range(5):
        shown_symbols = [int(s) for s in shown[:, row] if s < task.symbols]
        assert shown_symbols == batch.targets[batch.counts[:, row], row].tolist() and len(shown_symbols) == task.copied
    assert not torch.equal(batch.inputs, task.batch("valid", 0, 5).inputs)


def test_recall_targets_are_the_values_of_the_keys() -> None:
    task = AssociativeRecall()
    batch = task.batch("train", 0, 5)
    shown = batch.inputs.argmax(-1)
    for row in range(5):
        pairs = shown[: 2 * task.size, row].tolist()
        value_of = dict(zip(pairs[::2], pairs[1::2], strict=True))
        questions_asked = batch.counts[:, row].nonzero()[:, 0]
        assert len(value_of) == task.size and len(questions_asked) == task.questions_asked
        for place in questions_asked.tolist():
            assert value_of[int(shown[place, row])] == int(batch.targets[place, row])


@pytest.mark.parametrize("task", [SelectiveCopying(), AssociativeRecall()], ids=lambda t: t.name)
def test_right_answers_have_accuracy_one_and_no_loss(task) -> None:
    batch = task.batch("valid", 1, 3)
    answers = 50 * torch.nn.functional.one_hot(batch.targets, task.outputs).float()
    assert task.score(answers, batch) == 1.0
    assert float(task.loss(answers, batch)) < 1e-6
    assert task.score(-answers, batch) < 0.2
