"""What domains whose decoder is a `Fold` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from geofold.core.domain import Expansion, Prediction
from geofold.core.tangent import Euclid
from geofold.molecule.kinematics.decoder import Fold
from geofold.molecule.kinematics.decoder_state import FoldState
from geofold.molecule.topology.torsion_tree import TorsionTree


class Folded(Protocol):
    """A state with the decoder's state in it."""

    @property
    def fold(self) -> FoldState:
        """State of the decoder."""


State = TypeVar("State", bound=Folded)


@dataclass(frozen=True)
class TorsionDomain(Generic[State]):
    """A segment of a structure whose latents are increments of its torsions.

    Attributes
    ----------
    fold : Fold
        Decoder from latents to torsion increments and coordinates.
    """

    fold: Fold

    @property
    def rests(self) -> bool:
        """Whether a zero increment changes neither the coordinates nor the loss: always."""
        return True

    @property
    def tree(self) -> TorsionTree:
        """Torsion tree of the segment."""
        return self.fold.tree

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent."""
        return self.fold.latent_dim

    @property
    def space(self) -> Euclid:
        """Euclidean space: the latent is a vector of increments; only the decoded torsions are periodic."""
        return Euclid()

    def decode(self, z: Tensor, state: State) -> Prediction:
        """See `Fold.decode`."""
        return self.fold.decode(z, state.fold)

    def expand(self, z: Tensor, state: State) -> Expansion:
        """See `Fold.expand`."""
        return self.fold.expand(z, state.fold)
