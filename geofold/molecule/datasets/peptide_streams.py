"""Streams of random peptides towards random contacts, for what is trained on the frozen policy: gate and metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from geofold.core.controller import Controller
from geofold.core.gate import Gate
from geofold.learn.gate import GateCase
from geofold.molecule.datasets.peptide_demonstrations import CONTACT_WEIGHT, build_peptide, draw_contact, draw_sequence
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.predictor import PeptideSense
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.structure import Structure

STREAM_LENGTHS = (8, 12, 16, 24)
"""A stream is judged after so many steps: who is fast is ahead in the short ones."""
SPAN = 2
FLOOR = 0.05
"""Loss below which a peptide is as good as it gets."""
STREAM = 29
"""Keeps these peptides apart from those of the demonstrations."""


def draw_stream(number: int, seed: int) -> tuple[Structure, PeptideDomain, PeptideGoal, np.random.Generator]:
    """A random peptide, extended, as the policy sees it; a contact to reach; and what further draws come from."""
    noise = np.random.default_rng([seed, STREAM, number])
    sequence = draw_sequence(noise)
    structure, domain = build_peptide(sequence)
    contact = parse_contact(structure, draw_contact(len(sequence), noise))
    domain = replace(domain, sense=PeptideSense.of(structure, domain.fold))
    return structure, domain, PeptideGoal((contact,), contact=CONTACT_WEIGHT), noise


def peptide_cases(
    count: int, controller: Callable[[PeptideDomain, Gate], Controller], gate: Gate, *, seed: int
) -> Iterator[GateCase]:
    """Streams of one row each, the task of each: to be as far as it can after its number of steps.

    Parameters
    ----------
    controller
        Parts for a domain and a gate.
    """
    for number in range(count):
        structure, domain, goal, noise = draw_stream(number, seed)
        parts = controller(domain, gate)
        start = parts.init(domain, domain.start(structure.xyz))
        yield GateCase(parts, domain, start, goal, int(noise.choice(STREAM_LENGTHS)), SPAN, task_loss_of(domain, goal))


def task_loss_of(domain: PeptideDomain, goal: PeptideGoal) -> Callable[[PeptideState], Tensor]:
    """Task loss (B,) of states: the logarithm of the loss."""

    def judge(state: PeptideState) -> Tensor:
        with torch.no_grad():
            return torch.log(domain.cost(state.fold.xyz, state.fold.angle, state.pairs, goal) + FLOOR)

    return judge
