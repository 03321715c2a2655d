"""What a peptide's end state is measured against: conformations that keep the contact, and its energy once relaxed.

A reference ensemble is made beforehand, by annealing torsions in many rows from starts all over the map, longer than
demonstrations are and at no price for far ones. Members keep the contact, without severe overlap and Ramachandran
outlier, and are those of lowest energy (amber14 + OBC2, side chains relaxed) among ones that differ.

Members were annealed under soft sterics, their backbones know no force field: what minimised amber14 + OBC2 itself, all
atoms free (OpenMM's own ways), may well lie below all of them.

Glossary: ``k`` members, ``n`` torsions, ``L`` residues, ``m`` local atoms, ``p`` particles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from geofold.geometry import superposed_rmsd
from geofold.modelling.force_field_stage import steered
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.datasets.peptide_demonstrations import state_at
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.annealing import Course, annealed
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.lbfgs import UNCAPPED
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
SIZE = 16
"""Members, fixed before any run."""
COURSE = Course(rows=48, iterations=400, spread=1.5, speed=0.0)
TRIES = 2
CANDIDATES = 32
"""Of the clean ones, so many are relaxed."""
APART = 0.05
"""nm of CA RMSD from which two members differ."""
CHI_STEPS, CHI_SPARED = 60, 1e-6
"""L-BFGS iterations on the side chains, and the relative fall of the energy that ends them."""
HYDROGEN_STEPS, HYDROGEN_TOLERANCE = 100, 10.0
"""Iterations and tolerance (kJ/mol/nm) for the hydrogens, which are nobody's choice."""


@dataclass(frozen=True)
class Ensemble:
    """Reference conformations of an episode.

    Attributes
    ----------
    turn : (k, n) float
        Torsions counted from the structure's, radian.
    ca : (k, L, 3) float
        nm.
    energy : (k,) float
        amber14 + OBC2 of the relaxed members in kJ/mol, ascending; NaN where none was asked for.
    """

    turn: Floats
    ca: Floats
    energy: Floats

    @property
    def complete(self) -> bool:
        """Whether as many members were found as there should be."""
        return len(self.turn) == SIZE


class Relaxed(NamedTuple):
    """Side chains at rest: how far torsions turned (n,) in radian, where local atoms are (m, 3), kJ/mol."""

    turn: Floats
    xyz: Floats
    energy: float


def ensemble(
    structure: Structure, domain: PeptideDomain, contact: Contact, *, seed: int, energies: bool = True
) -> Ensemble:
    """Reference conformations of a peptide that keeps a contact.

    Parameters
    ----------
    domain
        Of the whole structure.
    energies
        Relax side chains and choose by energy; without, the first distinct ones count, as they were annealed.

    Returns
    -------
    Ensemble
        Of 16 members, or (see `complete`) of all that two tries found.
    """
    found = np.zeros((0, len(domain.tree)))
    start, goal = domain.start(structure.xyz), goal_of((contact,))
    for attempt in range(TRIES):
        turn = annealed(domain, start, goal, COURSE, seed=TRIES * seed + attempt).numpy()
        found = np.concatenate([found, turn[_clean(structure, domain, contact, turn)]])
        if len(_distinct(_ca(structure, domain, found), np.arange(len(found)))) >= SIZE:
            break
    energy = np.full(len(found), np.nan)
    if energies and len(found):
        found = found[:CANDIDATES]
        local = state_at(domain, structure.xyz, torch.as_tensor(found)).fold.xyz.numpy()
        rest = [relaxed(structure, domain, xyz, seed=seed) for xyz in local]
        found = found + np.array([one.turn for one in rest])
        energy = np.array([one.energy for one in rest])
        still = _clean(structure, domain, contact, found)
        found, energy = found[still], energy[still]
    ca = _ca(structure, domain, found)
    order = np.argsort(energy, kind="stable")
    differ = _distinct(ca, order)
    chosen = np.array([*differ, *(k for k in order if k not in differ)], dtype=int)[:SIZE]
    chosen = chosen[np.argsort(energy[chosen], kind="stable")]
    return Ensemble(found[chosen], ca[chosen], energy[chosen])


def relaxed_energy(structure: Structure, domain: PeptideDomain, local: Floats, *, seed: int) -> float:
    """Energy in kJ/mol (amber14 + OBC2) of local coordinates (m, 3) in nm once their side chains are relaxed.

    The structure has to hold the places of all other atoms: the root's own (a CB at the least) are not local. For
    coordinates that did not come about by torsions, pass the structure with those coordinates.
    """
    return relaxed(structure, domain, local, seed=seed).energy


