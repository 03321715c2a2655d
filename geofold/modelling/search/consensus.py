"""How sure a run is of a loop: its end held against everything that the search for it liked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geofold.geometry import pairwise_rmsd
from geofold.learn.loop_score.confidence import CONSENSUS_WEIGHT, Confidence, confidence_features, consensus_distance
from geofold.learn.loop_score.model import LoopScore, shipped_reranker
from geofold.modelling.outcome import Model
from geofold.modelling.repair.refinement import scored_whole
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.evolutionary import Ranked
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats, Structure

SETTLED = 1.0
"""What an Angstrom away from where a search agrees on is worth in ends with all their atoms: more than among candidates
(`AGREED`), since how side chains came to stand scatters what the rest says. In twelve searches for loops of 10-14
residues of validation proteins, six ends each, the first is 2.96 A off in the mean at 0.5, 2.90 A at 1, 3.00 A at 2."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search led: backbones (K, n, 4, 3) in nm and what the judge alone says of them, (K,)."""

    backbone: Floats
    value: Floats

    def apart(self, own: Floats) -> Floats:
        """RMSD (E, K) in A of backbones (E, n, 4, 3) in nm from the candidates."""
        return pairwise_rmsd(own, self.backbone, 10)

    @classmethod
    def of(cls, loop: LoopCandidates, pool: Ranked) -> Searched:
        """Of the candidates of a search."""
        return cls(loop.backbone(pool.rows), pool.liked)


def agreed(loop: LoopCandidates, pool: Ranked, judge: LoopScore | None = None) -> Ranked:
    """Candidates of a search, those first that a judge likes and that lie near what it likes.

    Parameters
    ----------
    judge
        A potential that had no part in the search; None: the one that ships.
    """
    if not len(pool.rows):
        return pool
    liked = loop.scores(pool.rows, shipped_reranker()[0] if judge is None else judge)
    judged = replace(pool, value=pool.value + liked - pool.liked, liked=liked)
    found = Searched.of(loop, judged)
    value = judged.value + CONSENSUS_WEIGHT * consensus_distance(found.value, found.apart(found.backbone))
    return replace(judged, value=value).taken(np.argsort(value, kind="stable"))


def agreeing(structure: Structure, models: list[Model], found: Searched | None) -> list[Model]:
    """Models whose scores also say how far their ends are from what a search agrees on."""
    if found is None:
        return models
    own = np.array([end_backbone(structure, model) for model in models])
    away = SETTLED * consensus_distance(found.value, found.apart(own))
    return [replace(model, score=model.score + float(more)) for model, more in zip(models, away, strict=True)]


def end_backbone(structure: Structure, model: Model) -> Floats:
    """N, CA, C and O (n, 4, 3) of a model's end, nm; NaN for an oxygen that is not there."""
    tree, xyz = model.move.tree, model.move.apply(structure.xyz)
    atoms = backbone_atoms(structure, tree.first, tree.last, tree.steering)
    places = [np.full(3, np.nan) if atom is None else xyz[atom] for atom in atoms]
    return np.array(places).reshape(-1, 4, 3)


def sure(structure: Structure, models: list[Model], found: Searched | None) -> list[Model]:
    """Models with their confidence, where there was a search and the potential's card knows what its ends are worth.

    Parameters
    ----------
    structure
        That the models' moves are of.
    """
    known = Confidence.of(shipped_reranker()[1])
    if known is None or found is None:
        return models
    told = []
    for model in models:
        own = end_backbone(structure, model)
        if not np.isfinite(own).all():
            told.append(model)
            continue
        value = scored_whole(structure, model.move.tree, model.move.apply(structure.xyz))
        said = confidence_features(found.value, found.apart(own[None])[0], value, len(own))
        told.append(replace(model, confidence=known.predict_rmsd(said)))
    return told
