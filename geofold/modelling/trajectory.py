"""Recorder of one row's trajectory through one or several streams."""

from __future__ import annotations

import numpy as np
import torch

from geofold.core.backbone import NoMotion
from geofold.core.state import StepInfo
from geofold.modelling.outcome import StreamOutcome
from geofold.molecule.loop.domain import LoopDomain

NO_PREDICTOR = NoMotion().name


class TrajectoryRecorder:
    """Collects frames and step statistics of one row.

    Parameters
    ----------
    predictor : str
        Name of the backbone that proposed the steps.
    gate : str
        Names of the gates.
    """

    def __init__(self, predictor: str = NO_PREDICTOR, gate: str = "threshold") -> None:
        self.predictor, self.gate = predictor, gate
        self.frames: list[np.ndarray] = []
        self.depth: list[int] = []
        self.trace: list[int] = []
        self.milliseconds: list[float] = []
        self.inner_steps: dict[int, int] = {}
        self.accepted = 0

    def add(self, xyz: torch.Tensor, info: StepInfo | None, row: int, cursor: int) -> None:
        """Append a frame, unless nothing moved, and the statistics of the step that led to it.

        Parameters
        ----------
        xyz : (m, 3)
            Coordinates after the step (nm).
        info : StepInfo or None
            Diagnostics of the step; None for a frame that no step led to.
        row : int
            Row of the batch that is recorded.
        cursor : int
            Residue of the loop at which the step was made.
        """
        points = xyz.cpu().numpy()
        if not self.frames or not np.array_equal(points, self.frames[-1]):
            self.frames.append(points)
            self.depth.append(0)
        if info is not None:
            depth = int(info.inner_steps[row])
            self.trace.append(depth)
            self.depth[-1] += depth
            self.inner_steps[cursor] = self.inner_steps.get(cursor, 0) + depth
            self.milliseconds.append(info.milliseconds)
            self.accepted += int(info.accepted[row])

    def outcome(self, domain: LoopDomain, status: str) -> StreamOutcome:
        """Return the outcome of the streams recorded so far."""
        first = domain.tree.first
        return StreamOutcome(
            domain.tree,
            domain.decoder.kinematics.atoms.cpu().numpy(),
            np.array(self.frames),
            status,
            self.predictor,
            {first + k: self.inner_steps.get(k, 0) for k in range(domain.length)},
            self.trace,
            self.milliseconds,
            self.accepted,
            sum(self.milliseconds),
            self.gate,
            depth=tuple(self.depth),
        )


def no_motion(domain: LoopDomain, xyz: np.ndarray, status: str = "rigid") -> StreamOutcome:
    """Outcome of a loop that stays as it is, in coordinates (n_atoms, 3) of its structure."""
    atoms = domain.decoder.kinematics.atoms.cpu().numpy()
    none = dict.fromkeys(range(domain.tree.first, domain.tree.last + 1), 0)
    return StreamOutcome(domain.tree, atoms, xyz[atoms][None], status, NO_PREDICTOR, none)
