"""Base class of domains whose decoder is a `TorsionDecoder`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from geofold.core.domain import Expansion, Prediction
from geofold.core.tangent import Euclid
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.topology.torsion_tree import TorsionTree


class HasConformation(Protocol):
    """State of a domain that contains the state of the decoder."""

    @property
    def conformation(self) -> DecoderState:
        """State of the decoder."""


State = TypeVar("State", bound=HasConformation)


@dataclass(frozen=True)
class TorsionDomain(Generic[State]):
    """A segment of a structure whose latents are increments of its torsions.

    Attributes
    ----------
    decoder : TorsionDecoder
        Decoder from latents to torsion increments and coordinates.
    """

    decoder: TorsionDecoder

    @property
    def rests(self) -> bool:
        """Whether a zero increment changes neither the coordinates nor the loss: always."""
        return True

    @property
    def tree(self) -> TorsionTree:
        """Torsion tree of the segment."""
        return self.decoder.tree

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent."""
        return self.decoder.latent_dim

    @property
    def space(self) -> Euclid:
        """Euclidean space: the latent is a vector of increments; only the decoded torsions are periodic."""
        return Euclid()

    def decode(self, z: Tensor, state: State) -> Prediction:
        """See `TorsionDecoder.decode`."""
        return self.decoder.decode(z, state.conformation)

    def expand(self, z: Tensor, state: State) -> Expansion:
        """See `TorsionDecoder.expand`."""
        return self.decoder.expand(z, state.conformation)
