"""OpenMM's patient way of bringing a peptide's residues together: restrained simulated annealing, then minimisation.

Force field, restraint and clock as in `openmm_min`: amber14 + OBC2, hydrogens included, one thread, the contact pulled
at by a spring that turns linear when far; contexts are built before the clock starts. A round is Langevin dynamics (2
ps: hot while the spring is tightened, then cooled in stages) and a minimisation with the restraint. Omegas and chiral
centres are held where the input has them while it is hot, by a torsion term that the minimiser does not need any more.
Bonds to hydrogen are rigid and hydrogens weigh 4 Da, so that a step may be 4 fs long. A round that does not end clean
(contact kept, no severe overlap, no Ramachandran outlier, no cis bond made) is followed by a longer one from where it
ended, and the cleanest end counts.

Tuned on the tuning split; hot + cooling steps of a round, the minimiser's tolerance (kJ/mol/nm), episodes, median wall
seconds on a busy machine, rounds that were needed in total, clean in the end:

    at most three rounds of one length      100 + 180, 10                   16    1.06    19    16
                                            200 + 300, 10                   16    0.95    19    15
                                            200 + 300, 30                   16    0.97    18    16
                                            200 + 300, 10, friction 10      16    1.09    19    16
                                            400 + 600, 20                   16    1.43    18    16
    at most four, each longer than before   200 + 300, 10: the default      24    1.08    28    24
                                            200 + 300, 30                   24    0.73    30    23

Before that, on 12 of them and one round: 400 + 600 at 10, 2.0 s, 12 clean; 800 + 1200 at 10, 2.7 s, 12; 600 steps
without charges and solvent (a third of the cost) before 200 + 300 with them, 1.1 s, 8: what is hot without charges ends
in outliers. No setting made a cis bond or changed a chirality.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.app.report.measure import measure
from geofold.bench.common.openmm_min import BEND, INSIDE, MARGIN, RESTRAINT, STRENGTH, Outcome, places_of
from geofold.errors import ContactError
from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree

Floats = NDArray[np.float64]
GUARD, GUARDED = "guard", "guard*(1 - cos(theta - aim))"
HELD = 200.0
"""kJ/mol: between cis and trans, more than twice what amber14 has."""
HYDROGEN = 4.0
"""Da; what is added is taken from the heavy neighbour."""
STEP, FRICTION = 0.004, 2.0
"""ps, 1/ps."""
TIGHTENED = (1e3, 3e3, 1e4, 1e4)
"""Spring of the quarters of the hot part, kJ/mol/nm^2."""
FIRMER = (1e4, 3e4, 1e5)
"""Of the minimisations, until one keeps the contacts."""
UNTANGLING = (100.0, 50)
"""Tolerance and iterations of a first minimisation: added hydrogens may overlap."""
CENTRES = {"THR": ("CB", "CA", "OG1", "CG2"), "ILE": ("CB", "CA", "CG1", "CG2")}
"""Chiral ones beyond CA."""


class Schedule(NamedTuple):
    """Temperatures (K), steps of a round at the hot one and while cooling, cooling stages, rounds, final tolerance."""

    hot: float = 600.0
    cold: float = 300.0
    hot_steps: int = 200
    cooling_steps: int = 300
    stages: int = 10
    rounds: int = 4
    tolerance: float = 10.0


USUAL = Schedule()


def anneal_to_contact(
    structure: Structure, contacts: tuple[Contact, ...], *, seed: int = 0, schedule: Schedule = USUAL
) -> Outcome:
    """Anneal a peptide, all of it free, until its contacts are kept.

    Parameters
    ----------
    structure
        One chain.
    contacts
        To be kept all at once.
    seed : int
        Of the completion, the velocities and the thermostat.

    Returns
    -------
    Outcome
        The first clean end, or the one with the fewest faults; `stages` counts the rounds.

    Raises
    ------
    ContactError
        If a contact names an atom that is not in the force field's model.
    ForceFieldError
        If the structure cannot be completed or parameterised.
    """
    import openmm

    model = EnergyModel.of(structure, structure.steering(), seed=seed)
    source = model.completed.source
    particle = {int(atom): p for p, atom in enumerate(source) if atom >= 0}
    missing = next((c for c in contacts if c.i not in particle or c.j not in particle), None)
    if missing is not None:
        given = f"contact {missing.text!r} names an atom outside the force field"
        raise ContactError(given, "atoms of amino acids, first conformer", "name an atom of the protein")
    model.system.addForce(_spring(contacts, particle))
    held = [[particle[atom] for atom in atoms] for atoms in guarded(structure, structure.steering_mask)]
    model.system.addForce(guard(model.completed.xyz, held))
    still = openmm.Context(model.system, openmm.VerletIntegrator(0.001), platform())
    light = np.array([atom.element.symbol == "H" for atom in model.completed.topology.atoms()])
    warm = bath(model.system, light, seed)
    faults = _Faults(structure, contacts)
    best, fewest, count = structure.xyz, np.inf, 0
    began = time.perf_counter()
    still.setPositions(model.completed.xyz)
    openmm.LocalEnergyMinimizer.minimize(still, *UNTANGLING)
    places = places_of(still)
    while fewest > 0 and count < schedule.rounds:
        count += 1
        try:
            places = _anneal(warm, places, schedule, count, seed)
            still.setPositions(places)
            for strength in FIRMER:
                still.setParameter(STRENGTH, strength)
                openmm.LocalEnergyMinimizer.minimize(still, schedule.tolerance)
                places = places_of(still)
                xyz = structure.xyz.copy()
                xyz[source[source >= 0]] = places[source >= 0]
                if faults.kept(xyz):
                    break
        except openmm.OpenMMException:
            # OpenMM's word for coordinates that are no longer numbers
            places = model.completed.xyz
            continue
        if (found := faults.count(xyz)) < fewest:
            best, fewest = xyz, found
    return Outcome(best, time.perf_counter() - began, faults.kept(best), count)


class _Faults:
    """What is wrong with coordinates (n_atoms, 3) of a structure."""

    def __init__(self, structure: Structure, contacts: tuple[Contact, ...]) -> None:
        self._structure, self._contacts = structure, contacts
        self._tree = torsion_tree(structure, 0, len(structure.residues) - 1)
        self._cis = self._measured(structure.xyz)["cis_peptide_bonds"]

    def _measured(self, xyz: Floats) -> dict[str, Any]:
        return measure(self._structure, [self._tree], xyz, None)

    def kept(self, xyz: Floats) -> bool:
        """Whether all contacts are kept, a rounding of the file included."""
        apart = ((c, float(np.linalg.norm(xyz[c.i] - xyz[c.j]))) for c in self._contacts)
        return all(c.satisfied(gap + (MARGIN if c.upper else -MARGIN)) for c, gap in apart)

    def count(self, xyz: Floats) -> float:
        """Faults, a lost contact worse than all others; infinite for what are no numbers."""
        if not np.isfinite(xyz).all():
            return np.inf
        now = self._measured(xyz)
        made = max(now["cis_peptide_bonds"] - self._cis, 0)
        lost = 0 if self.kept(xyz) else 1000
        return float(lost + made + now["severe_overlaps"] + now["ramachandran"]["outliers"])


def _anneal(context: Any, places: Floats, schedule: Schedule, longer: int, seed: int) -> Floats:
    """Where particles (p, 3) go in one round of dynamics, `longer` times as long as the schedule says."""
    thermostat = context.getIntegrator()
    context.setPositions(places)
    context.setParameter(GUARD, HELD)
    thermostat.setTemperature(schedule.hot)
    context.setVelocitiesToTemperature(schedule.hot, seed * 101 + longer)
    for strength in TIGHTENED:
        context.setParameter(STRENGTH, strength)
        thermostat.step(longer * schedule.hot_steps // len(TIGHTENED))
    cool(thermostat, schedule, longer)
    return places_of(context)


def cool(thermostat: Any, schedule: Schedule, longer: int = 1) -> None:
    """The cooling steps of a round, `longer` times as many as the schedule says."""
    for stage in range(schedule.stages):
        thermostat.setTemperature(schedule.hot + (schedule.cold - schedule.hot) * (stage + 1) / schedule.stages)
        thermostat.step(longer * schedule.cooling_steps // schedule.stages)


def bath(system: Any, light: NDArray[np.bool_], seed: int) -> Any:
    """Context for the dynamics: rigid bonds to heavy hydrogens (`light` particles), Langevin's thermostat."""
    import openmm
    from openmm.unit import dalton

    system = openmm.XmlSerializer.clone(system)
    bonds = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
    for index in range(bonds.getNumBonds()):
        one, two, length, _ = bonds.getBondParameters(index)
        if not (light[one] or light[two]):
            continue
        hydrogen, heavy = (one, two) if light[one] else (two, one)
        system.addConstraint(one, two, length)
        masses = [system.getParticleMass(p).value_in_unit(dalton) for p in (hydrogen, heavy)]
        system.setParticleMass(heavy, masses[1] - (HYDROGEN - masses[0]))
        system.setParticleMass(hydrogen, HYDROGEN)
    integrator = openmm.LangevinMiddleIntegrator(0.0, FRICTION, STEP)
    # zero would mean a seed of OpenMM's own choice
    integrator.setRandomNumberSeed(seed + 1)
    return openmm.Context(system, integrator, platform())


