"""OpenMM's own way of doing geofold's two jobs: its LocalEnergyMinimizer (L-BFGS) on Cartesian coordinates.

Force field as geofold's judge, amber14 + OBC2 of `EnergyModel`, hydrogens included, one thread. The clock starts at
the ready context and stops at the minimised coordinates: completion, parameters and context creation do not count.

**Peptides.** Each contact is a flat-bottom restraint, quadratic near its target, linear beyond `BEND`. Measured on 24
random sequences of 8-12 residues from the extended chain, one contact 6.0 A with |i-j| >= 3, aimed at from 0.04 nm
inside. Restraint (k in kJ/mol/nm^2) and tolerance (kJ/mol/nm); median CPU seconds on one thread; reached; cis peptide
bonds made, Ramachandran outliers, severe overlaps, in total; clean = reached with none of the three; what a schedule
left unreached got three times its k at tolerance 10:

    schedule                                          median  reached  cis  outliers  overlaps  clean
    one quadratic, k 1e4, 10                           0.43     24     9      4         0       16
    one quadratic, k 1e4, 30                           0.20     24     9      8         1       10
    quadratic, k 1e3 at 30, then k 1e4 at 10           0.42     24     1      7         0       17
    the same, first stage without solvent              0.31     24     2      7         0       19
    one capped (k 1e4, `BEND` 0.1), 10                 0.43     24     0      4         0       20
    one capped (k 1e4, `BEND` 0.1), 30: the default    0.24     24     0      9         0       17
    one capped (k 1e4, `BEND` 0.1), 50                 0.21     24     0     10         0       16
    one capped (k 1e4, `BEND` 0.2), 30                 0.22     24     4      8         0       17
    one capped (k 3e3, `BEND` 0.3), 30                 0.33     23     0      7         0       18
    capped without solvent at 30, then with, at 30     0.14     24     2     13         1       12

Before that, on 16 others, aimed at from 0.02 nm inside, tolerance 10, wall time on a busy machine: one quadratic of k
1e3 reached 7 in 0.5 s, k <= 300 none, k 1e4 16 in 0.5 s with 10 cis bonds, k 1e5 14 with 6 and atoms pushed through
each other; stages of k 1e3, 3e3, 1e4 reached 16 without cis bonds in 1.4 s; a moving target (5, 10 or 20 stages at k
1e4) 16 with 0-5 cis bonds in 1.1-1.8 s. So `PULL`: one capped stage, and two firmer ones for the few it leaves. On 48
fresh sequences it reached 48 (42 in one stage), median 0.21 CPU seconds, 3 cis bonds, 13 outliers, 0 overlaps, 35
clean; with a `tolerance` of 10, OpenMM's default: 48, 0.40 s, 3, 4, 1, 41 clean.

**Loops.** Fixed particles have mass zero, and only a cut-out of whole residues within `REACH` of the loop enters:
terms between fixed particles are constant, so only what is further away is left out. `LOOP`: first without solvent,
at a ninth of the cost per step, then with it. On bent loops of 1ubi, 1pwc and 1ajj (starts of 3e4, 1.4e11 and 1.5e4
kJ/mol; each stage bounded by 500) this took 2.2, 5.0 and 0.5 CPU seconds against 5.2, 11.1 and 1.0 with solvent
throughout, and ended 53 and 8 kJ/mol lower and 5 higher; no solvent at all took 0.6, 1.4 and 0.1 and ended 48-82
kJ/mol higher. Letting added hydrogens of the surroundings move too took up to 2.5 times as long, without a clear gain
in overlaps, outliers or RMSD.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofold.errors import ContactError
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
RESTRAINT = "step(x)*2*k*bend^2*(sqrt(1 + (x/bend)^2) - 1); x = side*(r - aim)"
"""k x^2 near the target, with a force of at most 2 k bend: far contacts are not torn at."""
STRENGTH = "k"
BEND, INSIDE = 0.1, 0.04
"""nm; the second is how far within the bound is aimed at, for the restraint gives way to the chain a little."""
MARGIN = 0.0005
"""nm within the bound that counts as kept, so that rounding in a PDB file does not break a contact."""
REACH = 1.2
"""nm around the free atoms of a loop."""
DRY, WET = 0, 1
"""Force groups: everything but the Born solvent, and the solvent."""
BONDED = {"HarmonicBondForce": ("Bond", 2), "HarmonicAngleForce": ("Angle", 3), "PeriodicTorsionForce": ("Torsion", 4)}


class Outcome(NamedTuple):
    """What a minimisation came to.

    Attributes
    ----------
    xyz : (n_atoms, 3) float
        All atoms of the structure, nm; those that took no part as they were.
    seconds : float
        Wall time from the ready context on.
    reached : bool
        Peptide: all contacts within their bounds. Loop: finite, and lower in energy than the start.
    stages : int
        Minimisations run.
    """

    xyz: Floats
    seconds: float
    reached: bool
    stages: int


class Stage(NamedTuple):
    """One call of the minimiser: restraint's k, tolerance (kJ/mol/nm), most iterations (0: unbounded), solvent."""

    strength: float
    tolerance: float
    iterations: int = 0
    solvent: bool = True


