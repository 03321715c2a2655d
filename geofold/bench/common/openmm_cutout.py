"""OpenMM systems of the surroundings of a loop: fixed particles have mass zero and interact with free ones only.

Terms between fixed particles are constant, so only the interactions beyond `CUTOFF` are neglected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
CUTOFF = 1.2
"""Distance (nm) from the free atoms within which residues are part of the cut-down system."""
BONDED = {"HarmonicBondForce": ("Bond", 2), "HarmonicAngleForce": ("Angle", 3), "PeriodicTorsionForce": ("Torsion", 4)}
"""Bonded forces, with the name of their terms in OpenMM's API and the number of particles of a term."""


def find_nearby_particles(xyz: Floats, residue: NDArray[np.int64], free: Mask) -> NDArray[np.int64]:
    """Particles of whole residues (neutral charge groups) within `CUTOFF` of the free ones."""
    from scipy.spatial import cKDTree

    near = np.isfinite(cKDTree(xyz[free]).query(xyz, distance_upper_bound=CUTOFF)[0])
    return np.flatnonzero(np.isin(residue, np.unique(residue[near])))


def cut_out_system(system: Any, particles: NDArray[np.int64], free: Mask) -> Any:
    """System of the given particles: bonded terms of free ones, nonbonded and Born terms; fixed masses are zero."""
    import openmm

    index_of = {int(p): k for k, p in enumerate(particles)}
    cut_system = openmm.System()
    for p in particles:
        cut_system.addParticle(system.getParticleMass(int(p)) if free[p] else 0.0)
    for old in system.getForces():
        if isinstance(old, openmm.NonbondedForce | openmm.GBSAOBCForce):
            new = type(old)()
            for p in particles:
                new.addParticle(*old.getParticleParameters(int(p)))
            if isinstance(old, openmm.GBSAOBCForce):
                new.setSolventDielectric(old.getSolventDielectric())
                new.setSoluteDielectric(old.getSoluteDielectric())
            else:
                _copy(old, new, "Exception", 2, index_of, None)
        elif type(old).__name__ in BONDED:
            new = type(old)()
            _copy(old, new, *BONDED[type(old).__name__], index_of, free)
        else:
            continue
        cut_system.addForce(new)
    return cut_system


def _copy(old: Any, new: Any, term: str, size: int, index_of: dict[int, int], free: Mask | None) -> None:
    """Copy terms of `size` particles in the cut-down system, of which one is free (if `free` is given)."""
    for i in range(getattr(old, f"getNum{term}s")()):
        terms = getattr(old, f"get{term}Parameters")(i)
        particles = terms[:size]
        if all(p in index_of for p in particles) and (free is None or free[particles].any()):
            getattr(new, f"add{term}")(*[index_of[p] for p in particles], *terms[size:])
