"""Annealing a peptide's torsions in many rows at once, under soft sterics that harden.

Glossary: ``B`` rows, ``n`` torsions.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from geofold.core.linearise import linearise, look
from geofold.molecule.peptide import PeptideDomain, PeptideGoal, PeptideState
from geofold.molecule.peptide_search import uncapped

RATE, HEAT = 0.08, 0.1
"""Adam's rate, and noise of an iteration while hot."""
SOFT = 0.05
"""Share of the sterics' weight in the beginning."""
RENEWED = 10
"""Iterations that a neighbour list serves."""


class Course(NamedTuple):
    """In how many rows annealing goes on for how long, and how far apart (radian) the rows start."""

    rows: int
    iterations: int
    spread: float


def annealed(
    domain: PeptideDomain, state: PeptideState, goal: PeptideGoal, course: Course, *, seed: int
) -> Tensor:
    """Increments (B, n) from a state of one row."""
    noise = torch.Generator().manual_seed(seed)
    free = uncapped(domain)
    rows = free.select(state, torch.zeros(course.rows, dtype=torch.long))
    n = len(domain.tree)

    def normal() -> Tensor:
        wide = torch.zeros(course.rows, domain.latent_dim, dtype=state.fold.xyz.dtype)
        wide[:, :n] = torch.randn(course.rows, n, generator=noise, dtype=wide.dtype)
        return wide

    theta = course.spread * normal()
    theta[0] = 0.0
    optimiser = torch.optim.Adam([theta], lr=RATE, betas=(0.9, 0.99))
    for iteration in range(course.iterations):
        done = iteration / course.iterations
        optimiser.param_groups[0]["lr"] = RATE * (0.025 + 0.5 * (1 + math.cos(math.pi * done)))
        hard = replace(goal, sterics=min(1.0, SOFT ** (1 - 2 * done)))
        seen = look(free, theta, rows, hard)
        if iteration % RENEWED == 0:
            rows = rows._replace(pairs=free.sterics.fresh(free.fold.split(seen.prediction.mean)[1], rows.pairs))
        theta.grad = linearise(free, theta, rows, seen).gradient
        optimiser.step()
        if done < 0.5:
            theta.add_((0.5 - done) * HEAT * normal())
    return theta[:, :n]