TOLERANCE = 30.0
PULL = (Stage(1e4, TOLERANCE), Stage(3e4, 10.0), Stage(1e5, 10.0))
LOOP = (Stage(0.0, 10.0, 1000, solvent=False), Stage(0.0, 10.0, 500))


def peptide_to_contact(
    structure: Structure, contacts: tuple[Contact, ...], *, seed: int = 0, tolerance: float = TOLERANCE
) -> Outcome:
    """Minimise a structure, all of it free, under restraints until its contacts are kept.

    Parameters
    ----------
    contacts
        To be kept all at once.
    seed : int
        Of the completion (hydrogens, missing atoms); the minimiser itself draws nothing.
    tolerance : float
        Root mean square force in kJ/mol/nm at which the first stage ends.

    Returns
    -------
    Outcome
        The first stage's coordinates that keep every bound, or the last stage's. A start whose forces are not
        finite comes back as it was, not reached.

    Raises
    ------
    ContactError
        If a contact names an atom that is not in the force field's model (water, ion, another conformer).
    ForceFieldError
        If the structure cannot be completed or parameterised.
    """
    model = EnergyModel.of(structure, structure.steering(), seed=seed)
    source = model.completed.source
    particle = {int(atom): p for p, atom in enumerate(source) if atom >= 0}
    missing = next((c for c in contacts if c.i not in particle or c.j not in particle), None)
    if missing is not None:
        given = f"contact {missing.text!r} names an atom outside the force field"
        raise ContactError(given, "atoms of amino acids, first conformer", "name an atom of the protein")
    pairs = np.array([(particle[c.i], particle[c.j]) for c in contacts], dtype=np.int64).reshape(-1, 2)
    model.system.addForce(_restraint(pairs, contacts))

    def kept(places: Floats) -> bool:
        distance = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
        margin = [MARGIN if c.upper else -MARGIN for c in contacts]
        return all(c.satisfied(float(d)) for c, d in zip(contacts, distance + margin, strict=True))

    stages = (PULL[0]._replace(tolerance=tolerance), *PULL[1:])
    run = minimise(model.system, model.completed.xyz, stages, kept)
    return run._replace(xyz=returned(structure, source, run.xyz, source >= 0))


def loop_in_place(structure: Structure, first: int, last: int, *, altloc: str | None = None, seed: int = 0) -> Outcome:
    """Minimise residues `first` to `last` (inclusive indices), hydrogens and side chains too, all else fixed.

    Parameters
    ----------
    altloc, seed
        Conformer (see `Structure.steering`), and seed of the completion.

    Returns
    -------
    Outcome
        Fixed atoms to the bit as they were. A start whose energy or forces are not finite comes back unchanged, not
        reached.

    Raises
    ------
    AltlocError, ForceFieldError
        As `Structure.steering` and `EnergyModel.of` do.
    """
    model = EnergyModel.of(structure, structure.steering(altloc), seed=seed)
    completed = model.completed
    free = (completed.residue >= first) & (completed.residue <= last)
    kept = around(completed.xyz, completed.residue, free)
    run = minimise(cut_out(model.system, kept, free), completed.xyz[kept], LOOP, None)
    places = completed.xyz.copy()
    places[kept] = run.xyz
    return run._replace(xyz=returned(structure, completed.source, places, free & (completed.source >= 0)))


