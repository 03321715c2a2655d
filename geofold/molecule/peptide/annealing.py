"""Simulated annealing of a peptide's torsions in many rows at once.

Sterics are soft at first and harden, and the largest turn of a backbone torsion is penalised.

Glossary: ``B`` rows, ``n`` torsions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.core.linearise import evaluate_loss, linearise
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.lbfgs import without_cap
from geofold.molecule.peptide.predictor import CAP
from geofold.molecule.peptide.state import PeptideGoal, PeptideState

LEARNING_RATE, NOISE_LEVEL = 0.08, 0.1
"""Initial learning rate of Adam, and noise (radian) per remaining fraction of the first half of the iterations."""
INITIAL_STERICS = 0.05
"""Initial weight of the sterics, as a fraction of the final one."""
LIST_LIFETIME = 10
"""Number of iterations between two updates of the neighbour list."""
POWER, TINY_MEAN = 8, 1e-9
"""Exponent of the power mean that approximates the largest turn, and a constant that keeps it differentiable at 0."""


class AnnealingSchedule(NamedTuple):
    """Schedule of an annealing.

    Attributes
    ----------
    rows : int
        Number of rows B.
    iterations : int
        Number of iterations.
    start_deviation : float
        Standard deviation (radian) of the initial torsions; the first row starts unperturbed.
    turn_weight : float
        Penalty per capped step that the most-turned torsion needs.
    """

    rows: int
    iterations: int
    start_deviation: float
    turn_weight: float


def anneal(
    domain: PeptideDomain, state: PeptideState, goal: PeptideGoal, schedule: AnnealingSchedule, *, seed: int
) -> Tensor:
    """Anneal the torsions of a peptide.

    Parameters
    ----------
    domain : PeptideDomain
        Domain of the peptide.
    state : PeptideState
        Initial state of one row.
    goal : PeptideGoal
        Contacts and weights.
    schedule : AnnealingSchedule
        Number of rows and iterations, initial deviation and penalty.
    seed : int
        Seed of the noise.

    Returns
    -------
    (B, n)
        Increments (radian) from the state.
    """
    generator = torch.Generator().manual_seed(seed)
    uncapped = without_cap(domain)
    rows = uncapped.select(state, torch.zeros(schedule.rows, dtype=torch.long))
    n, backbone = len(domain.tree), torch.as_tensor(domain.tree.backbone)

    def normal() -> Tensor:
        wide = torch.zeros(schedule.rows, domain.latent_dim, dtype=state.conformation.xyz.dtype)
        wide[:, :n] = torch.randn(schedule.rows, n, generator=generator, dtype=wide.dtype)
        return wide

    theta = schedule.start_deviation * normal()
    theta[0] = 0.0
    optimiser = torch.optim.Adam([theta], lr=LEARNING_RATE, betas=(0.9, 0.99))
    for iteration in range(schedule.iterations):
        progress = iteration / schedule.iterations
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (0.025 + 0.5 * (1 + math.cos(math.pi * progress)))
        annealed_goal = replace(goal, sterics=min(1.0, INITIAL_STERICS ** (1 - 2 * progress)))
        evaluation = evaluate_loss(uncapped, theta, rows, annealed_goal)
        if iteration % LIST_LIFETIME == 0:
            rows = rows._replace(
                pairs=uncapped.sterics.update_pairs(uncapped.decoder.split(evaluation.prediction.mean)[1], rows.pairs)
            )
        theta.grad = linearise(uncapped, theta, rows, evaluation).gradient
        theta.grad[:, :n] += schedule.turn_weight * turn_penalty_gradient(theta[:, :n], backbone)
        optimiser.step()
        if progress < 0.5:
            theta.add_((0.5 - progress) * NOISE_LEVEL * normal())
    return theta[:, :n]


def turn_penalty_gradient(theta: Tensor, backbone: Tensor) -> Tensor:
    """Gradient (B, n) of the number of capped steps of increments: a power mean of those of the backbone."""
    turn = torch.where(backbone, theta / CAP, 0.0)
    mean = turn.pow(POWER).sum(-1, keepdim=True) / backbone.sum() + TINY_MEAN
    return mean.pow(1 / POWER - 1) * turn.pow(POWER - 1) / (backbone.sum() * CAP)
