"""Streams of random peptides towards random contacts, on which a gate and a metric are trained."""

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
from geofold.molecule.peptide.features import PeptideFeatures
from geofold.molecule.peptide.state import PeptideGoal, PeptideState
from geofold.molecule.structure import Structure

STREAM_LENGTHS = (8, 12, 16, 24)
"""Steps after which a stream is evaluated; the short ones reward fast convergence."""
SPAN = 2
FLOOR = 0.05
"""Added to the loss before the logarithm, so that smaller values do not count."""
SEED_STREAM = 29
"""Part of the seed that makes these peptides others than those of the demonstrations."""


def draw_stream(number: int, seed: int) -> tuple[Structure, PeptideDomain, PeptideGoal, np.random.Generator]:
    """Draw a random extended peptide and a contact.

    Parameters
    ----------
    number, seed : int
        Number of the stream, and seed.

    Returns
    -------
    Structure, PeptideDomain, PeptideGoal, Generator
        The peptide, its domain with the features of the policy, the task, and the source of further draws.
    """
    noise = np.random.default_rng([seed, SEED_STREAM, number])
    sequence = draw_sequence(noise)
    structure, domain = build_peptide(sequence)
    contact = parse_contact(structure, draw_contact(len(sequence), noise))
    domain = replace(domain, features=PeptideFeatures.of(structure, domain.decoder))
    return structure, domain, PeptideGoal((contact,), contact=CONTACT_WEIGHT), noise


def peptide_cases(
    count: int, controller: Callable[[PeptideDomain, Gate], Controller], gate: Gate, *, seed: int
) -> Iterator[GateCase]:
    """Streams of one row each, whose task is the lowest loss after a random number of steps.

    Parameters
    ----------
    count : int
        Number of streams.
    controller : callable
        Makes a controller for a domain and a gate.
    gate : Gate
        The gate of the controller.
    seed : int
        Seed of peptides, contacts and lengths.
    """
    for number in range(count):
        structure, domain, goal, noise = draw_stream(number, seed)
        parts = controller(domain, gate)
        start = parts.init(domain, domain.start(structure.xyz))
        yield GateCase(parts, domain, start, goal, int(noise.choice(STREAM_LENGTHS)), SPAN, task_loss_of(domain, goal))


def task_loss_of(domain: PeptideDomain, goal: PeptideGoal) -> Callable[[PeptideState], Tensor]:
    """Task loss (B,) of states: the logarithm of the loss."""

    def task_loss(state: PeptideState) -> Tensor:
        with torch.no_grad():
            return torch.log(domain.cost(state.conformation.xyz, state.conformation.angle, state.pairs, goal) + FLOOR)

    return task_loss