def minimise(system: Any, start: Floats, stages: tuple[Stage, ...], done: Callable[[Floats], bool] | None) -> Outcome:
    """Run the stages; stop at the first whose coordinates are `done`, or judge the last by energy if that is None."""
    import openmm

    for force in system.getForces():
        force.setForceGroup(WET if isinstance(force, openmm.GBSAOBCForce) else DRY)
    integrator = openmm.VerletIntegrator(0.001)
    context = openmm.Context(system, integrator, platform())
    context.setPositions(start)
    before = energy_of(context)
    if not np.isfinite(before):
        return Outcome(start, 0.0, False, 0)
    places, reached, count = start, False, 0
    began = time.perf_counter()
    for stage in stages:
        integrator.setIntegrationForceGroups({DRY, WET} if stage.solvent else {DRY})
        if STRENGTH in context.getParameters():
            context.setParameter(STRENGTH, stage.strength)
        try:
            openmm.LocalEnergyMinimizer.minimize(context, stage.tolerance, stage.iterations)
        except openmm.OpenMMException:
            # OpenMM's word for coordinates that are no longer numbers
            return Outcome(start, time.perf_counter() - began, False, count)
        count += 1
        places = places_of(context)
        if not np.isfinite(places).all():
            return Outcome(start, time.perf_counter() - began, False, count)
        if done is not None and stage.solvent and done(places):
            reached = True
            break
    seconds = time.perf_counter() - began
    if done is None:
        reached = energy_of(context) < before
    return Outcome(places if reached or done else start, seconds, reached, count)


def places_of(context: Any) -> Floats:
    """Coordinates (p, 3) in nm."""
    import openmm.unit

    positions = context.getState(getPositions=True).getPositions(asNumpy=True)
    return np.asarray(positions.value_in_unit(openmm.unit.nanometer), dtype=np.float64)


def energy_of(context: Any) -> float:
    """Energy in kJ/mol, NaN where a force is not finite."""
    import openmm.unit

    state = context.getState(getEnergy=True, getForces=True)
    forces = state.getForces(asNumpy=True).value_in_unit(openmm.unit.kilojoule_per_mole / openmm.unit.nanometer)
    energy = state.getPotentialEnergy().value_in_unit(openmm.unit.kilojoule_per_mole)
    return float(energy) if np.isfinite(forces).all() else float("nan")


def _restraint(pairs: NDArray[np.int64], contacts: tuple[Contact, ...]) -> Any:
    import openmm

    force = openmm.CustomBondForce(RESTRAINT)
    force.addGlobalParameter(STRENGTH, 0.0)
    force.addGlobalParameter("bend", BEND)
    force.addPerBondParameter("side")
    force.addPerBondParameter("aim")
    for (i, j), contact in zip(pairs.tolist(), contacts, strict=True):
        side = 1.0 if contact.upper else -1.0
        force.addBond(i, j, [side, contact.bound - side * INSIDE])
    return force


def around(xyz: Floats, residue: NDArray[np.int64], free: Mask) -> NDArray[np.int64]:
    """Particles of all residues within reach of the free ones; whole residues, so that groups stay neutral."""
    from scipy.spatial import cKDTree

    near = np.isfinite(cKDTree(xyz[free]).query(xyz, distance_upper_bound=REACH)[0])
    return np.flatnonzero(np.isin(residue, np.unique(residue[near])))


def cut_out(system: Any, kept: NDArray[np.int64], free: Mask) -> Any:
    """System of the kept particles, the others' masses zero: bonded terms that touch a free one, nonbonded and Born."""
    import openmm

    place = {int(p): k for k, p in enumerate(kept)}
    small = openmm.System()
    for p in kept:
        small.addParticle(system.getParticleMass(int(p)) if free[p] else 0.0)
    for old in system.getForces():
        if isinstance(old, openmm.NonbondedForce | openmm.GBSAOBCForce):
            new = type(old)()
            for p in kept:
                new.addParticle(*old.getParticleParameters(int(p)))
            if isinstance(old, openmm.GBSAOBCForce):
                new.setSolventDielectric(old.getSolventDielectric())
                new.setSoluteDielectric(old.getSoluteDielectric())
            else:
                _copy(old, new, "Exception", 2, place, None)
        elif type(old).__name__ in BONDED:
            new = type(old)()
            _copy(old, new, *BONDED[type(old).__name__], place, free)
        else:
            continue
        small.addForce(new)
    return small


def _copy(old: Any, new: Any, noun: str, size: int, place: dict[int, int], free: Mask | None) -> None:
    """Terms over `size` particles that are all kept and, given `free`, of which one at least is free."""
    for i in range(getattr(old, f"getNum{noun}s")()):
        terms = getattr(old, f"get{noun}Parameters")(i)
        particles = terms[:size]
        if all(p in place for p in particles) and (free is None or free[particles].any()):
            getattr(new, f"add{noun}")(*[place[p] for p in particles], *terms[size:])


def returned(structure: Structure, source: NDArray[np.int64], places: Floats, back: Mask) -> Floats:
    """Coordinates of the structure with the particles `back` in their new places."""
    xyz: Floats = structure.xyz.copy()
    xyz[source[back]] = places[back]
    return xyz