def _spring(contacts: tuple[Contact, ...], particle: dict[int, int]) -> Any:
    import openmm

    force = openmm.CustomBondForce(RESTRAINT)
    force.addGlobalParameter(STRENGTH, 0.0)
    force.addGlobalParameter("bend", BEND)
    force.addPerBondParameter("side")
    force.addPerBondParameter("aim")
    for contact in contacts:
        side = 1.0 if contact.upper else -1.0
        force.addBond(particle[contact.i], particle[contact.j], [side, contact.bound - side * INSIDE])
    return force


def guard(places: Floats, held: Iterable[list[int]], strength: float = 0.0) -> Any:
    """Torsions of four particles each held as they are in `places`, by so much (kJ/mol) until told otherwise."""
    import openmm

    force = openmm.CustomTorsionForce(GUARDED)
    force.addGlobalParameter(GUARD, strength)
    force.addPerTorsionParameter("aim")
    for particles in held:
        force.addTorsion(*particles, [float(dihedral_of_points(torch.as_tensor(places[particles])))])
    return force


def guarded(structure: Structure, steering: NDArray[np.bool_]) -> Iterator[list[int]]:
    """Four atoms of each omega, of each CA with a CB, and of the CB of threonine and isoleucine.

    Chiral centres are held by improper torsions.
    """
    for k, residue in enumerate(structure.residues):
        here = [[(k, name) for name in ("CA", "N", "C", "CB")]]
        if residue.resname in CENTRES:
            here.append([(k, name) for name in CENTRES[residue.resname]])
        if k and structure.bonded(k - 1, k):
            here.append([(k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA")])
        for names in here:
            atoms = [a for r, name in names if (a := structure.atom(r, name, steering)) is not None]
            if len(atoms) == 4:
                yield atoms
