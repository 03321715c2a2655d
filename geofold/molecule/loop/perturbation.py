"""Perturbation of native loops by seeded random torsion moves that keep them closed.

Only phi and psi of the loop change, so a perturbed loop has native bond geometry and its native conformation is
reachable by torsions alone.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from geofold.geometry import rmsd
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
KICK = 0.15
"""Standard deviation of the constant part of the random moves (radian); that of the varying part is 2/3 of it."""
MOVES = 200
"""Maximum number of moves."""


def perturb_loop(structure: Structure, first: int, last: int, *, seed: int, target: float) -> Floats:
    """Perturb a loop without breaking its closure.

    Parameters
    ----------
    structure : Structure
        Native structure.
    first, last : int
        Indices of the first and the last residue of the loop.
    seed : int
        Seed of the random moves.
    target : float
        Backbone RMSD from the native (angstrom) at which the perturbation ends.

    Returns
    -------
    (n_atoms, 3) float
        Coordinates of the whole structure, nm.
    """
    domain = LoopDomain.of(structure, first, last, cap=math.radians(10.0))
    mobility = torch.as_tensor(domain.tree.backbone.astype(float))
    atoms = domain.decoder.kinematics.atoms.numpy()
    backbone = np.isin(atoms, domain.tree.atoms) & np.isin(structure.name[atoms], ("N", "CA", "C", "O"))
    state = domain.decoder.start(structure.xyz, mobility)
    native = state.xyz.clone()
    generator = np.random.default_rng(seed)
    drift = generator.standard_normal(domain.latent_dim)
    for _ in range(MOVES):
        latent = KICK * (drift + 2 / 3 * generator.standard_normal(domain.latent_dim))
        state = domain.decoder.commit(domain.decoder.decode(torch.as_tensor(latent)[None], state), state, mobility)
        displacement = (state.xyz - native)[0, torch.as_tensor(backbone)]
        if 10 * float(displacement.square().sum(-1).mean().sqrt()) >= target:
            break
    perturbed = structure.xyz.copy()
    moved = np.isin(atoms, domain.tree.atoms)
    perturbed[atoms[moved]] = state.xyz[0].numpy()[moved]
    return perturbed


def backbone_rmsd(structure: Structure, first: int, last: int, xyz_a: Floats, xyz_b: Floats) -> float:
    """RMSD (angstrom) of N, CA, C, O of the loop between two coordinate sets (n_atoms, 3), without superposition.

    Parameters
    ----------
    structure : Structure
        Complete structure.
    first, last : int
        First and last residue (inclusive indices).
    xyz_a, xyz_b : (n_atoms, 3)
        Coordinates (nm).
    """
    atoms = [a for a in backbone_atoms(structure, first, last, structure.conformer_mask) if a is not None]
    return float(10 * rmsd(xyz_a[atoms], xyz_b[atoms]))
