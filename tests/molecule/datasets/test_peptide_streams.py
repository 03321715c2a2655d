"""Streams of random peptides: reproducible, different from the demonstrations, evaluated by the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geofold.core.controller import Controller
from geofold.core.gate import FixedGate, Gate
from geofold.learn.gate import record_outcomes
from geofold.modelling.options import RunOptions
from geofold.modelling.peptide.streaming import controller
from geofold.molecule.datasets.peptide_demonstrations import draw_sequence
from geofold.molecule.datasets.peptide_streams import SPAN, STREAM_LENGTHS, draw_stream, peptide_cases, task_loss_of
from geofold.molecule.peptide.domain import PeptideDomain


def parts(domain: PeptideDomain, gate: Gate) -> Controller:
    return replace(controller(RunOptions(), None), gate=gate)


def test_they_are_drawn_by_number_and_seed() -> None:
    letters = [
        draw_stream(number, seed)[1].features.letters.tolist() for number, seed in ((0, 1), (0, 1), (1, 1), (0, 2))
    ]
    assert letters[0] == letters[1] and letters[2] != letters[0] != letters[3]
    demos = draw_sequence(np.random.default_rng([1, 0]))
    assert len(demos) in range(8, 13)


def test_a_stream_is_judged_by_its_loss_at_its_own_length() -> None:
    (case,) = peptide_cases(1, parts, FixedGate(1), seed=3)
    assert case.steps in STREAM_LENGTHS and case.span == SPAN
    state = case.state
    before = float(case.task_loss(state.domain)[0])
    for _ in range(case.steps):
        state, info = case.controller.step(case.domain, state, case.goal)
    after = float(case.task_loss(state.domain)[0])
    assert after < before
    loss = np.exp(after) - 0.05
    assert loss == np.float64(loss) and abs(loss - float(info.loss_after[0])) < 1e-9
    assert torch.equal(task_loss_of(case.domain, case.goal)(state.domain), case.task_loss(state.domain))


def test_every_depth_is_tried_from_every_span() -> None:
    (case,) = peptide_cases(1, parts, FixedGate(1), seed=3)
    case = case._replace(steps=4)
    outcomes = record_outcomes(case, FixedGate(1), largest=3, seed=0)
    assert outcomes.task.shape == (2 * SPAN * 4, 4) and bool(outcomes.task.isfinite().all())
    assert bool((outcomes.spent[:, 0] <= outcomes.spent[:, 3]).all())
