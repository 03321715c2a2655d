"""Where L-BFGS takes a peptide: the whole way at once, over the very loss that the controller steps along.

Torsions stay in a box around the start, a few caps wide: that keeps the way short, and the first line searches from
going round in circles. A search that ends in a minimum which is not good enough starts again from random torsions,
further away each time, in a wider box. It is a rival in the peptide benchmark, and was tried as what demonstrates
(`geofold.molecule.datasets.peptide_demonstrations` tells how that went).

24 episodes of the peptide tuning split: the first box and what is added each time, in caps; reached, mean capped steps
to get there, severe overlaps per step, searches in total, mean wall seconds on a busy machine:

    none                24    15.2    2.56    28    0.19
    8, 0.1              24     7.3    0.01    24    0.08
    6, 1                24     6.1    0.01    28    0.09
    5, 1: the default   24     5.4    0.01    33    0.07
    4, 1                24     5.2    0.01    52    0.12
    3, 1                24     5.4    0.03    79    0.22
    2, 1                24     5.2    0.03    94    0.16
    5, 0                16     5.0    0.03   112    0.27

Without a box, starts half or three times as far apart, or a memory of 10, changed nothing that matters.

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
STARTS, SPREAD = 14, 0.1
"""At most so many; the second one's torsions have this standard deviation (radian), the third's twice that, ..."""
BOX, WIDER = 5.0, 1.0
"""How far torsions may turn in the first search, and how much further in each that follows; in caps."""
ITERATIONS, MEMORY = 300, 20
UNCAPPED = 1e6
"""An optimiser turns torsions as far as it likes."""


class Found(NamedTuple):
    """Increments (n,) from the start; whether they count as reached; searches made, losses computed."""

    turn: Floats
    reached: bool
    starts: int
    evaluations: int


def search(domain: PeptideDomain, start: PeptideState, goal: PeptideGoal, cap: float, *, seed: int = 0) -> Found:
    """Search from a state of one row, to the first end that counts as reached, or to the one of least loss.

    Parameters
    ----------
    cap : float
        Radian: the unit of the box.
    seed : int
        Of the further starts.
    """
    noise, work = np.random.default_rng(seed), _Search(uncapped(domain), start, goal)
    starts, found = 0, False
    best, least = np.zeros(len(domain.tree)), np.inf
    while not found and starts < STARTS:
        box = min((BOX + WIDER * starts) * cap, math.pi)
        first = starts * SPREAD * noise.standard_normal(len(domain.tree))
        end, worth = work.descend(first.clip(-box, box), box)
        starts += 1
        found = work.content(end)
        if found or worth < least:
            best, least = end, worth
    return Found(best, found, starts, work.evaluations)


def uncapped(domain: PeptideDomain) -> PeptideDomain:
    """Return the domain without a limit to what a step may turn."""
    return replace(domain, fold=replace(domain.fold, cap=UNCAPPED))


@dataclass
class _Search:
    """Loss and gradient at increments (n,), and how many were computed."""

    domain: PeptideDomain
    start: PeptideState
    goal: PeptideGoal
    evaluations: int = field(default=0)

    def descend(self, first: Floats, box: float) -> tuple[Floats, float]:
        """Where L-BFGS-B goes, and the loss there; it ends early where nothing is left to be done."""

        def watch(now: Floats) -> None:
            if self.content(now):
                raise StopIteration

        end = minimize(
            self._loss_and_slope,
            first,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-box, box)] * len(first),
            callback=watch,
            options={"maxiter": ITERATIONS, "maxcor": MEMORY},
        )
        return np.asarray(end.x, dtype=np.float64), float(end.fun)

    def content(self, turn: Floats) -> bool:
        """Whether the goal is reached there."""
        with torch.no_grad():
            there = self.domain.decode(self._latent(turn), self.start)
            return self.domain.reached(self.domain.commit(there, self.start), self.goal)

    def _loss_and_slope(self, turn: Floats) -> tuple[float, Floats]:
        self.evaluations += 1
        z = self._latent(turn)
        seen = evaluate_loss(self.domain, z, self.start, self.goal)
        slope = linearise(self.domain, z, self.start, seen).gradient[0, : len(turn)]
        return float(seen.loss.total[0]), slope.numpy()

    def _latent(self, turn: Floats) -> torch.Tensor:
        wide = np.zeros((1, self.domain.latent_dim))
        wide[0, : len(turn)] = turn
        return torch.as_tensor(wide)
