"""An OpenMM System of a part of the particles: the terms of a force field that moving particles feel.

Terms between fixed particles are constant and left out. Every class of force has to be listed here, so that no term of
a force field is lost without notice.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

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


class Terms(NamedTuple):
    """Terms of one force.

    Attributes
    ----------
    add : str
        Name of the method of the force that adds a term.
    members : (t, size) int
        Particles of each term.
    first : bool
        Whether the method takes the members first; else after the first parameter.
    parameters : list of list, (t,)
    """

    add: str
    members: Particles
    parameters: list[list[Any]]
    first: bool = True

    def copy(self, force: Any, index: Particles, chosen: Mask) -> None:
        """Add the chosen terms (t,) to a force, with particles renumbered by `index` (p,)."""
        add = getattr(force, self.add)
        members = index[self.members[chosen]].tolist()
        for row, k in zip(members, np.flatnonzero(chosen).tolist(), strict=True):
            parameters = self.parameters[k]
            if self.first:
                add(*row, *parameters)
            else:
                add(parameters[0], *row, *parameters[1:])


class ForceTerms(NamedTuple):
    """A force whose terms can be copied.

    Attributes
    ----------
    force : openmm.Force
    particles : list of list, (p,)
        Parameters of each particle; empty for a bonded force.
    terms : Terms
        With a moving particle, if the force is bonded; else exceptions between any particles.
    """

    force: Any
    particles: list[list[Any]]
    terms: Terms | None


class SystemTerms:
    """Terms of a System without cutoff and constraints, read once, so that parts of it are made quickly.

    Parameters
    ----------
    system : openmm.System

    Raises
    ------
    ForceFieldError
        For a class of force that cannot be copied.
    """

    def __init__(self, system: Any) -> None:
        self.count = system.getNumParticles()
        self.forces: list[ForceTerms] = []
        for force in system.getForces():
            name = type(force).__name__
            if name in FORCELESS:
                continue
            if name in TERMS:
                self.forces.append(ForceTerms(force, [], _bonded(force, *TERMS[name])))
            elif name in READERS:
                self.forces.append(READERS[name](force))
            else:
                raise _not_copied(f"a {name}")


def subsystem(
    terms: SystemTerms, particles: Particles, moving: Mask, masses: Sequence[float], omitted: Collection[str] = ()
) -> Any:
    """Copy the part of a System that acts on moving particles.

    Parameters
    ----------
    terms : SystemTerms
        Terms of a System of p particles.
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
    """
    import openmm

    index = np.full(terms.count, -1)
    index[particles] = np.arange(len(particles))
    part = openmm.System()
    for mass in masses:
        part.addParticle(mass)
    for force, of_particles, bonded in terms.forces:
        name = type(force).__name__
        if name in omitted:
            continue
        new = type(force)()
        SETTINGS.get(name, lambda old, new: None)(force, new)
        for p in particles.tolist() if of_particles else []:
            new.addParticle(*of_particles[p])
        if bonded is not None:
            acts: Mask = np.all(index[bonded.members] >= 0, axis=1)
            if not of_particles:
                acts &= np.any(moving[bonded.members], axis=1)
            bonded.copy(new, index, acts)
        part.addForce(new)
    return part


def _not_copied(what: str) -> ForceFieldError:
    return ForceFieldError(
        f"a force field with {what}, which cannot be restricted to the surroundings of the moving atoms",
        f"only forces of the classes {', '.join(sorted([*TERMS, *READERS]))}",
        "choose another force field, or run with --no-energy",
    )


def plain_parameters(parameters: Sequence[Any]) -> list[Any]:
    """Parameters as plain numbers, which OpenMM takes in the units that it gives them in, ten times as fast."""
    return [getattr(value, "_value", value) for value in parameters]


def _bonded(force: Any, term: str, size: int) -> Terms:
    """Bonds, angles or torsions."""
    count = getattr(force, f"getNum{term}s")()
    read = getattr(force, f"get{term}Parameters")
    rows = [plain_parameters(read(i)) for i in range(count)]
    members = np.array([row[:size] for row in rows], dtype=np.int64).reshape(-1, size)
    return Terms(f"add{term}", members, [row[size:] for row in rows])


def _maps(force: Any) -> ForceTerms:
    """Correction maps of phi and psi (CMAP)."""
    rows = [plain_parameters(force.getTorsionParameters(i)) for i in range(force.getNumTorsions())]
    members = np.array([row[1:] for row in rows], dtype=np.int64).reshape(-1, 8)
    return ForceTerms(force, [], Terms("addTorsion", members, [row[:1] for row in rows], first=False))


def _nonbonded(force: Any) -> ForceTerms:
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise _not_copied("parameter offsets in its NonbondedForce")
    particles = _particles(force)
    rows = [plain_parameters(force.getExceptionParameters(i)) for i in range(force.getNumExceptions())]
    members = np.array([row[:2] for row in rows], dtype=np.int64).reshape(-1, 2)
    return ForceTerms(force, particles, Terms("addException", members, [row[2:] for row in rows]))


def _born(force: Any) -> ForceTerms:
    return ForceTerms(force, _particles(force), None)


def _particles(force: Any) -> list[list[Any]]:
    """Parameters of all particles."""
    return [plain_parameters(force.getParticleParameters(p)) for p in range(force.getNumParticles())]


def _copy_maps(old: Any, new: Any) -> None:
    for k in range(old.getNumMaps()):
        new.addMap(*old.getMapParameters(k))


def _copy_dielectrics(old: Any, new: Any) -> None:
    new.setSolventDielectric(old.getSolventDielectric())
    new.setSoluteDielectric(old.getSoluteDielectric())
    new.setSurfaceAreaEnergy(old.getSurfaceAreaEnergy())


READERS: dict[str, Callable[[Any], ForceTerms]] = {
    "CMAPTorsionForce": _maps,
    "NonbondedForce": _nonbonded,
    "GBSAOBCForce": _born,
}
"""Functions that read the terms of the other classes of force."""
SETTINGS: dict[str, Callable[[Any, Any], None]] = {
    "CMAPTorsionForce": _copy_maps,
    "GBSAOBCForce": _copy_dielectrics,
}
"""Functions that copy what belongs to a force as a whole."""
