"""OpenMM systems of the surroundings of a loop: fixed particles have mass zero and interact with free ones only.

Terms between fixed particles are constant, so only the interactions beyond `CUTOFF` are neglected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.energy.subsystem import SystemTerms, subsystem

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
CUTOFF = 1.2
"""Distance (nm) from the free atoms within which residues are part of the cut-down system."""


def find_nearby_particles(xyz: Floats, residue: NDArray[np.int64], free: Mask) -> NDArray[np.int64]:
    """Particles of whole residues (neutral charge groups) within `CUTOFF` of the free ones."""
    from scipy.spatial import cKDTree

    near = np.isfinite(cKDTree(xyz[free]).query(xyz, distance_upper_bound=CUTOFF)[0])
    return np.flatnonzero(np.isin(residue, np.unique(residue[near])))


def cut_out_system(system: Any, particles: NDArray[np.int64], free: Mask) -> Any:
    """System of the given particles: terms that act on free ones; masses of fixed ones are zero.

    Raises
    ------
    ForceFieldError
        For a class of force that `subsystem` does not copy.
    """
    masses = [system.getParticleMass(int(p)) if free[p] else 0.0 for p in particles]
    return subsystem(SystemTerms(system), particles, free, masses)
