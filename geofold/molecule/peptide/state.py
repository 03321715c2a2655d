"""Goal and state of a peptide stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from geofold.molecule.energy.sterics import PairList
from geofold.molecule.kinematics.decoder_state import DecoderState
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.torsion_targets import TorsionTarget


@dataclass(frozen=True)
class PeptideGoal:
    """Contacts to keep, and weights of the terms of the loss.

    Parameters
    ----------
    contacts : tuple of Contact
    contact, sterics, ramachandran : float
        Weights of the terms.
    energy : float
        Weight of the force field's energy, per kJ/mol; needs a domain with a `force_field`.
    torsions : tuple of TorsionTarget
        Torsions that are to turn to a value.
    """

    contacts: tuple[Contact, ...]
    contact: float = 1.0
    sterics: float = 1.0
    ramachandran: float = 1.0
    energy: float = 0.0
    torsions: tuple[TorsionTarget, ...] = ()


class PeptideState(NamedTuple):
    """Conformation and neighbour list."""

    conformation: DecoderState
    pairs: PairList
