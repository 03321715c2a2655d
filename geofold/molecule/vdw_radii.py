"""Van der Waals radii of heavy atoms and the overlap that counts as a clash, in nm.

The radii are Bondi's (J. Phys. Chem. 68:441, 1964), selenium included; those of rarer elements are Alvarez' (Dalton
Trans. 42:8617, 2013). Two polar atoms (N, O, S) may approach further by `POLAR_ALLOWANCE`, since the heavy atoms of a
hydrogen bond are 0.26-0.30 nm apart. `SEVERE_OVERLAP` is the 0.4 A of MolProbity's clash (Word et al., J. Mol. Biol.
285:1711, 1999), here between heavy atoms.
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
"""Radius (nm) of other elements: small, since ions have coordination spheres and no van der Waals contacts."""

POLAR = frozenset({"N", "O", "S"})
POLAR_ALLOWANCE = 0.040
SEVERE_OVERLAP = 0.040
MAX_CONTACT = 0.42
"""Upper bound (nm) of the sum of two radii; pairs further apart never overlap."""
EXCLUDED_BONDS = 3
"""Number of bonds up to which pairs (1-2, 1-3, 1-4) are excluded."""


def radius_of(element: str) -> float:
    """Return the radius of an element in nm; zero for hydrogen, which only the all-atom force field includes."""
    symbol = element.upper()
    return 0.0 if symbol in ("H", "D") else BONDI_RADIUS.get(symbol, METAL_RADIUS)


def contact_distance(
    radius: NDArray[np.float64], polar: NDArray[np.bool_], i: NDArray[np.int64], j: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Compute the distances (p,) in nm below which pairs of atoms overlap.

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
