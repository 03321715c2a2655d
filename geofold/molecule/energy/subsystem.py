"""An OpenMM System of a part of the particles: the terms of a force field that moving particles feel.

Terms between fixed particles are constant and left out. Every class of force has to be listed here, so that no term of
a force field is lost without notice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.errors import ForceFieldError

TERMS = {
    "HarmonicBondForce": ("Bond", 2),
    "HarmonicAngleForce": ("Angle", 3),
    "PeriodicTorsionForce": ("Torsion", 4),
}
"""Bonded forces, with the name of their terms in OpenMM's API and the number of particles of a term."""
COVALENT = frozenset({"HarmonicBondForce", "HarmonicAngleForce"})
"""Forces that are constant while only torsions change."""
FORCELESS = frozenset({"CMMotionRemover"})
"""Members of a System's list of forces that have no energy."""
Particles = NDArray[np.int64]
Mask = NDArray[np.bool_]


def subsystem(
    system: Any, particles: Particles, moving: Mask, masses: Sequence[float], omitted: Collection[str] = ()
) -> Any:
    """Copy the part of a System that acts on moving particles.

    Parameters
    ----------
    system : openmm.System
        System of p particles, without cutoff and constraints.
    particles : (q,) int
        Particles of the part, in its order.
    moving : (p,) bool
        Moving particles; a bonded term has at least one of them.
    masses : sequence of float, (q,)
        Masses in the part (dalton); zero for particles that an integrator or a minimiser must not move.
    omitted : collection of str
        Classes of force to leave out.

    Returns
    -------
    openmm.System

    Raises
    ------
    ForceFieldError
        For a class of force that cannot be copied.
    """
    import openmm

    index_of = {int(p): k for k, p in enumerate(particles)}
    part = openmm.System()
    for mass in masses:
        part.addParticle(mass)
    for force in system.getForces():
        name = type(force).__name__
        if name in FORCELESS or name in omitted:
            continue
        if name in TERMS:
            copy = _bonded(force, *TERMS[name], index_of, moving)
        elif name in COPIES:
            copy = COPIES[name](force, particles, index_of, moving)
        else:
            raise _not_copied(f"a {name}")
        part.addForce(copy)
    return part


def _not_copied(what: str) -> ForceFieldError:
    return ForceFieldError(
        f"a force field with {what}, which cannot be restricted to the surroundings of the moving atoms",
        f"only forces of the classes {', '.join(sorted([*TERMS, *COPIES]))}",
        "choose another force field, or run with --no-energy",
    )


def _bonded(old: Any, term: str, size: int, index_of: dict[int, int], moving: Mask) -> Any:
    new = type(old)()
    for i in range(getattr(old, f"getNum{term}s")()):
        members = getattr(old, f"get{term}Parameters")(i)
        ends = members[:size]
        if _acts(ends, index_of, moving):
            getattr(new, f"add{term}")(*[index_of[p] for p in ends], *members[size:])
    return new


def _acts(members: Sequence[int], index_of: dict[int, int], moving: Mask) -> bool:
    """Whether a term lies within the part and has a moving particle."""
    return any(moving[p] for p in members) and all(p in index_of for p in members)


def _maps(old: Any, particles: Particles, index_of: dict[int, int], moving: Mask) -> Any:
    """Correction maps of phi and psi (CMAP)."""
    new = type(old)()
    for k in range(old.getNumMaps()):
        new.addMap(*old.getMapParameters(k))
    for i in range(old.getNumTorsions()):
        number, *members = old.getTorsionParameters(i)
        if _acts(members, index_of, moving):
            new.addTorsion(number, *[index_of[p] for p in members])
    return new


def _nonbonded(old: Any, particles: Particles, index_of: dict[int, int], moving: Mask) -> Any:
    if old.getNumParticleParameterOffsets() or old.getNumExceptionParameterOffsets():
        raise _not_copied("parameter offsets in its NonbondedForce")
    new = type(old)()
    for p in particles:
        new.addParticle(*old.getParticleParameters(int(p)))
    for i in range(old.getNumExceptions()):
        one, two, *rest = old.getExceptionParameters(i)
        if one in index_of and two in index_of:
            new.addException(index_of[one], index_of[two], *rest)
    return new


def _born(old: Any, particles: Particles, index_of: dict[int, int], moving: Mask) -> Any:
    new = type(old)()
    for p in particles:
        new.addParticle(*old.getParticleParameters(int(p)))
    new.setSolventDielectric(old.getSolventDielectric())
    new.setSoluteDielectric(old.getSoluteDielectric())
    new.setSurfaceAreaEnergy(old.getSurfaceAreaEnergy())
    return new


COPIES = {"CMAPTorsionForce": _maps, "NonbondedForce": _nonbonded, "GBSAOBCForce": _born}
"""Functions that copy the other classes of force."""
