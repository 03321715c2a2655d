"""The last stage of a run: the force field itself steers, through the torsions and within every constraint."""

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
from geofold.molecule.energy.openmm_energy import EnergyModel
from geofold.molecule.energy.openmm_gradient import SteeringEnergy
from geofold.molecule.kinematics.decoder import Fold
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.structure import Structure

ENERGY_WEIGHT = 0.05
"""Per kJ/mol: a hydrogen bond (20 kJ/mol) weighs as much as a severe overlap."""
STEPS = 40
REGION = 1.4
"""nm from what moves: residues that have a say where the force field steers (it looks less far) or ranks."""
Steered = TypeVar("Steered", LoopDomain, PeptideDomain)


def steered(structure: Structure, domain: Steered, xyz: np.ndarray, seed: int) -> Steered:
    """The domain with a force field around local coordinates (m, 3), hydrogens placed afresh."""
    fold: Fold = domain.fold
    atoms = fold.kin.atoms.cpu().numpy()
    whole = structure.xyz.copy()
    whole[atoms] = xyz
    moving = np.zeros(len(whole), dtype=bool)
    moving[fold.tree.atoms] = True
    here = replace(structure, xyz=whole)
    # what is further away than this is cut off anyway; placing its hydrogens would take most of the time
    around = region(here, whole[moving], REGION)
    model = EnergyModel.of(here, fold.tree.steering, seed=seed, only=around)
    return replace(domain, steering=SteeringEnergy(model, whole, moving))


def relax(
    parts: Controller, domain: LoopDomain | PeptideDomain, state: object, goal: object, *, steps: int = STEPS,
    radius: float = 0.2,
) -> Iterator[tuple[ControllerState, StepInfo]]:  # fmt: skip
    """Steps with one correction each, from a domain state and a trust radius, towards a goal that weighs an energy."""
    careful = replace(parts, gate=FixedGate(1), trust_region=TrustRegion(radius=radius, largest=1.0))
    now = careful.init(domain, state)
    for _ in range(steps):
        now, info = careful.step(domain, now, goal)
        yield now, info
