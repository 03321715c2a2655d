"""The candidates of a search as an ensemble, and the confidence of a model that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geofold.geometry import pairwise_rmsd
from geofold.learn.loop_score.confidence import (
    Confidence,
    confidence_features,
    residue_errors,
)
from geofold.learn.loop_score.model import shipped_score
from geofold.modelling.evaluation import backbone_of_end, potential_of
from geofold.modelling.outcome import LoopModel
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.evolutionary import Candidates
from geofold.molecule.structure import Floats, Structure


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Candidates of a search as an ensemble.

    Attributes
    ----------
    backbone : (K, n, 4, 3)
        N, CA, C and O (nm).
    potential : (K,)
        Learned potential.
    external : (X, n, 4, 3)
        Candidates from elsewhere, as fitted (nm).
    """

    backbone: Floats
    potential: Floats
    external: Floats

    def rmsd(self, backbone: Floats) -> Floats:
        """RMSD (E, K) in A of backbones (E, n, 4, 3) in nm from the candidates, without superposition."""
        return pairwise_rmsd(backbone, self.backbone, 10)

    def features(self, backbone: Floats, potential: float) -> Floats:
        """Features (F,) of a model's confidence, from its backbone (n, 4, 3) in nm and its learned potential."""
        rmsd = self.rmsd(backbone[None])[0]
        return confidence_features(self.potential, rmsd, potential, len(backbone))

    @classmethod
    def of(cls, loop: LoopCandidates, pool: Candidates, external: Floats | None = None) -> Ensemble:
        """Ensemble of the candidates of a search, and of those from elsewhere (X, m, 3)."""
        none = np.empty((0, len(loop.atoms), 3))
        return cls(
            loop.backbone(pool.rows), pool.scores.potential, loop.backbone(none if external is None else external)
        )


def with_confidence(structure: Structure, model: LoopModel, ensemble: Ensemble | None) -> LoopModel:
    """Return the model with its confidence, whole and by residue, if a search ran and the potential is calibrated.

    Parameters
    ----------
    structure : Structure
        Structure that the model belongs to.
    model : LoopModel
    ensemble : Ensemble or None
        Candidates of the search.
    """
    calibration = Confidence.of(shipped_score()[1])
    backbone = backbone_of_end(structure, model)
    if calibration is None or ensemble is None or not np.isfinite(backbone).all():
        return model
    potential, repacked = potential_of_end(structure, model), bool(len(model.outcome.repacked.atoms))
    confidence = calibration.predict_rmsd(ensemble.features(backbone, potential), repacked)
    distance = 100 * np.square(ensemble.backbone - backbone).sum(axis=-1).mean(axis=-1)
    errors = residue_errors(ensemble.potential, distance, potential, confidence[0])
    return replace(model, confidence=confidence, residue_errors=tuple(errors.tolist()))


def potential_of_end(structure: Structure, model: LoopModel) -> float:
    """Learned potential of the end of a model."""
    coordinates = model.outcome.apply(structure.xyz)[None]
    return float(potential_of(structure, model.outcome.tree, coordinates)[0])


def with_external_rmsd(structure: Structure, model: LoopModel, ensemble: Ensemble | None) -> LoopModel:
    """Return the model with its RMSD from the candidates from elsewhere, if there are any."""
    if ensemble is None or not len(ensemble.external):
        return model
    rmsd = pairwise_rmsd(backbone_of_end(structure, model)[None], ensemble.external, 10)[0]
    return replace(model, external_rmsd=tuple(rmsd.tolist()))
