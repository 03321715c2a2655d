"""scipy's L-BFGS-B on the torsions of a peptide, over the very loss that the controller steps along.

It sees the whole way at once and moves as far as it likes, so its iterations are no steps. What counts as steps is a
walk from the start to what it found, along the straight line in torsion space, no torsion turning by more than the cap
that every stepping agent obeys; the conformations on the way are emitted, so that clashes are counted as theirs are.

It stops at the first iterate that is as good as the benchmark asks for. Torsions stay in a box around the start, a few
caps wide: that keeps the walk short, and the first line searches from going round in circles. Where it ends in a
minimum that is not good enough, it starts again from random torsions, further away each time, in a wider box.

24 episodes of the tuning split: the first box and what is added each time, in caps; reached, mean steps, severe
overlaps per step, starts in total, mean wall seconds on a busy machine:

    none                24    15.2    2.56    28    0.19
    8, 0.1              24     7.3    0.01    24    0.08
    6, 1                24     6.1    0.01    28    0.09
    5, 1: the default   24     5.4    0.01    33    0.07
    4, 1                24     5.2    0.01    52    0.12
    3, 1                24     5.4    0.03    79    0.22
    2, 1                24     5.2    0.03    94    0.16
    5, 0                16     5.0    0.03   112    0.27

Without a box, starts half or three times as far apart, or a memory of 10, changed nothing that matters.

Glossary: ``T`` steps, ``m`` local atoms, ``n`` torsions.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from geofold.app.constrain_peptide import goal_of, reached
from geofold.app.options import TORSION_CAP
from geofold.core.linearise import linearise, look
from geofold.molecule.contacts import Contact
from geofold.molecule.peptide import PeptideDomain, PeptideGoal, PeptideState
from geofold.molecule.peptide_demos import UNCAPPED, placed
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
STARTS, SPREAD = 14, 0.1
"""At most so many; the second one's torsions have this standard deviation (radian), the third's twice that, ..."""
BOX, WIDER = 5.0, 1.0
"""How far torsions may turn in the first search, and how much further in each that follows; in caps."""
ITERATIONS, MEMORY = 300, 20


class Walk(NamedTuple):
    """What was found, and the way there.

    Attributes
    ----------
    frames : (T + 1, m, 3) float
        Local coordinates in nm, the start first.
    angle : (T + 1, n) float
        Torsions counted from the structure's, radian.
    reached : bool
        The last frame keeps the contact, without severe overlap and Ramachandran outlier.
    seconds : float
        Wall time of the search; the walk is not counted.
    starts, evaluations : int
        Searches made; losses with gradients computed.
    """

    frames: Floats
    angle: Floats
    reached: bool
    seconds: float
    starts: int
    evaluations: int

    @property
    def steps(self) -> int:
        """T."""
        return len(self.frames) - 1


def walked_to_contact(structure: Structure, domain: PeptideDomain, contact: Contact, *, seed: int = 0) -> Walk:
    """Search from a structure's own torsions, then walk.

    Parameters
    ----------
    domain
        Of the whole structure.
    seed : int
        Of the further starts.

    Returns
    -------
    Walk
        To the first end that counts as reached, or to the one of least loss.
    """
    goal, noise = goal_of((contact,)), np.random.default_rng(seed)
    began = time.perf_counter()
    search = _Search(domain, domain.start(structure.xyz), goal)
    starts, found = 0, False
    best, least = np.zeros(len(domain.tree)), np.inf
    while not found and starts < STARTS:
        box = min((BOX + WIDER * starts) * TORSION_CAP, np.pi)
        first = starts * SPREAD * noise.standard_normal(len(domain.tree))
        end, worth = search.descend(first.clip(-box, box), box)
        starts += 1
        found = search.content(end)
        if found or worth < least:
            best, least = end, worth
    seconds = time.perf_counter() - began
    angle = straight(best)
    frames = placed(domain, structure.xyz, torch.as_tensor(angle)).fold.xyz.numpy()
    return Walk(frames, angle, found, seconds, starts, search.evaluations)


def straight(end: Floats) -> Floats:
    """Torsions (T + 1, n) from zero to what the end (n,) turns to, in as few equal steps as the cap allows."""
    turn = (end + np.pi) % (2 * np.pi) - np.pi
    steps = int(np.ceil(np.abs(turn).max(initial=0.0) / TORSION_CAP - 1e-9))
    return np.linspace(0.0, 1.0, steps + 1)[:, None] * turn


class _Search:
    """Loss and gradient at total increments (n,), and how many were computed."""

    def __init__(self, domain: PeptideDomain, start: PeptideState, goal: PeptideGoal) -> None:
        self._free = replace(domain, fold=replace(domain.fold, cap=UNCAPPED))
        self._state, self._goal = start, goal
        self.evaluations = 0

    def descend(self, first: Floats, box: float) -> tuple[Floats, float]:
        """Where L-BFGS-B goes, and the loss there; it ends early where nothing is left to be done."""

        def watch(now: Floats) -> None:
            if self.content(now):
                raise StopIteration

        end = minimize(
            self._loss_and_slope, first, jac=True, method="L-BFGS-B", bounds=[(-box, box)] * len(first),
            callback=watch, options={"maxiter": ITERATIONS, "maxcor": MEMORY},
        )  # fmt: skip
        return np.asarray(end.x, dtype=np.float64), float(end.fun)

    def content(self, angle: Floats) -> bool:
        """Whether the benchmark would be."""
        with torch.no_grad():
            there = self._free.decode(self._latent(angle), self._state)
            return reached(self._free, self._free.commit(there, self._state), self._goal)

    def _loss_and_slope(self, angle: Floats) -> tuple[float, Floats]:
        self.evaluations += 1
        z = self._latent(angle)
        seen = look(self._free, z, self._state, self._goal)
        slope = linearise(self._free, z, self._state, seen).gradient[0, : len(angle)]
        return float(seen.loss.total[0]), slope.numpy()

    def _latent(self, angle: Floats) -> torch.Tensor:
        wide = np.zeros((1, self._free.latent_dim))
        wide[0, : len(angle)] = angle
        return torch.as_tensor(wide)