def relaxed(structure: Structure, domain: PeptideDomain, local: Floats, *, seed: int) -> Relaxed:
    """Turn side chains, and nothing else, to where amber14 + OBC2 is lowest nearby.

    Hydrogens are placed afresh, ride on their side chains and come to rest in the end, all heavy atoms held.

    Parameters
    ----------
    structure
        Atoms that are not local are taken from it.
    local : (m, 3)
        nm.
    seed : int
        Of the hydrogens.
    """
    forced = steered(structure, domain, local, seed)
    assert forced.steering is not None
    force, model = forced.steering, forced.steering.model
    fold = replace(domain.fold, cap=UNCAPPED)
    atoms, n = fold.kin.atoms.numpy(), len(fold.tree)
    chi = np.flatnonzero(~fold.tree.backbone)
    here = torch.as_tensor(local, dtype=fold.weight.dtype)[None]
    state = fold.at(here, here.new_zeros(1, n), torch.as_tensor(~fold.tree.backbone, dtype=here.dtype))

    def latent(turn: Floats) -> torch.Tensor:
        wide = np.zeros((1, fold.latent_dim))
        wide[0, chi] = turn
        return torch.as_tensor(wide)

    def energy_and_slope(turn: Floats) -> tuple[float, Floats]:
        there = fold.expand(latent(turn), state)
        energy, slope = force.energy_and_gradient(fold.split(there.prediction.mean)[1], atoms)
        torque = there.pull(torch.nn.functional.pad(slope.flatten(1), (n, 0))[None])[0, 0]
        return float(energy[0]), torque.numpy()[chi]

    turn = np.zeros(n)
    if len(chi):
        options = {"maxiter": CHI_STEPS, "ftol": CHI_SPARED}
        turn[chi] = minimize(energy_and_slope, turn[chi], jac=True, method="L-BFGS-B", options=options).x
    whole = structure.xyz.copy()
    whole[atoms] = fold.split(fold.decode(latent(turn[chi]), state).mean)[1][0].numpy()
    return Relaxed(turn, whole[atoms], _at_rest(model, whole))


def nearest_rmsd(ca: Floats, members: Floats) -> float:
    """CA RMSD in Angstrom of (L, 3) to the nearest of members (k, L, 3), both in nm, each superposed at its best."""
    return min((10 * superposed_rmsd(ca, member) for member in members), default=float("nan"))


def saved(members: Ensemble) -> dict[str, NDArray[Any]]:
    """As arrays, for a file."""
    return {"turn": members.turn, "ca": members.ca, "energy": members.energy}


def loaded(parts: dict[str, NDArray[Any]]) -> Ensemble:
    """The ensemble of such arrays."""
    return Ensemble(parts["turn"], parts["ca"], parts["energy"])


def _at_rest(model: EnergyModel, xyz: Floats) -> float:
    """Energy in kJ/mol with added hydrogens at rest, all other atoms held."""
    import openmm
    from openmm.unit import kilojoule_per_mole

    system = openmm.XmlSerializer.clone(model.system)
    for particle in np.flatnonzero(model.completed.source >= 0):
        system.setParticleMass(int(particle), 0.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    context.setPositions(model.positions(xyz))
    openmm.LocalEnergyMinimizer.minimize(context, HYDROGEN_TOLERANCE, HYDROGEN_STEPS)
    return float(context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(kilojoule_per_mole))


def _clean(structure: Structure, domain: PeptideDomain, contact: Contact, turn: Floats) -> NDArray[np.bool_]:
    """Which rows (k,) of torsions (k, n) keep the contact, with neither severe overlaps nor outliers."""
    if not len(turn):
        return np.zeros(0, dtype=bool)
    state = state_at(domain, structure.xyz, torch.as_tensor(turn))
    kept = np.array([contact.satisfied(float(d)) for d in domain.distances(state.fold.xyz, (contact,))[:, 0]])
    severe = domain.sterics.severe(state.fold.xyz, state.pairs).numpy()
    return kept & (severe == 0) & (np.array(domain.angles.outliers(state.fold.angle)) == 0)


def _ca(structure: Structure, domain: PeptideDomain, turn: Floats) -> Floats:
    """CA coordinates (k, L, 3) at torsions (k, n)."""
    found = [structure.atom(k, "CA", domain.tree.steering) for k in range(len(structure.residues))]
    alpha = [a for a in found if a is not None]
    whole = np.repeat(structure.xyz[None], len(turn), axis=0)
    if len(turn):
        whole[:, domain.fold.kin.atoms.numpy()] = state_at(
            domain, structure.xyz, torch.as_tensor(turn)
        ).fold.xyz.numpy()
    return whole[:, alpha]


def _distinct(ca: Floats, order: NDArray[np.int64]) -> list[int]:
    """At most 16 rows of CA coordinates (k, L, 3), taken in a given order, each apart from all taken before."""
    taken: list[int] = []
    for k in order.tolist():
        if len(taken) < SIZE and all(superposed_rmsd(ca[k], ca[other]) > APART for other in taken):
            taken.append(k)
    return taken
