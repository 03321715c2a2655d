"""scipy's L-BFGS-B on the torsions of a peptide (`geofold.molecule.peptide.lbfgs`), as a rival.

It sees the whole way at once and moves as far as it likes, so its iterations are no steps. What counts as steps is a
walk from the start to what it found, along the straight line in torsion space, no torsion turning by more than the cap
that every stepping agent obeys; the conformations on the way are emitted, so that clashes are counted as theirs are.

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
    began = time.perf_counter()
    found = search(domain, domain.start(structure.xyz), goal_of((contact,)), TORSION_CAP, seed=seed)
    seconds = time.perf_counter() - began
    angle = straight(found.turn)
    frames = state_at(domain, structure.xyz, torch.as_tensor(angle)).fold.xyz.numpy()
    return Walk(frames, angle, found.reached, seconds, found.starts, found.evaluations)


def straight(end: Floats) -> Floats:
    """Torsions (T + 1, n) from zero to what the end (n,) turns to, in as few equal steps as the cap allows."""
    turn = wrap(end)
    steps = int(np.ceil(np.abs(turn).max(initial=0.0) / TORSION_CAP - 1e-9))
    return np.linspace(0.0, 1.0, steps + 1)[:, None] * turn
