"""Reference ensembles of peptide end states, and energies after relaxation of the side chains.

An ensemble is made by annealing torsions in many rows from starts all over the Ramachandran map, longer than for
demonstrations. Members satisfy the contact without severe overlaps and Ramachandran outliers; those of
lowest energy (amber14 + OBC2, side chains relaxed) among mutually distinct ones are selected.

Members are annealed with soft sterics; their backbones do not see the force field. Structures that are minimised with
amber14 + OBC2 and all atoms free (OpenMM) can have lower energies than all members.

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
from geofold.modelling.force_field_stage import with_force_field
from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.datasets.peptide_demonstrations import state_at
from geofold.molecule.energy.all_atom import platform
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.peptide.annealing import AnnealingSchedule, anneal
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.lbfgs import UNCAPPED
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
ENSEMBLE_SIZE = 16
"""Number of members."""
ANNEALING = AnnealingSchedule(rows=48, iterations=400, start_deviation=1.5, turn_weight=0.0)
MAX_TRIES = 2
MAX_RELAXED = 32
"""Maximum number of clean conformations that are relaxed."""
MIN_RMSD = 0.05
"""CA RMSD (nm) above which two members are distinct."""
CHI_STEPS, CHI_TOLERANCE = 60, 1e-6
"""Maximum of L-BFGS iterations on the side chains, and relative decrease of the energy that ends them."""
HYDROGEN_STEPS, HYDROGEN_TOLERANCE = 100, 10.0
"""Iterations and tolerance (kJ/mol/nm) for the hydrogens, which were placed automatically."""


@dataclass(frozen=True)
class Ensemble:
    """Reference conformations of an episode.

    Attributes
    ----------
    turn : (k, n) float
        Torsions relative to the structure (radian).
    ca : (k, L, 3) float
        CA coordinates (nm).
    energy : (k,) float
        Energies (amber14 + OBC2, kJ/mol) of the relaxed members, ascending; NaN if energies were not requested.
    """

    turn: Floats
    ca: Floats
    energy: Floats

    @property
    def complete(self) -> bool:
        """Whether the ensemble has `ENSEMBLE_SIZE` members."""
        return len(self.turn) == ENSEMBLE_SIZE


class RelaxedSideChains(NamedTuple):
    """Relaxed side chains: rotations (n,) of the torsions (radian), local coordinates (m, 3) (nm), energy (kJ/mol)."""

    turn: Floats
    xyz: Floats
    energy: float


def make_ensemble(
    structure: Structure, domain: PeptideDomain, contact: Contact, *, seed: int, energies: bool = True
) -> Ensemble:
    """Make reference conformations of a peptide with a contact.

    Parameters
    ----------
    structure : Structure
        The peptide.
    domain : PeptideDomain
        Domain of the whole structure.
    contact : Contact
        Contact that every member satisfies.
    seed : int
        Seed of the annealing and of the hydrogens.
    energies : bool
        Relax side chains and select by energy; otherwise the first distinct conformations are selected as annealed.

    Returns
    -------
    Ensemble
        With 16 members, or fewer (see `complete`) if two attempts do not find as many.
    """
    torsions = np.zeros((0, len(domain.tree)))
    start, goal = domain.start(structure.xyz), goal_of((contact,))
    for attempt in range(MAX_TRIES):
        turn = anneal(domain, start, goal, ANNEALING, seed=MAX_TRIES * seed + attempt).numpy()
        torsions = np.concatenate([torsions, turn[_are_clean(structure, domain, contact, turn)]])
        if (
            len(_select_distinct(_ca_coordinates(structure, domain, torsions), np.arange(len(torsions))))
            >= ENSEMBLE_SIZE
        ):
            break
    energy = np.full(len(torsions), np.nan)
    if energies and len(torsions):
        torsions = torsions[:MAX_RELAXED]
        local = state_at(domain, structure.xyz, torch.as_tensor(torsions)).conformation.xyz.numpy()
        relaxed = [relax_side_chains(structure, domain, xyz, seed=seed) for xyz in local]
        torsions = torsions + np.array([result.turn for result in relaxed])
        energy = np.array([result.energy for result in relaxed])
        clean = _are_clean(structure, domain, contact, torsions)
        torsions, energy = torsions[clean], energy[clean]
    ca = _ca_coordinates(structure, domain, torsions)
    order = np.argsort(energy, kind="stable")
    distinct = _select_distinct(ca, order)
    selected = np.array([*distinct, *(k for k in order if k not in distinct)], dtype=int)[:ENSEMBLE_SIZE]
    selected = selected[np.argsort(energy[selected], kind="stable")]
    return Ensemble(torsions[selected], ca[selected], energy[selected])


def relaxed_energy(
    structure: Structure, domain: PeptideDomain, local: Floats, *, seed: int, force_field: ForceField = AMBER14
) -> float:
    """Energy (kJ/mol) of local coordinates (m, 3) in nm after relaxation of their side chains.

    Parameters
    ----------
    structure : Structure
        Coordinates of the atoms that are not local (at least the CB of the root) are taken from it. For local
        coordinates that are not the result of torsion moves, pass the structure with those coordinates.
    domain : PeptideDomain
        Domain of the whole structure.
    local : (m, 3) float
        Local coordinates (nm).
    seed : int
        Seed of the hydrogens.
    force_field : ForceField
    """
    return relax_side_chains(structure, domain, local, seed=seed, force_field=force_field).energy


def relax_side_chains(
    structure: Structure, domain: PeptideDomain, local: Floats, *, seed: int, force_field: ForceField = AMBER14
) -> RelaxedSideChains:
    """Minimise a force field over the side-chain torsions.

    Hydrogens are rebuilt, move rigidly with their side chains, and are minimised at the end with all heavy atoms fixed.

    Parameters
    ----------
    structure : Structure
        Coordinates of the atoms that are not local are taken from it.
    domain : PeptideDomain
        Domain of the whole structure.
    local : (m, 3) float
        Local coordinates (nm).
    seed : int
        Seed of the hydrogens.
    force_field : ForceField
    """
    with_energy = with_force_field(structure, domain, local, seed, force_field)
    assert with_energy.force_field is not None
    energy_term, model = with_energy.force_field, with_energy.force_field.model
    decoder = replace(domain.decoder, cap=UNCAPPED)
    atoms, n = decoder.kinematics.atoms.numpy(), len(decoder.tree)
    chi = np.flatnonzero(~decoder.tree.backbone)
    x = torch.as_tensor(local, dtype=decoder.weight.dtype)[None]
    state = decoder.at(x, x.new_zeros(1, n), torch.as_tensor(~decoder.tree.backbone, dtype=x.dtype))

    def latent(turn: Floats) -> torch.Tensor:
        full = np.zeros((1, decoder.latent_dim))
        full[0, chi] = turn
        return torch.as_tensor(full)

    def energy_and_slope(turn: Floats) -> tuple[float, Floats]:
        expansion = decoder.expand(latent(turn), state)
        energy, slope = energy_term.energy_and_gradient(decoder.split(expansion.prediction.mean)[1], atoms)
        torque = expansion.pull(torch.nn.functional.pad(slope.flatten(1), (n, 0))[None])[0, 0]
        return float(energy[0]), torque.numpy()[chi]

    turn = np.zeros(n)
    if len(chi):
        options = {"maxiter": CHI_STEPS, "ftol": CHI_TOLERANCE}
        turn[chi] = minimize(energy_and_slope, turn[chi], jac=True, method="L-BFGS-B", options=options).x
    xyz = structure.xyz.copy()
    xyz[atoms] = decoder.split(decoder.decode(latent(turn[chi]), state).mean)[1][0].numpy()
    return RelaxedSideChains(turn, xyz[atoms], _relax_hydrogens(model, xyz))


def nearest_rmsd(ca: Floats, members: Floats) -> float:
    """Smallest CA RMSD (A) of (L, 3) to members (k, L, 3), both in nm, after superposition; NaN without members."""
    return min((10 * superposed_rmsd(ca, member) for member in members), default=float("nan"))


def to_arrays(members: Ensemble) -> dict[str, NDArray[Any]]:
    """Convert to arrays for a file."""
    return {"turn": members.turn, "ca": members.ca, "energy": members.energy}


def from_arrays(parts: dict[str, NDArray[Any]]) -> Ensemble:
    """Make an ensemble from the arrays of `to_arrays`."""
    return Ensemble(parts["turn"], parts["ca"], parts["energy"])


def _relax_hydrogens(model: EnergyModel, xyz: Floats) -> float:
    """Energy (kJ/mol) after minimisation of the added hydrogens, all row atoms fixed."""
    import openmm
    from openmm.unit import kilojoule_per_mole

    system = openmm.XmlSerializer.clone(model.system)
    for particle in np.flatnonzero(model.completed.source >= 0):
        system.setParticleMass(int(particle), 0.0)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform())
    context.setPositions(model.positions(xyz))
    openmm.LocalEnergyMinimizer.minimize(context, HYDROGEN_TOLERANCE, HYDROGEN_STEPS)
    return float(context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(kilojoule_per_mole))


def _are_clean(structure: Structure, domain: PeptideDomain, contact: Contact, turn: Floats) -> NDArray[np.bool_]:
    """Mask (k,) of torsions (k, n) that satisfy the contact without severe overlaps and outliers."""
    if not len(turn):
        return np.zeros(0, dtype=bool)
    state = state_at(domain, structure.xyz, torch.as_tensor(turn))
    satisfied = np.array(
        [contact.satisfied(float(d)) for d in domain.distances(state.conformation.xyz, (contact,))[:, 0]]
    )
    severe = domain.sterics.count_severe(state.conformation.xyz, state.pairs).numpy()
    return satisfied & (severe == 0) & (np.array(domain.angles.count_outliers(state.conformation.angle)) == 0)


def _ca_coordinates(structure: Structure, domain: PeptideDomain, turn: Floats) -> Floats:
    """CA coordinates (k, L, 3) at torsions (k, n)."""
    atoms = [structure.atom(k, "CA", domain.tree.conformer) for k in range(len(structure.residues))]
    alpha = [a for a in atoms if a is not None]
    xyz = np.repeat(structure.xyz[None], len(turn), axis=0)
    if len(turn):
        xyz[:, domain.decoder.kinematics.atoms.numpy()] = state_at(
            domain, structure.xyz, torch.as_tensor(turn)
        ).conformation.xyz.numpy()
    return xyz[:, alpha]


def _select_distinct(ca: Floats, order: NDArray[np.int64]) -> list[int]:
    """Select at most 16 mutually distinct rows of CA coordinates (k, L, 3), in a given order."""
    selected_rows: list[int] = []
    for k in order.tolist():
        if len(selected_rows) < ENSEMBLE_SIZE and all(
            superposed_rmsd(ca[k], ca[row]) > MIN_RMSD for row in selected_rows
        ):
            selected_rows.append(k)
    return selected_rows
