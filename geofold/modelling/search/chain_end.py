"""Conformations of a chain end: sampled from the torsion prior on its anchor, and what they leave undetermined.

Nothing closes a chain end, and the learned potentials are those of loops between two residues. What determines it is
the space that the rest of the structure leaves to it; all conformations without overlaps are its ensemble.

Glossary: ``K`` conformations, ``n`` residues of the chain end, ``m`` their atoms, as in
`geofold.modelling.search.candidates`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geofold.learn.torsion_prior.model import shipped_prior
from geofold.modelling.density import map_of
from geofold.modelling.evaluation import backbone_of_end
from geofold.modelling.options import STREAMS, RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.scoring import SEARCH, Scores
from geofold.modelling.search.evolutionary import Candidates
from geofold.modelling.search.segment_candidates import SegmentCandidates
from geofold.molecule.density.maps import DensityMap
from geofold.molecule.io.edit import with_residues
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.open_segment import OpenSegment
from geofold.molecule.loop.torsion_sampling import sample_torsions
from geofold.molecule.structure import Floats, Structure

DRAWS = 768
"""Conformations that are drawn with the usual number of streams."""
FREE_COST = 1.0
"""Cost of overlaps and outliers below which a conformation belongs to the ensemble: less than one severe overlap."""
SMALLEST_ENSEMBLE = 16
"""Number of conformations in the ensemble if fewer are free."""
EXPECTED, INTERVAL = 1.2, (0.8, 1.8)
"""RMSD of a model from the native, as multiples of its root-mean-square distance from the ensemble: the median, and the
16th and 84th percentile, of 50 chain ends of 5 and 10 residues that were taken from 13 shipped structures. At N ends
the median is 1.16, at C ends 1.29."""


@dataclass(frozen=True, eq=False)
class ChainEndCandidates(SegmentCandidates):
    """A chain end whose conformations are sampled. Create with `ChainEndCandidates.of`.

    Attributes
    ----------
    origin : Structure
        Structure without the chain end.
    build : BuildPlan
    segment : OpenSegment
        The chain end with ideal geometry.
    structure : Structure
        Structure with the backbone of the chain end in one of its conformations.
    altloc : str or None
        Conformer of the environment.
    density : DensityMap or None
        Map that conformations are ranked by.
    """

    origin: Structure
    build: BuildPlan
    segment: OpenSegment
    structure: Structure
    altloc: str | None = None
    density: DensityMap | None = None

    @classmethod
    def of(
        cls,
        origin: Structure,
        build: BuildPlan,
        *,
        altloc: str | None = None,
        seed: int = 0,
        density: DensityMap | None = None,
    ) -> ChainEndCandidates:
        """Return a chain end that is to be built.

        Parameters
        ----------
        origin : Structure
        build : BuildPlan
        altloc : str, optional
            Conformer of the environment.
        seed : int
        density : DensityMap, optional
            Map that conformations are ranked by.
        """
        segment = OpenSegment.of(origin, build, altloc)
        torsions, _ = sample_torsions(origin, build, shipped_prior()[0], 1, np.random.default_rng([seed, 1]))
        names, rows = segment.coordinates(segment.increments(torsions))
        new = build.residues(names, rows[0])
        structure = with_residues(origin, build.anchor, build.removed, new, build.side)
        return cls(origin, build, segment, structure, altloc, density)

    def draw(self, count: int, noise: np.random.Generator) -> Floats:
        """Return `count` conformations (K, m, 3) in nm, whatever they overlap with."""
        torsions, _ = sample_torsions(self.origin, self.build, shipped_prior()[0], count, noise)
        return self.segment.coordinates(self.segment.increments(torsions))[1]

    def rank(self, rows: Floats) -> Candidates:
        """Candidates (K, m, 3) by their overlaps and Ramachandran outliers."""
        scores = Scores.of(
            np.zeros(len(rows)),
            clash=self.cost(rows),
            density=self.density_cost(rows),
        )
        if self.build.side == "before":
            scores = replace(scores, outlier_after=self.outlier_after(rows))
        return Candidates.rank(rows, scores, SEARCH)


def search_chain_end(
    structure: Structure, build: BuildPlan, options: RunOptions
) -> tuple[ChainEndCandidates, Candidates, Floats]:
    """Sample conformations of a chain end.

    Returns
    -------
    ChainEndCandidates, Candidates, (K, n, 4, 3)
        The chain end; its conformations, lowest cost first; and the backbones (nm) of those that nothing excludes.
    """
    end = ChainEndCandidates.of(structure, build, altloc=options.altloc, seed=options.seed, density=map_of(options))
    count = max(DRAWS * options.streams // STREAMS, 2 * SMALLEST_ENSEMBLE)
    pool = end.rank(end.draw(count, np.random.default_rng([options.seed, 2])))
    is_free = (pool.scores.clash < FREE_COST) & (pool.scores.outlier_after == 0)
    free = np.flatnonzero(is_free) if is_free.sum() >= SMALLEST_ENSEMBLE else np.arange(SMALLEST_ENSEMBLE)
    return end, replace(pool, tried=count), end.backbone(pool.rows[free])


def with_ensemble_confidence(structure: Structure, model: LoopModel, ensemble: Floats) -> LoopModel:
    """Return the model of a chain end with the confidence that its ensemble leaves.

    The expected RMSD from the native is proportional to the root-mean-square distance of the model from the ensemble
    (K, n, 4, 3), in nm, and so is the expected error of each residue; see `EXPECTED`.
    """
    backbone = backbone_of_end(structure, model)
    if not np.isfinite(backbone).all():
        return model
    squared = 100 * np.square(ensemble - backbone).sum(-1).mean((0, 2))
    spread = float(np.sqrt(squared.mean()))
    low, high = (factor * spread for factor in INTERVAL)
    errors = EXPECTED * np.sqrt(squared)
    return replace(model, confidence=(EXPECTED * spread, low, high), residue_errors=tuple(errors.tolist()))
