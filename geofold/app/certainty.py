"""How sure a run is of a loop: its end held against everything that the search for it liked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geofold.app.loop_candidates import LoopCandidates
from geofold.app.loop_search import Ranked
from geofold.app.moves import Model
from geofold.app.settling import scored_whole
from geofold.learn.confidence import Confidence, numbers
from geofold.learn.loop_score import shipped_score
from geofold.molecule.residue_range import BACKBONE
from geofold.molecule.structure import Floats, Structure


@dataclass(frozen=True, eq=False)
class Searched:
    """What a search led: backbones (K, n, 4, 3) in nm and what the potential alone says of them, (K,)."""

    backbone: Floats
    value: Floats

    @classmethod
    def of(cls, loop: LoopCandidates, pool: Ranked) -> Searched:
        """Of the candidates of a search."""
        return cls(loop.backbone(pool.rows), loop.scores(pool.rows, shipped_score()[0]))


def sure(structure: Structure, models: list[Model], found: Searched | None) -> list[Model]:
    """Models with their confidence, where there was a search and the potential's card knows what its ends are worth.

    Parameters
    ----------
    structure
        That the models' moves are of.
    """
    known = Confidence.of(shipped_score()[1])
    if known is None or found is None:
        return models
    told = []
    for model in models:
        tree = model.move.tree
        xyz = model.move.apply(structure.xyz)
        atoms = [structure.atom(k, name, tree.steering) for k in range(tree.first, tree.last + 1) for name in BACKBONE]
        if model.move.status == "rigid" or any(atom is None for atom in atoms):
            told.append(model)
            continue
        own = xyz[np.array(atoms)].reshape(-1, 4, 3)
        apart = 10 * np.sqrt(((found.backbone - own) ** 2).sum(-1).mean((1, 2)))
        value = scored_whole(structure, tree, xyz)
        told.append(replace(model, confidence=known.rmsd(numbers(found.value, apart, value, len(own)))))
    return told
