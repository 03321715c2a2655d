"""Bent loops: native loops bent closed by seeded random torsion moves.

The loop's phi and psi turn by random amounts, closure holds throughout, nothing else changes; so a bent loop
has native bond geometry, and its native conformation is reachable by torsions alone.
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
"""rad: standard deviation of the lasting part of the random moves; the passing part is two thirds of it."""
MOVES = 200


def bend(structure: Structure, first: int, last: int, *, seed: int, target: float) -> Floats:
    """Coordinates (n_atoms, 3) with residues `first` to `last` bent closed.

    Parameters
    ----------
    seed : int
        Of the moves.
    target : float
        Backbone RMSD in A from the native that ends the bending.
    """
    domain = LoopDomain.of(structure, first, last, cap=math.radians(10.0))
    reach = torch.as_tensor(domain.tree.backbone.astype(float))
    atoms = domain.fold.kin.atoms.numpy()
    backbone = np.isin(atoms, domain.tree.atoms) & np.isin(structure.name[atoms], ("N", "CA", "C", "O"))
    inside = torch.as_tensor(backbone)
    state = domain.fold.start(structure.xyz, reach)
    native = state.xyz.clone()
    noise = np.random.default_rng(seed)
    lasting = noise.standard_normal(domain.latent_dim)
    for _ in range(MOVES):
        latent = KICK * (lasting + 2 / 3 * noise.standard_normal(domain.latent_dim))
        state = domain.fold.commit(domain.fold.decode(torch.as_tensor(latent)[None], state), state, reach)
        if 10 * float(rmsd(state.xyz[0, inside], native[0, inside])) >= target:
            break
    bent = structure.xyz.copy()
    carried = np.isin(atoms, domain.tree.atoms)
    bent[atoms[carried]] = state.xyz[0].numpy()[carried]
    return bent


def backbone_rmsd(structure: Structure, first: int, last: int, one: Floats, other: Floats) -> float:
    """RMSD in A over N, CA, C, O of the loop, in the frame of the file (no superposition)."""
    atoms = [a for a in backbone_atoms(structure, first, last, structure.steering_mask) if a is not None]
    return float(10 * rmsd(one[atoms], other[atoms]))
