"""Peptides seen through other observations: what the pullback metric weighs of a move, for the ablation.

The domain that ships weighs torsions and backbone positions. Here torsions may be weighed alone, or distances between
CA atoms beside or in place of the positions. Nothing else changes: neither the loss nor what a latent decodes to.

Glossary: ``B`` rows, ``d`` latent, ``k`` observations of the domain, ``q`` distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from geofold.core.domain import Expansion, Loss, LossWithGradient, Prediction
from geofold.molecule.kinematics.decoder import POSITION_SIGMA
from geofold.molecule.peptide.domain import PeptideDomain, PeptideGoal, PeptideState

TORSIONS, DISTANCES, EVERYTHING = "torsions", "torsions_distances", "torsions_distances_positions"
SPACES = (TORSIONS, DISTANCES, EVERYTHING)
TINY = 1e-12


@dataclass(frozen=True)
class ObservedPeptide(PeptideDomain):
    """A peptide domain whose observations (k + q) end with distances between CA atoms, in nm.

    Parameters
    ----------
    pairs : (2, q)
        Local atoms whose distance is seen.
    wide : (k + q,)
        Observation weights.
    """

    pairs: Tensor = field(default_factory=lambda: torch.zeros(2, 0, dtype=torch.long))
    wide: Tensor = field(default_factory=lambda: torch.zeros(0))

    @classmethod
    def through(cls, domain: PeptideDomain, space: str) -> ObservedPeptide:
        """The domain with the weights of one of `SPACES`.

        Positions and distances are weighed as in `geofold.molecule.kinematics.decoder`: normalised by their number,
        with 1 A as the standard deviation.

        Raises
        ------
        ValueError
            For another name, or a domain without a `sense`, which knows the CA atoms.
        """
        if space not in SPACES or domain.sense is None:
            raise ValueError(f"observations {space!r}; expected one of {', '.join(SPACES)}, of a domain with a sense")
        weight, n = domain.fold.weight.clone(), len(domain.tree)
        # CA atoms that stay come behind the local ones
        ca = domain.sense.local[:, 1]
        ca = ca[ca < len(domain.fold.kin.atoms)].to(weight.device)
        pairs = torch.combinations(ca).mT if space != TORSIONS else ca.new_zeros(2, 0)
        if space != EVERYTHING:
            weight[n:] = 0.0
        seen = weight.new_full((pairs.shape[1],), 1 / (max(pairs.shape[1], 1) * POSITION_SIGMA**2))
        own = {f.name: getattr(domain, f.name) for f in fields(domain)}
        return cls(**own, pairs=pairs, wide=torch.cat([weight, seen]))

    def decode(self, z: Tensor, state: PeptideState) -> Prediction:
        """What the domain decodes, and the distances."""
        return self._seen(super().decode(z, state))

    def expand(self, z: Tensor, state: PeptideState) -> Expansion:
        """Derivatives of the domain's decoder, carried on to the distances by the chain rule."""
        base = super().expand(z, state)
        own = base.prediction.mean.shape[-1]
        apart = self._apart(base.prediction.mean)
        gap = self._length(apart)
        unit = apart / gap[..., None]

        def along(moved: Tensor) -> Tensor:
            """Change (..., q) of the distances with the observations (..., k)."""
            return (unit * self._apart(moved)).sum(-1)

        def push(v: Tensor) -> Tensor:
            moved = base.push(v)
            return torch.cat([moved, along(moved)], -1)

        def back(c: Tensor) -> Tensor:
            """Cotangent (..., k) of the observations of one (..., q) of the distances."""
            pulls = c[..., None] * unit
            atoms = c.new_zeros(*c.shape[:-1], (own - len(self.tree)) // 3, 3)
            atoms.index_add_(-2, self.pairs[0], pulls).index_add_(-2, self.pairs[1], -pulls)
            return torch.cat([c.new_zeros(*c.shape[:-1], len(self.tree)), atoms.flatten(-2)], -1)

        def pull(c: Tensor) -> Tensor:
            return base.pull(c[..., :own] + back(c[..., own:]))

        def bend(v: Tensor) -> Tensor:
            moved, bent = base.push(v[None])[0], base.bend(v)
            across = self._apart(moved).square().sum(-1) - along(moved).square()
            return torch.cat([bent, along(bent) + across / gap], -1)

        def gram(weight: Tensor) -> Tensor:
            whole = base.gram(weight[..., :own])
            count = self.pairs.shape[1]
            if not count:
                return whole
            basis = torch.eye(count, dtype=whole.dtype, device=whole.device)[:, None].expand(-1, len(whole), -1)
            rows = base.pull(back(basis))
            return whole + torch.einsum("qbi,bq,qbj->bij", rows, weight[..., own:], rows)

        return Expansion(self._seen(base.prediction), push, pull, bend, gram)

    def loss(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> Loss:
        """The domain's: distances are only observed."""
        return super().loss(self._own(prediction), state, goal)

    def loss_and_gradient(self, prediction: Prediction, state: PeptideState, goal: PeptideGoal) -> LossWithGradient:
        """The domain's, its gradient zero along the distances."""
        own = super().loss_and_gradient(self._own(prediction), state, goal)
        count = self.pairs.shape[1]

        def stiff_directions() -> Tensor | None:
            rows = None if own.stiff_directions is None else own.stiff_directions()
            return None if rows is None else torch.nn.functional.pad(rows, (0, count))

        return LossWithGradient(own.loss, lambda: torch.nn.functional.pad(own.gradient(), (0, count)), stiff_directions)

    def commit(self, prediction: Prediction, state: PeptideState) -> PeptideState:
        """The domain's."""
        return super().commit(self._own(prediction), state)

    def _seen(self, prediction: Prediction) -> Prediction:
        gap = self._length(self._apart(prediction.mean))
        return replace(prediction, mean=torch.cat([prediction.mean, gap], -1), precision=self.wide)

    def _own(self, prediction: Prediction) -> Prediction:
        own = len(self.wide) - self.pairs.shape[1]
        return replace(prediction, mean=prediction.mean[..., :own], precision=prediction.precision[..., :own])

    def _apart(self, mean: Tensor) -> Tensor:
        """From the second to the first atom of each pair (..., q, 3) in observations (..., k), or their change."""
        place = mean[..., len(self.tree) :].unflatten(-1, (-1, 3))
        return place[..., self.pairs[0], :] - place[..., self.pairs[1], :]

    @staticmethod
    def _length(apart: Tensor) -> Tensor:
        return (apart.square().sum(-1) + TINY).sqrt()


Seen = Callable[[PeptideDomain], PeptideDomain]


def through(space: str) -> Seen:
    """A function that makes a domain observe a space."""
    return lambda domain: ObservedPeptide.through(domain, space)
