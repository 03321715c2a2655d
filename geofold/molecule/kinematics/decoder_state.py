"""State of the torsion decoder."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from geofold.molecule.kinematics.loop_closure import Tangent


class DecoderState(NamedTuple):
    """Conformation of a segment of residues.

    Attributes
    ----------
    xyz : (B, m, 3)
        Coordinates of the local atoms (nm).
    angle : (B, n)
        Torsions relative to the input's (radian, not wrapped).
    space : Tangent
        Tangent space at `xyz`, at the mobility of the present step.
    mobility : (n,)
        Fraction of the latent that each torsion follows in this step, 0 to 1.
    """

    xyz: Tensor
    angle: Tensor
    space: Tangent
    mobility: Tensor
