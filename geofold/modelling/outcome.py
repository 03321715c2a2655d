"""Outcome of a stream: end coordinates, trajectory, statistics of its steps; and models of a loop with their cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.sidechains.repacking import NO_REPACKING, RepackedSideChains
from geofold.molecule.topology.torsion_tree import TorsionTree

Floats = NDArray[np.float64]
LOOP_SEARCH = "loop-search"
"""Predictor of a loop that was found by a search without use of the input's loop."""


@dataclass(frozen=True)
class StreamOutcome:
    """A segment of residues after its stream.

    Attributes
    ----------
    tree : TorsionTree
        Torsions that could move.
    atoms : (m,) int
        Atoms of the frames.
    frames : (T, m, 3)
        Trajectory from start to end (nm).
    status : str
        'done', 'stuck' (the steps ran out), 'rigid' (no freedom left) or 'kept' (nothing better than the input).
    predictor : str
        Name of the backbone that proposed the steps.
    inner_steps : dict of int to int
        Corrections K spent while the stream was at each residue (a peptide: all at its first).
    trace : list of int
        K of each step.
    milliseconds : list of float
        Wall-clock time of each step.
    accepted : int
        Number of steps in which a correction was accepted.
    goal_milliseconds : float
        Wall-clock time until the goal was met (a peptide: the first of the steps that it was held).
    gate : str
        Names of the gates that chose the number of corrections.
    repacked : RepackedSideChains
        Side chains of neighbours that were repacked before the end was refined.
    depth : tuple of int or None
        K spent on the way to each frame and at it; None if it was not counted; empty if unknown.
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
    repacked: RepackedSideChains = NO_REPACKING
    depth: tuple[int | None, ...] = ()

    @property
    def depths(self) -> tuple[int | None, ...]:
        """K of each frame, (T,); None for leading frames that were not counted."""
        return (None,) * (len(self.frames) - len(self.depth)) + self.depth

    @property
    def moved_atoms(self) -> NDArray[np.int64]:
        """Atoms that may have moved."""
        return np.union1d(self.tree.atoms, self.repacked.atoms)

    def thinned(self, limit: int) -> StreamOutcome:
        """Return the outcome with at most `limit` >= 2 frames, evenly spaced, the first and the last among them.

        K of a frame that is left out is added to that of the next one.
        """
        if len(self.frames) <= limit:
            return self
        kept, depths = np.linspace(0, len(self.frames) - 1, limit).round().astype(np.int64), self.depths
        groups = [depths[start:end] for start, end in pairwise([0, *(kept + 1).tolist()])]
        summed = [None if None in group else sum(k for k in group if k is not None) for group in groups]
        return replace(self, frames=self.frames[kept], depth=tuple(summed))

    def apply(self, xyz: Floats) -> Floats:
        """Coordinates (n_atoms, 3) of the structure with the segment at the end of its trajectory."""
        moved = self.repacked.apply(xyz)
        carried = np.isin(self.atoms, self.tree.atoms)
        moved[self.atoms[carried]] = self.frames[-1][carried]
        return moved


def inner_steps_per_frame(outcomes: Sequence[StreamOutcome]) -> list[int | None]:
    """K of each frame of the trajectory of several streams in sequence: the start, then the later frames of each."""
    spent: list[int | None] = [0]
    for outcome in outcomes:
        first, *others = outcome.depths
        if first and spent[-1] is not None:  # corrections tried before the first motion belong to the frame before it
            spent[-1] += first
        spent += others
    return spent


def embed_fragment(xyz: Floats, atoms: NDArray[np.int64], outcome: StreamOutcome, frame: Floats) -> Floats:
    """Coordinates (n_atoms, 3) of a structure with a frame of a stream that ran on a part of it.

    Parameters
    ----------
    xyz : (n_atoms, 3)
        Coordinates of the structure (nm).
    atoms : (p,) int
        Atoms of the structure that the part is made of, in the order of the part.
    outcome : StreamOutcome
        Outcome of the stream on the part.
    frame : (m, 3)
        One of its frames.
    """
    whole = xyz.copy()
    whole[atoms[outcome.repacked.atoms]] = outcome.repacked.xyz
    carried = np.isin(outcome.atoms, outcome.tree.atoms)
    whole[atoms[outcome.atoms[carried]]] = frame[carried]
    return whole


def expected_errors(outcomes: Sequence[StreamOutcome], models: Sequence[LoopModel]) -> dict[int, float | None]:
    """Return the expected error (A) of each residue that moved, by its index; None if there is no estimate.

    Parameters
    ----------
    outcomes : sequence of StreamOutcome
    models : sequence of LoopModel
        The outcomes with their confidence.
    """
    estimates = {id(model.outcome): model.residue_errors for model in models}
    errors: dict[int, float | None] = {}
    for outcome in outcomes:
        if outcome.status not in ("kept", "rigid"):
            residues = range(outcome.tree.first, outcome.tree.last + 1)
            errors |= dict(zip(residues, estimates.get(id(outcome)) or [None] * len(residues), strict=True))
    return errors


@dataclass(frozen=True)
class RepackedAlternative:
    """A surely better model of a loop, for which side chains around it would have to move.

    Attributes
    ----------
    neighbours : int
        Number of residues whose side chains would move.
    rmsd : float
        Backbone RMSD (A) from the model that moves none.
    expected : (float, float) or None
        Expected backbone RMSD (A) from the native, of the model that moves none and of this one.
    """

    neighbours: int
    rmsd: float
    expected: tuple[float, float] | None = None


@dataclass(frozen=True)
class LoopModel:
    """A model of a loop.

    Attributes
    ----------
    outcome : StreamOutcome
    terms : dict of str to float
        Weighted terms of its cost by name; see `geofold.modelling.scoring`.
    energy : float or None
        Energy of the force field (kJ/mol), if it was evaluated.
    confidence : (float, float, float) or None
        Expected backbone RMSD from the native (A) and the bounds of its 68 % interval, if a search ran.
    residue_errors : tuple of float
        Expected distance (A) of each residue's backbone from the native, with the confidence; empty without one.
    external_rmsd : tuple of float
        Backbone RMSD (A) from each candidate from elsewhere, as it was fitted.
    alternative : RepackedAlternative or None
        What repacked side chains around the loop would give, if that is surely better.
    """

    outcome: StreamOutcome
    terms: Mapping[str, float]
    energy: float | None = None
    confidence: tuple[float, float, float] | None = None
    residue_errors: tuple[float, ...] = ()
    external_rmsd: tuple[float, ...] = ()
    alternative: RepackedAlternative | None = None

    @property
    def cost(self) -> float:
        """Sum of the terms; lower is better."""
        return sum(self.terms.values())

    @property
    def cost_without_energy(self) -> float:
        """Cost by which models in different surroundings are compared, whose energies are not comparable."""
        return self.cost - self.terms.get("energy", 0.0)

    def with_confidence_of(self, other: LoopModel) -> LoopModel:
        """Return the model with the confidence of another one that it was made from, residue by residue too."""
        return replace(self, confidence=other.confidence, residue_errors=other.residue_errors)

    def with_terms(self, **terms: float) -> LoopModel:
        """Return the model with some of its terms replaced."""
        return replace(self, terms={**self.terms, **terms})
