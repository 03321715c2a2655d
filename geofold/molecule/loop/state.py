"""Goal and state of a loop stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from geofold.molecule.energy.sterics import PairList
from geofold.molecule.kinematics.decoder_state import DecoderState


@dataclass(frozen=True)
class LoopGoal:
    """Weights and options of the loop loss.

    Parameters
    ----------
    sterics : float or tuple of float
        Weight of the clashes, one for all rows of the batch or one per row.
    ramachandran : float
        Weight of the Ramachandran penalty.
    side_chains : bool
        Whether the chi torsions of the loop are rotatable too.
    width : float
        Standard deviation (residues) of the Gaussian mobility around the cursor.
    floor : float
        Mobility of the rest of the loop, 0 to 1.
    energy : float
        Weight of the force field's energy, per kJ/mol; needs a domain with a `force_field`.
    potential : float
        Weight of the learned loop potential; needs a domain with `potential`.
    density : float
        Weight of a density map, per residue in full density; needs a domain with `density`.
    """

    sterics: float | tuple[float, ...] = 1.0
    ramachandran: float = 1.0
    side_chains: bool = False
    width: float = 3.0
    floor: float = 0.3
    energy: float = 0.0
    potential: float = 0.0
    density: float = 0.0


class LoopState(NamedTuple):
    """Decoder state, neighbour list, and cursor (index of a residue in the loop)."""

    conformation: DecoderState
    pairs: PairList
    cursor: int
