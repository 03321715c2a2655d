"""Van der Waals radii of heavy atoms and the overlap that counts as a clash, in nm.

The radii are Bondi's (J. Phys. Chem. 68:441, 1964), selenium included; metals and rarer elements take
Alvarez' (Dalton Trans. 42:8617, 2013). A polar pair (N, O or S against N, O or S) may approach further by
``POLAR_ALLOWANCE``, since a hydrogen bond brings its heavy atoms to 0.26-0.30 nm. ``SEVERE_OVERLAP`` is
the 0.4 A of MolProbity's clash (Word et al., J. Mol. Biol. 285:1711, 1999), here between heavy atoms.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BONDI_RADIUS = {
    "C": 0.170,
    "N": 0.155,
    "O": 0.152,
    "S": 0.180,
    "SE": 0.190,
    "P": 0.180,
    "F": 0.147,
    "CL": 0.175,
    "BR": 0.185,
    "I": 0.198,
    "B": 0.192,
    "SI": 0.210,
}
METAL_RADIUS = 0.120
"""One small radius for everything else: ions sit in coordination spheres, not in van der Waals contact."""

POLAR = frozenset({"N", "O", "S"})
POLAR_ALLOWANCE = 0.040
SEVERE_OVERLAP = 0.040
MAX_CONTACT = 0.42
"""No two radii add up to more, so pairs further apart never overlap."""
EXCLUDED_BONDS = 3
"""Pairs up to this many bonds apart (1-2, 1-3, 1-4) are not compared."""


def radius_of(element: str) -> float:
    """Radius of an element in nm; zero for hydrogen, which is left to the all-atom force field."""
    symbol = element.upper()
    return 0.0 if symbol in ("H", "D") else BONDI_RADIUS.get(symbol, METAL_RADIUS)


def contact_distance(
    radius: NDArray[np.float64], polar: NDArray[np.bool_], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Distances (p,) in nm below which pairs of atoms overlap.

    Parameters
    ----------
    radius : (n,)
        Radii of all atoms (nm).
    polar : (n,) bool
        Atoms that can form a hydrogen bond.
    i, j : (p,) int
        Atoms of each pair.
    """
    return np.asarray(radius[i] + radius[j] - POLAR_ALLOWANCE * (polar[i] & polar[j]))
