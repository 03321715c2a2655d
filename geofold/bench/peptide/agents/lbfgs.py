"""scipy's L-BFGS-B on the torsions of a peptide (`geofold.molecule.peptide.lbfgs`), as a rival.

Its iterations may move any distance, so they are not steps. Steps are those of a path from the start to the optimum,
along the straight line in torsion space, with the cap on torsion changes of the stepping agents; overlaps are counted
along this path as for them.

Glossary: ``T`` steps, ``m`` local atoms, ``n`` torsions.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.geometry import wrap
from geofold.modelling.options import TORSION_CAP
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.datasets.peptide_demonstrations import state_at
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.lbfgs import search
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]


class Walk(NamedTuple):
    """Optimum and path to it.

    Attributes
    ----------
    frames : (T + 1, m, 3) float
        Local coordinates (nm), the start first.
    angle : (T + 1, n) float
        Torsions relative to the structure (radian).
    reached : bool
        Whether the last frame satisfies the contact without severe overlaps and Ramachandran outliers.
    seconds : float
        Wall time of the search, without the path.
    starts, evaluations : int
        Number of searches, and of losses with gradients.
    """

    frames: Floats
    angle: Floats
    reached: bool
    seconds: float
    starts: int
    evaluations: int

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self.frames) - 1


def walk_to_contact(structure: Structure, domain: PeptideDomain, contact: Contact, *, seed: int = 0) -> Walk:
    """Search from the torsions of a structure, then walk to the optimum.

    Parameters
    ----------
    structure : Structure
        The peptide.
    domain : PeptideDomain
        Domain of the whole structure.
    contact : Contact
        Contact to satisfy.
    seed : int
        Seed of the further starting points.

    Returns
    -------
    Walk
        Path to the first optimum that satisfies the contact, otherwise to that of the lowest loss.
    """
    began = time.perf_counter()
    optimum = search(domain, domain.start(structure.xyz), goal_of((contact,)), TORSION_CAP, seed=seed)
    seconds = time.perf_counter() - began
    angle = interpolate_torsions(optimum.increments)
    frames = state_at(domain, structure.xyz, torch.as_tensor(angle)).conformation.xyz.numpy()
    return Walk(frames, angle, optimum.reached, seconds, optimum.starts, optimum.evaluations)


def interpolate_torsions(end: Floats) -> Floats:
    """Torsions (T + 1, n) from zero to an end (n,), by the shorter turns, in as few equal steps as the cap allows."""
    rotation = wrap(end)
    steps = int(np.ceil(np.abs(rotation).max(initial=0.0) / TORSION_CAP - 1e-9))
    return np.linspace(0.0, 1.0, steps + 1)[:, None] * rotation
