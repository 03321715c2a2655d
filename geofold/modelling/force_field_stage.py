"""Steps down an energy through the torsions: the last stage of a run, within every constraint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np

from geofold.core.controller import Controller
from geofold.core.gate import FixedGate
from geofold.core.state import ControllerState, StepInfo
from geofold.core.trust_region import TrustRegion
from geofold.molecule.energy.all_atom import region
from geofold.molecule.energy.amber import AMBER14, ForceField
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.openmm_gradient import OpenMMPotential
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.structure import Structure

ENERGY_WEIGHT = 0.05
"""Weight of the energy in the loss, per kJ/mol: a hydrogen bond (20 kJ/mol) counts as much as a severe overlap."""
FORCE_FIELD_STEPS = 40
REGION = 1.4
"""Distance (nm) from the moving atoms within which residues enter the force field, for its forces and for ranking."""
Domain = TypeVar("Domain", LoopDomain, PeptideDomain)


def with_force_field(
    structure: Structure, domain: Domain, xyz: np.ndarray, seed: int, force_field: ForceField = AMBER14
) -> Domain:
    """Return the domain with a force field around the moving atoms, hydrogens placed for the given coordinates.

    Parameters
    ----------
    structure : Structure
    domain : LoopDomain or PeptideDomain
    xyz : (m, 3)
        Coordinates of the domain's atoms (nm).
    seed : int
        Seed of the placement of hydrogens.
    force_field : ForceField

    Raises
    ------
    ForceFieldError
        If the force field cannot describe the moving residues, or has a term that cannot be carried over.
    """
    whole = whole_coordinates(structure, domain, xyz)
    current = replace(structure, xyz=whole)
    # residues further away are beyond the cutoff; placing their hydrogens would take most of the time
    around = region(current, whole[domain.decoder.tree.atoms], REGION)
    model = EnergyModel.of(current, domain.decoder.tree.conformer, seed=seed, only=around, force_field=force_field)
    return with_energy_model(domain, model, whole)


def with_energy_model(domain: Domain, model: EnergyModel, xyz: np.ndarray) -> Domain:
    """Return the domain with the force field of a model around the moving atoms.

    Parameters
    ----------
    domain : LoopDomain or PeptideDomain
    model : EnergyModel
        With hydrogens placed for the coordinates; see `EnergyModel.at`.
    xyz : (n_atoms, 3)
        Coordinates of the structure (nm).

    Raises
    ------
    ForceFieldError
        If no moving atom is part of the model, or the force field has a term that cannot be carried over.
    """
    moving = np.zeros(len(xyz), dtype=bool)
    moving[domain.decoder.tree.atoms] = True
    return replace(domain, force_field=OpenMMPotential(model, xyz, moving))


def whole_coordinates(structure: Structure, domain: LoopDomain | PeptideDomain, local: np.ndarray) -> np.ndarray:
    """Coordinates (n_atoms, 3) of the structure with local ones (m, 3) of the domain's atoms."""
    whole = structure.xyz.copy()
    whole[domain.decoder.kinematics.atoms.cpu().numpy()] = local
    return whole


def run_force_field(
    parts: Controller,
    domain: LoopDomain | PeptideDomain,
    state: object,
    goal: object,
    *,
    steps: int = FORCE_FIELD_STEPS,
    radius: float = 0.2,
) -> Iterator[tuple[ControllerState, StepInfo]]:
    """Take steps of one correction each towards a goal that includes an energy.

    Parameters
    ----------
    parts : Controller
        Its gate and trust region are replaced; a budget of a step does not apply, since every step has one correction.
    domain : LoopDomain or PeptideDomain
    state : LoopState or PeptideState
        State of the domain to start from.
    goal : LoopGoal or PeptideGoal
        With a weight for an energy or a learned potential.
    steps : int
    radius : float
        First trust radius, in the metric's unit.
    """
    careful = replace(parts, gate=FixedGate(1), trust_region=TrustRegion(radius=radius, largest=1.0), budget=None)
    run = careful.init(domain, state)
    for _ in range(steps):
        run, info = careful.step(domain, run, goal)
        yield run, info
