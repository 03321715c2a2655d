"""Record of the steps of a session: recent frames, corrections and times."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from geofold.core.state import StepInfo
from geofold.modelling.outcome import StreamOutcome
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.structure import Floats

KEPT = 2000
"""Largest number of frames in the trajectory of a result; the oldest are dropped."""
MEMORY = 0.95
"""Share of the corrections of a residue that is left after one more step."""


class Recording:
    """Recent steps of a session.

    Parameters
    ----------
    domain : PeptideDomain
        Domain at the start, whose atoms the frames are made of.
    xyz : (n_atoms, 3)
        Coordinates at the start (nm).

    Attributes
    ----------
    corrections_of_residue : (L,)
        Recent corrections K, each step's divided among the residues by how far their torsions turned.
    """

    def __init__(self, domain: PeptideDomain, xyz: Floats) -> None:
        self._tree = domain.tree
        self._atoms: NDArray[np.int64] = domain.decoder.kinematics.atoms.cpu().numpy()
        self._frames: deque[Floats] = deque([xyz[self._atoms]], maxlen=KEPT)
        self._depths: deque[int] = deque([0], maxlen=KEPT)
        self._milliseconds: deque[float] = deque(maxlen=KEPT)
        self._accepted = self._corrections = 0
        self.corrections_of_residue = np.zeros(domain.tree.last - domain.tree.first + 1)

    def add(self, xyz: Floats, info: StepInfo | None, residue: NDArray[np.int64], turned: Floats) -> None:
        """Append a frame.

        Parameters
        ----------
        xyz : (n_atoms, 3)
            Coordinates (nm).
        info : StepInfo or None
            Diagnostics of the step; None for a conformation that was set.
        residue : (n,) int
            Residue of each torsion, counted from the first that moves.
        turned : (n,)
            How far each torsion turned (radian).
        """
        depth = 0 if info is None else int(info.inner_steps[0])
        self._frames.append(xyz[self._atoms])
        self._depths.append(depth)
        if info is None:
            return
        self._milliseconds.append(info.milliseconds)
        self._accepted += int(info.accepted[0])
        self._corrections += depth
        share = np.bincount(residue, np.abs(turned), len(self.corrections_of_residue))
        scale = depth / max(float(share.sum()), 1e-12)
        self.corrections_of_residue = MEMORY * self.corrections_of_residue + scale * share

    def outcome(self, reached: bool, predictor: str, gate: str) -> StreamOutcome:
        """Return the outcome of the session so far."""
        milliseconds = list(self._milliseconds)
        return StreamOutcome(
            self._tree,
            self._atoms,
            np.array(self._frames),
            "done" if reached else "stuck",
            predictor,
            {self._tree.first: self._corrections},
            list(self._depths)[1:],
            milliseconds,
            self._accepted,
            sum(milliseconds),
            gate,
            depth=tuple(self._depths),
        )
