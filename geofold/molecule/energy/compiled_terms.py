"""Terms of the loss by kernels in C: twins of `Sterics.clashes` with its sums, `RamachandranTerm`, and OBC2 by OpenMM.

Glossary: ``B`` rows, ``m`` local atoms, ``n`` torsions, ``k = n + 3 m`` observations, ``L`` residues, ``p`` pairs,
``q`` particles of a force field.

Gradients and shares are added to arrays that are handed in, so that the terms of a loss fill one array.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from geofold.kernels.library import call
from geofold.kernels.structures import Born, OverlapShape
from geofold.molecule.energy.clash_cost import COST_SCALE, DISTANCE_OFFSET, OVERLAP_TOLERANCE, SOFTENING
from geofold.molecule.energy.ramachandran_term import RamachandranTerm
from geofold.molecule.energy.sterics import PairList, Sterics
from geofold.molecule.energy.subsystem import plain_parameters
from geofold.molecule.vdw_radii import SEVERE_OVERLAP

COULOMB = 138.93545764438198
"""Coulomb constant (kJ nm/mol/e^2), as in OpenMM."""
SHAPE = OverlapShape.of(OVERLAP_TOLERANCE, COST_SCALE, SOFTENING, SEVERE_OVERLAP, DISTANCE_OFFSET)


def add_clashes(
    sterics: Sterics,
    xyz: Tensor,
    pairs: PairList,
    weight: Tensor,
    gradient: Tensor,
    cost: Tensor,
    owner: Tensor | None = None,
    share: Tensor | None = None,
) -> Tensor:
    """Evaluate the cost of all overlaps with its gradient.

    Parameters
    ----------
    sterics : Sterics
    xyz : (B, m, 3)
        Local coordinates, nm.
    pairs : PairList
        Valid at these coordinates.
    weight : (B,)
        Factor of the cost.
    gradient : (B, m, 3)
        The gradient is added to it.
    cost : (B,)
        Receives the cost.
    owner : (w,) int, optional
        Residue of each atom of the sterics; L or more for no residue.
    share : (B, L), optional
        The cost of each residue is added to it.

    Returns
    -------
    (B,)
        Largest excess over a severe overlap, nm; zero if there is none.
    """
    worst, rows = torch.empty_like(cost), len(xyz)
    table: tuple[Tensor | int | None, ...]
    if pairs.reference is None:
        table = sterics.fixed, sterics.padded_limit, sterics.contact_distances, 0, 0, None, None
    else:
        table = pairs.fixed_xyz, None, pairs.distance, len(pairs.i), pairs.inner, pairs.i, pairs.j
    call(
        "clashes", SHAPE, rows, xyz, xyz.stride(0), len(sterics.local), sterics.local, len(sterics.body), *table,
        weight, owner, 0 if share is None else share.shape[1], cost, worst, gradient, gradient.stride(0), share,
    )  # fmt: skip
    return worst


def add_ramachandran(
    term: RamachandranTerm,
    angle: Tensor,
    increment: Tensor,
    weight: float,
    gradient: Tensor,
    cost: Tensor,
    share: Tensor | None = None,
) -> None:
    """Evaluate the Ramachandran penalty with its gradient.

    Parameters
    ----------
    term : RamachandranTerm
    angle : (B, n)
        Total increments before the step, radian.
    increment : (B, n)
        Increments of the step, radian.
    weight : float
        Factor of the penalty.
    gradient : (B, n)
        The gradient is added to it.
    cost : (B,)
        Receives the penalty.
    share : (B, L), optional
        The penalty of each residue is added to it.
    """
    rows, n = angle.shape
    call(
        "ramachandran", term.c_struct, rows, n, angle, increment, increment.stride(0), weight, cost, gradient,
        gradient.stride(0), share, 0 if share is None else share.shape[1],
    )  # fmt: skip


def born_solvation(force: Any) -> Born:
    """Particles of an openmm.GBSAOBCForce without cutoff, for `born_energy`."""
    rows = [plain_parameters(force.getParticleParameters(p)) for p in range(force.getNumParticles())]
    charge, radius, scale = torch.tensor(rows, dtype=torch.float64).reshape(-1, 3).T.contiguous()
    prefactor = COULOMB * (1 / force.getSoluteDielectric() - 1 / force.getSolventDielectric())
    (surface,) = plain_parameters([force.getSurfaceAreaEnergy()])
    return Born.of(len(rows), prefactor, 4 * math.pi * surface, charge, radius, scale)


def born_energy(born: Born, xyz: Tensor, *, double: bool = False) -> tuple[Tensor, Tensor]:
    """Energy (B,) in kJ/mol of a generalised Born solvent, and its gradient (B, q, 3) in kJ/mol/nm.

    Parameters
    ----------
    born : Born
        Particles.
    xyz : (B, q, 3)
        Their coordinates, nm.
    double : bool
        Evaluate in double precision, which takes eight times as long; otherwise in single precision, as OpenMM's CPU
        platform does.
    """
    energy, gradient = xyz.new_empty(len(xyz)), torch.empty_like(xyz)
    call("born_double" if double else "born_single", born, len(xyz), xyz.contiguous(), energy, gradient)
    return energy, gradient
