"""L-BFGS on the torsions of a peptide, with the loss that the controller descends, but without its steps.

Torsions are bounded to a box around the start, a few caps wide, which keeps the path short and prevents the first line
searches from turning torsions full circle. A search that ends in an insufficient minimum is restarted from random
torsions, further away each time and in a wider box. It is a baseline of the peptide benchmark, and was tried for the
demonstrations (`geofold.molecule.datasets.peptide_demonstrations` gives the result).

24 episodes of the peptide tuning split: first box and its growth per restart, in caps; episodes that reach the goal,
mean capped steps, severe overlaps per step, number of searches, mean wall time (s) on a busy machine:

    none                24    15.2    2.56    28    0.19
    8, 0.1              24     7.3    0.01    24    0.08
    6, 1                24     6.1    0.01    28    0.09
    5, 1: the default   24     5.4    0.01    33    0.07
    4, 1                24     5.2    0.01    52    0.12
    3, 1                24     5.4    0.03    79    0.22
    2, 1                24     5.2    0.03    94    0.16
    5, 0                16     5.0    0.03   112    0.27

Starts half or three times as far apart, or a memory of 10, made no difference.

Glossary: ``n`` torsions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from geofold.core.linearise import evaluate_loss, linearise
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal, PeptideState

Floats = NDArray[np.float64]
MAX_STARTS, START_DEVIATION = 14, 0.1
"""Largest number of searches; the torsions of start k (from 0) have k times this standard deviation (radian)."""
BOX, BOX_GROWTH = 5.0, 1.0
"""Half-width of the box of the first search, and its growth per restart, in caps."""
ITERATIONS, MEMORY = 300, 20
UNCAPPED = 1e6
"""Cap (radian) that never limits a rotation."""


class Optimum(NamedTuple):
    """Result of `search`.

    Attributes
    ----------
    increments : (n,)
        Increments (radian) from the start.
    reached : bool
        Whether they reach the goal.
    starts, evaluations : int
        Numbers of searches and of evaluations of the loss.
    """

    increments: Floats
    reached: bool
    starts: int
    evaluations: int


def search(domain: PeptideDomain, start: PeptideState, goal: PeptideGoal, cap: float, *, seed: int = 0) -> Optimum:
    """Search from a state of one row, to the first end that reaches the goal, or else to that of the lowest loss.

    Parameters
    ----------
    domain : PeptideDomain
        Domain of the peptide.
    start : PeptideState
        Initial state of one row.
    goal : PeptideGoal
        Contacts and weights.
    cap : float
        Unit of the box (radian).
    seed : int
        Seed of the restarts.
    """
    generator, descent = np.random.default_rng(seed), _Descent(without_cap(domain), start, goal)
    starts, reached = 0, False
    best, lowest_loss = np.zeros(len(domain.tree)), np.inf
    while not reached and starts < MAX_STARTS:
        box = min((BOX + BOX_GROWTH * starts) * cap, math.pi)
        start_increments = starts * START_DEVIATION * generator.standard_normal(len(domain.tree))
        end, loss = descent.descend(start_increments.clip(-box, box), box)
        starts += 1
        reached = descent.is_reached(end)
        if reached or loss < lowest_loss:
            best, lowest_loss = end, loss
    return Optimum(best, reached, starts, descent.evaluations)


def without_cap(domain: PeptideDomain) -> PeptideDomain:
    """Return the domain without a cap on the rotation per step."""
    return replace(domain, decoder=replace(domain.decoder, cap=UNCAPPED))


@dataclass
class _Descent:
    """Loss and gradient at increments (n,), with a count of the evaluations."""

    domain: PeptideDomain
    start: PeptideState
    goal: PeptideGoal
    evaluations: int = field(default=0)

    def descend(self, start_increments: Floats, box: float) -> tuple[Floats, float]:
        """Minimise by L-BFGS-B, which stops once the goal is reached; returns increments and loss."""

        def stop_if_reached(increments: Floats) -> None:
            if self.is_reached(increments):
                raise StopIteration

        end = minimize(
            self._loss_and_slope,
            start_increments,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-box, box)] * len(start_increments),
            callback=stop_if_reached,
            options={"maxiter": ITERATIONS, "maxcor": MEMORY},
        )
        return np.asarray(end.x, dtype=np.float64), float(end.fun)

    def is_reached(self, increments: Floats) -> bool:
        """Whether increments (n,) reach the goal."""
        with torch.no_grad():
            prediction = self.domain.decode(self._latent(increments), self.start)
            return self.domain.reached(self.domain.commit(prediction, self.start), self.goal)

    def _loss_and_slope(self, increments: Floats) -> tuple[float, Floats]:
        self.evaluations += 1
        z = self._latent(increments)
        evaluation = evaluate_loss(self.domain, z, self.start, self.goal)
        slope = linearise(self.domain, z, self.start, evaluation).gradient[0, : len(increments)]
        return float(evaluation.loss.total[0]), slope.numpy()

    def _latent(self, increments: Floats) -> torch.Tensor:
        padded = np.zeros((1, self.domain.latent_dim))
        padded[0, : len(increments)] = increments
        return torch.as_tensor(padded)
