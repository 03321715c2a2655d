"""Peptide domains with other observation spaces, which define the pullback metric; used by the ablation.

The shipped domain observes torsions and backbone positions. Here it observes torsions alone, or distances between CA
atoms in addition to or instead of positions. Neither the loss nor the decoded structure changes.

Glossary: ``B`` rows, ``d`` latent, ``k`` observations of the domain, ``q`` distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, LossWithGradient, Prediction
from geofold.molecule.kinematics.decoder import POSITION_SIGMA
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal, PeptideState

TORSIONS, DISTANCES, ALL_OBSERVATIONS = "torsions", "torsions_distances", "torsions_distances_positions"
SPACES = (TORSIONS, DISTANCES, ALL_OBSERVATIONS)
TINY = 1e-12


@dataclass(frozen=True)
class ObservedPeptide(PeptideDomain):
    """A peptide domain whose observations (k + q) end with distances between CA atoms, in nm.

    Parameters
    ----------
    pairs : (2, q)
        Local atoms whose distance is observed.
    observation_weight : (k + q,)
        Observation weights.
    """

    pairs: Tensor = field(default_factory=lambda: torch.zeros(2, 0, dtype=torch.long))
    observation_weight: Tensor = field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def observing(cls, domain: PeptideDomain, space: str) -> ObservedPeptide:
        """Make a domain that observes one of `SPACES`.

        Positions and distances have weights as in `geofold.molecule.kinematics.decoder`: normalised by their number,
        with 1 A as the standard deviation.

        Raises
        ------
        ValueError
            For another name, or for a domain without a `features`, which lists the CA atoms.
        """
        if space not in SPACES or domain.features is None:
            raise ValueError(f"observations {space!r}; expected one of {', '.join(SPACES)}, of a domain with features")
        weight, n = domain.decoder.weight.clone(), len(domain.tree)
        # indices beyond the local atoms are CA atoms that do not move
        ca = domain.features.local[:, 1]
        ca = ca[ca < len(domain.decoder.kinematics.atoms)].to(weight.device)
        pairs = torch.combinations(ca).mT if space != TORSIONS else ca.new_zeros(2, 0)
        if space != ALL_OBSERVATIONS:
            weight[n:] = 0.0
        distance_weight = weight.new_full((pairs.shape[1],), 1 / (max(pairs.shape[1], 1) * POSITION_SIGMA**2))
        base_size = {f.name: getattr(domain, f.name) for f in fields(domain)}
        return cls(**base_size, pairs=pairs, observation_weight=torch.cat([weight, distance_weight]))

    def decode(self, z: Tensor, state: PeptideState) -> Prediction:
        """Decode the observations of the domain and the distances."""
        return self._with_distances(super().decode(z, state))

    def expand(self, z: Tensor, state: PeptideState) -> Expansion:
        """Return derivatives of the domain's decoder, extended to the distances by the chain rule."""
        base = super().expand(z, state)
        base_size = base.prediction.mean.shape[-1]
        vectors = self._vectors(base.prediction.mean)
        distance = self._norm(vectors)
        unit = vectors / distance[..., None]

        def along(change: Tensor) -> Tensor:
            """Change (..., q) of the distances for a change (..., k) of the observations."""
            return (unit * self._vectors(change)).sum(-1)

        def push(v: Tensor) -> Tensor:
            change = base.push(v)
            return torch.cat([change, along(change)], -1)

        def back(c: Tensor) -> Tensor:
            """Cotangent (..., k) of the observations for a cotangent (..., q) of the distances."""
            pulls = c[..., None] * unit
            atoms = c.new_zeros(*c.shape[:-1], (base_size - len(self.tree)) // 3, 3)
            atoms.index_add_(-2, self.pairs[0], pulls).index_add_(-2, self.pairs[1], -pulls)
            return torch.cat([c.new_zeros(*c.shape[:-1], len(self.tree)), atoms.flatten(-2)], -1)

        def pull(c: Tensor) -> Tensor:
            return base.pull(c[..., :base_size] + back(c[..., base_size:]))

        def bend(v: Tensor) -> Tensor:
            change, bent = base.push(v[None])[0], base.bend(v)
            across = self._vectors(change).square().sum(-1) - along(change).square()
            return torch.cat([bent, along(bent) + across / distance], -1)

        def gram(weight: Tensor) -> Tensor:
            base_gram = base.gram(weight[..., :base_size])
            count = self.pairs.shape[1]
            if not count:
                return base_gram
            basis = torch.eye(count, dtype=base_gram.dtype, device=base_gram.device)[:, None].expand(
                -1, len(base_gram), -1
            )
            rows = base.pull(back(basis))
            return base_gram + torch.einsum("qbi,bq,qbj->bij", rows, weight[..., base_size:], rows)

        return Expansion(self._with_distances(base.prediction), push, pull, bend, gram)

    def loss(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> Loss:
        """Loss of the domain; distances do not enter it."""
        return super().loss(self._without_distances(prediction), state, goal)

    def loss_and_gradient(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> LossWithGradient:
        """Loss and gradient of the domain; the gradient is zero along the distances."""
        base_size = super().loss_and_gradient(self._without_distances(prediction), state, goal)
        count = self.pairs.shape[1]

        def stiff_directions() -> Tensor | None:
            rows = None if base_size.stiff_directions is None else base_size.stiff_directions()
            return None if rows is None else torch.nn.functional.pad(rows, (0, count))

        return LossWithGradient(
            base_size.loss, lambda: torch.nn.functional.pad(base_size.gradient(), (0, count)), stiff_directions
        )

    def commit(self, prediction: Prediction, state: PeptideState) -> PeptideState:
        """Commit as the domain does."""
        return super().commit(self._without_distances(prediction), state)

    def _with_distances(self, prediction: Prediction) -> Prediction:
        distance = self._norm(self._vectors(prediction.mean))
        return replace(prediction, mean=torch.cat([prediction.mean, distance], -1), precision=self.observation_weight)

    def _without_distances(self, prediction: Prediction) -> Prediction:
        base_size = len(self.observation_weight) - self.pairs.shape[1]
        return replace(
            prediction, mean=prediction.mean[..., :base_size], precision=prediction.precision[..., :base_size]
        )

    def _vectors(self, mean: Tensor) -> Tensor:
        """Vectors (..., q, 3) from the second to the first atom of each pair, or their changes."""
        place = mean[..., len(self.tree) :].unflatten(-1, (-1, 3))
        return place[..., self.pairs[0], :] - place[..., self.pairs[1], :]

    @staticmethod
    def _norm(vectors: Tensor) -> Tensor:
        return (vectors.square().sum(-1) + TINY).sqrt()


Observer = Callable[[PeptideDomain], PeptideDomain]


def observing(space: str) -> Observer:
    """Return a function that makes a domain observe a space."""
    return lambda domain: ObservedPeptide.observing(domain, space)
