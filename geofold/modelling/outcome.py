"""What a run did: the end coordinates, the path, the numbers of its stream, and what its end is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.sidechains.repacking import NOTHING, Turned
from geofold.molecule.topology.torsion_tree import TorsionTree

Floats = NDArray[np.float64]
MODELLED = "loop-search"
"""Predictor of a loop that was searched for as if there were none."""


@dataclass(frozen=True)
class Move:
    """One stretch of residues after its stream.

    Attributes
    ----------
    tree
        What could move.
    atoms : (m,) int
        Atoms of the frames.
    frames : (T, m, 3)
        Path from start to end in nm.
    inner_steps : dict of int to int
        Corrections K spent while the stream stood at each residue (a peptide: all at its first).
    trace : list of int
        K of each step.
    milliseconds : list of float
        Wall clock of each step.
    accepted : int
        Steps in which a correction was taken.
    goal_milliseconds : float
        Wall clock from the start until the goal was met (a peptide: the first of the steps that it then held).
    predictor : str
        Name of the backbone that proposed the steps.
    gate : str
        Names of the gates that chose the corrections.
    status : str
        'done', 'stuck' (time ran out) or 'rigid' (no freedom left).
    beside : Turned
        Side chains of neighbours that were repacked before the end was settled.
    depth : tuple of int or None
        K spent on the way to each frame and while it stood, None where it was not counted; empty: unknown.
    """

    tree: TorsionTree
    atoms: NDArray[np.int64]
    frames: Floats
    status: str
    predictor: str
    inner_steps: dict[int, int] = field(default_factory=dict)
    trace: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    accepted: int = 0
    goal_milliseconds: float = 0.0
    gate: str = "threshold"
    beside: Turned = NOTHING
    depth: tuple[int | None, ...] = ()

    @property
    def depths(self) -> tuple[int | None, ...]:
        """K of each frame, (T,); None for the first frames where only the last were counted."""
        return (None,) * (len(self.frames) - len(self.depth)) + self.depth

    @property
    def touched(self) -> NDArray[np.int64]:
        """Atoms that may have moved."""
        return np.union1d(self.tree.atoms, self.beside.atoms)

    def apply(self, xyz: Floats) -> Floats:
        """Coordinates (n_atoms, 3) of the structure with the stretch at the end of its path."""
        moved = self.beside.apply(xyz)
        carried = np.isin(self.atoms, self.tree.atoms)
        moved[self.atoms[carried]] = self.frames[-1][carried]
        return moved


def depths_along(moves: Sequence[Move]) -> list[int | None]:
    """K of each frame of the path that moves make one after the other: the start, then each move's later frames."""
    spent: list[int | None] = [0]
    for move in moves:
        first, *others = move.depths
        if first and spent[-1] is not None:  # what was tried where the move began belongs to the frame it began at
            spent[-1] += first
        spent += others
    return spent


def lifted(xyz: Floats, place: NDArray[np.int64], move: Move, frame: Floats) -> Floats:
    """Coordinates (n_atoms, 3) of a structure as they are in a frame of a move of a part of it.

    Parameters
    ----------
    place
        Atoms of the structure that the part is made of, in its order.
    """
    whole = xyz.copy()
    whole[place[move.beside.atoms]] = move.beside.xyz
    carried = np.isin(move.atoms, move.tree.atoms)
    whole[place[move.atoms[carried]]] = frame[carried]
    return whole


@dataclass(frozen=True)
class Model:
    """One of the ends that a loop was brought to.

    Attributes
    ----------
    move : Move
    score : float
        What the potential, clashes, outliers and energy say of it; lower is better.
    energy : float or None
        kJ/mol, where it was evaluated.
    confidence : (float, float, float) or None
        Expected backbone RMSD from the native in A, and the ends of its 68 % interval, where a search tells.
    """

    move: Move
    score: float
    energy: float | None = None
    confidence: tuple[float, float, float] | None = None
