"""Batched loop states whose rows start from different conformations of one loop.

All rows share the bond graph and hence one torsion tree. Increments are measured from the torsions of the structure,
so each row starts with its difference from them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import dihedral, wrap
from geofold.molecule.energy.clash_cost import screened_cost
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.kinematics.inverse import reclose
from geofold.molecule.kinematics.torsion_domain import TorsionDomain
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopState
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats, Structure


def state_of_rows(domain: LoopDomain, structure: Structure, rows: Floats) -> LoopState:
    """State of a batch of conformations: coordinates (B, m, 3) in nm of all atoms of the loop, in structure order."""
    xyz, angle = _local(domain, structure, rows)
    conformation = domain.decoder.at(xyz, angle, domain.mobility(0))
    return LoopState(conformation, domain.sterics.pairs(conformation.xyz), 0)


@torch.no_grad()
def cost_of_rows(domain: LoopDomain, structure: Structure, rows: Floats) -> Floats:
    """`LoopDomain.cost` (B,) of conformations (B, m, 3), which need no state and no neighbour list for it."""
    xyz, angle = _local(domain, structure, rows)
    sterics = domain.sterics
    clash = screened_cost(xyz[:, sterics.local], sterics.fixed, sterics.screen_limit, sterics.contact_distances)
    return np.asarray((clash + domain.angles.penalty(angle).sum(-1)).cpu().numpy())


def _local(domain: LoopDomain, structure: Structure, rows: Floats) -> tuple[Tensor, Tensor]:
    """Local coordinates (B, m', 3) and torsions (B, n) of conformations (B, m, 3)."""
    tree, like = domain.tree, domain.decoder.weight
    loop_atoms = np.flatnonzero(structure.atoms_within(tree.first, tree.last))
    local = domain.decoder.kinematics.atoms.cpu().numpy()
    xyz = np.repeat(structure.xyz[None, local], len(rows), 0)
    moving = np.isin(loop_atoms, local)
    xyz[:, np.searchsorted(local, loop_atoms[moving])] = rows[:, moving]
    angle = torsion_increments(domain, structure, rows)
    return torch.as_tensor(xyz).to(like), torch.as_tensor(angle).to(like)


@torch.no_grad()
def transfer_torsions(
    domain: LoopDomain, structure: Structure, state: LoopState, torsions: Floats, backbone: Floats
) -> tuple[LoopState, np.ndarray]:
    """Transfer conformations onto the bond lengths and angles of a state's first row.

    The torsions are copied, adjusted until the backbone is as close to its original position as possible, and the
    chain is closed. Clashes are not checked.

    Parameters
    ----------
    domain : LoopDomain
        Domain of the loop.
    structure : Structure
        Structure that the domain was built from.
    state : LoopState
        State whose first row provides bond lengths and angles.
    torsions : (K, >= L, 2) float
        Phi and psi of each conformation, radian.
    backbone : (K, L, 4, 3) float
        N, CA, C and O of each conformation, nm.

    Returns
    -------
    state : LoopState
        The conformations that close; the unchanged input state if none does.
    closed : (K,) bool
        Conformations that close.
    """
    angles, decoder, tree = domain.angles, domain.decoder, domain.tree
    reference = domain.select(state, torch.zeros(len(torsions), dtype=torch.long)).conformation
    target_torsions = torch.as_tensor(torsions).to(reference.angle)[:, angles.residue.cpu()]
    gaps = [wrap(target_torsions[..., k] - current) for k, current in enumerate(angles.at(reference.angle))]
    initial = gaps[0] @ angles.phi_of + gaps[1] @ angles.psi_of
    rotatable = torch.as_tensor(tree.backbone).to(initial.device)
    atoms, moved_atoms = backbone_atoms(structure, tree.first, tree.last, tree.conformer), set(tree.atoms.tolist())
    moving = [column for column, atom in enumerate(atoms) if atom in moved_atoms]
    target = torch.as_tensor(backbone.reshape(len(backbone), -1, 3)[:, moving]).to(reference.xyz)
    rows = decoder.kinematics.find_rows([atoms[column] for column in moving])
    theta, closed = reclose(decoder.closure, decoder.kinematics, reference.xyz, initial, rotatable, rows, target)
    if not bool(closed.any()):
        return state, closed.cpu().numpy()
    moved = positions(decoder.kinematics, reference.xyz, theta)[closed]
    closed_conformation = decoder.at(moved, (reference.angle + theta)[closed], domain.mobility(0))
    return LoopState(closed_conformation, domain.sterics.pairs(moved), 0), closed.cpu().numpy()


def torsion_increments(domain: TorsionDomain[Any], structure: Structure, rows: Floats) -> Floats:
    """Torsions (B, n) of conformations (B, m, 3) minus those of the structure, wrapped to [-pi, pi), in radian."""
    tree = domain.tree
    loop_atoms = np.flatnonzero(structure.atoms_within(tree.first, tree.last))
    axes = [
        (_axis_neighbour(tree.adjacency, a, b), a, b, _axis_neighbour(tree.adjacency, b, a))
        for a, b in zip(tree.near.tolist(), tree.far.tolist(), strict=True)
    ]
    # a torsion that moves no atom yet (its side chain is still missing) has no increment
    known = np.array([min(quartet) >= 0 for quartet in axes])
    quartets = np.array(axes)[known]
    coordinates = np.repeat(structure.xyz[None, quartets], len(rows), 0)
    inside = np.isin(quartets, loop_atoms)
    coordinates[:, inside] = rows[:, np.searchsorted(loop_atoms, quartets[inside])]
    increments = np.zeros((len(rows), len(tree)))
    increments[:, known] = dihedral(*np.moveaxis(coordinates, 2, 0)) - dihedral(
        *np.moveaxis(structure.xyz[quartets], 1, 0)
    )
    return wrap(increments)


def _axis_neighbour(table: list[list[int]], atom: int, axis_end: int) -> int:
    """Return a neighbour of an axis atom other than the second axis atom; -1 if there is none."""
    return next((a for a in table[atom] if a != axis_end), -1)
