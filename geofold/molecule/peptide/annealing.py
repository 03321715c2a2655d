"""Annealing a peptide's torsions in many rows at once, under soft sterics that harden, the largest turn at a price.

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
from geofold.molecule.peptide.lbfgs import uncapped
from geofold.molecule.peptide.predictor import CAP
from geofold.molecule.peptide.state import PeptideGoal, PeptideState

RATE, HEAT = 0.08, 0.1
"""Adam's rate, and noise of an iteration while hot."""
SOFT = 0.05
"""Share of the sterics' weight in the beginning."""
RENEWED = 10
"""Iterations that a neighbour list serves."""
POWER, TINY_MEAN = 8, 1e-9
"""Of the mean that stands for the largest turn."""


class Course(NamedTuple):
    """How long annealing goes on, how far apart rows start (radian), and the price of a step of the busiest torsion."""

    rows: int
    iterations: int
    spread: float
    speed: float


def annealed(domain: PeptideDomain, state: PeptideState, goal: PeptideGoal, course: Course, *, seed: int) -> Tensor:
    """Increments (B, n) from a state of one row."""
    noise = torch.Generator().manual_seed(seed)
    free = uncapped(domain)
    rows = free.select(state, torch.zeros(course.rows, dtype=torch.long))
    n, backbone = len(domain.tree), torch.as_tensor(domain.tree.backbone)

    def normal() -> Tensor:
        wide = torch.zeros(course.rows, domain.latent_dim, dtype=state.conformation.xyz.dtype)
        wide[:, :n] = torch.randn(course.rows, n, generator=noise, dtype=wide.dtype)
        return wide

    theta = course.spread * normal()
    theta[0] = 0.0
    optimiser = torch.optim.Adam([theta], lr=RATE, betas=(0.9, 0.99))
    for iteration in range(course.iterations):
        done = iteration / course.iterations
        optimiser.param_groups[0]["lr"] = RATE * (0.025 + 0.5 * (1 + math.cos(math.pi * done)))
        hard = replace(goal, sterics=min(1.0, SOFT ** (1 - 2 * done)))
        seen = evaluate_loss(free, theta, rows, hard)
        if iteration % RENEWED == 0:
            rows = rows._replace(
                pairs=free.sterics.update_pairs(free.decoder.split(seen.prediction.mean)[1], rows.pairs)
            )
        theta.grad = linearise(free, theta, rows, seen).gradient
        theta.grad[:, :n] += course.speed * busiest_slope(theta[:, :n], backbone)
        optimiser.step()
        if done < 0.5:
            theta.add_((0.5 - done) * HEAT * normal())
    return theta[:, :n]


def busiest_slope(theta: Tensor, backbone: Tensor) -> Tensor:
    """Gradient (B, n) of the steps that increments need: a high mean power of the backbone's over the cap."""
    part = torch.where(backbone, theta / CAP, 0.0)
    mean = part.pow(POWER).sum(-1, keepdim=True) / backbone.sum() + TINY_MEAN
    return mean.pow(1 / POWER - 1) * part.pow(POWER - 1) / (backbone.sum() * CAP)
