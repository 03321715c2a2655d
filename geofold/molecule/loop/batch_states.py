"""A batch whose rows begin at different conformations of one loop, or get other torsions.

All rows share the bond graph and hence one torsion tree; increments are counted from the structure's own torsions, so
each row begins at what separates it from them.
"""

from __future__ import annotations

import numpy as np
import torch

from geofold.geometry import dihedral, wrap
from geofold.molecule.kinematics.forward import positions
from geofold.molecule.kinematics.inverse import closed_anew
from geofold.molecule.loop.domain import LoopDomain, LoopState
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats, Structure


def state_of_rows(domain: LoopDomain, structure: Structure, rows: Floats) -> LoopState:
    """State of conformations (B, m, 3) in nm of all atoms of the loop's residues, in the order of the structure."""
    tree = domain.tree
    own = np.flatnonzero((structure.residue_of >= tree.first) & (structure.residue_of <= tree.last))
    local = domain.fold.kin.atoms.cpu().numpy()
    xyz = np.repeat(structure.xyz[None, local], len(rows), 0)
    moving = np.isin(own, local)
    xyz[:, np.searchsorted(local, own[moving])] = rows[:, moving]
    state = domain.start(structure.xyz, len(rows))
    like = state.fold.xyz
    angle = _increments(domain, structure, own, rows)
    fold = domain.fold.at(
        torch.as_tensor(xyz).to(like), torch.as_tensor(angle).to(like), domain.reach(0)
    )  # fmt: skip
    return state._replace(fold=fold, pairs=domain.sterics.pairs(fold.xyz))


@torch.no_grad()
def with_own_bonds(
    domain: LoopDomain, structure: Structure, state: LoopState, torsions: Floats, backbone: Floats
) -> tuple[LoopState, np.ndarray]:  # fmt: skip
    """Conformations of other bonds and angles, with those of a state's first row: torsions taken over, turned until the
    backbone is as near to where it was as it comes, and closed.

    Where they clash is not looked at.

    Parameters
    ----------
    torsions : (K, >= L, 2)
        phi and psi, radian.
    backbone : (K, L, 4, 3)
        N, CA, C and O, nm.

    Returns
    -------
    LoopState
        Only those that close; where none does, the state as it is.
    (K,) bool
        Which ones they are.
    """
    angles, fold, tree = domain.angles, domain.fold, domain.tree
    one = domain.select(state, torch.zeros(len(torsions), dtype=torch.long)).fold
    wanted = torch.as_tensor(torsions).to(one.angle)[:, angles.residue.cpu()]
    gaps = [wrap(wanted[..., k] - now) for k, now in enumerate(angles.at(one.angle))]
    turn = gaps[0] @ angles.phi_of + gaps[1] @ angles.psi_of
    turning = torch.as_tensor(tree.backbone).to(turn.device)
    own, carried = backbone_atoms(structure, tree.first, tree.last, tree.steering), set(tree.atoms.tolist())
    moving = [place for place, atom in enumerate(own) if atom in carried]
    target = torch.as_tensor(backbone.reshape(len(backbone), -1, 3)[:, moving]).to(one.xyz)
    rows = fold.kin.rows([own[place] for place in moving])
    theta, closed = closed_anew(fold.closure, fold.kin, one.xyz, turn, turning, rows, target)
    if not bool(closed.any()):
        return state, closed.cpu().numpy()
    moved = positions(fold.kin, one.xyz, theta)[closed]
    shut = fold.at(moved, (one.angle + theta)[closed], domain.reach(0))
    return LoopState(shut, domain.sterics.pairs(moved), 0, None), closed.cpu().numpy()


def _increments(domain: LoopDomain, structure: Structure, own: np.ndarray, rows: Floats) -> Floats:
    """Torsions (B, n) of the rows less those of the structure, in (-pi, pi]."""
    tree = domain.tree
    ends = [(_beside(tree.table, a, b), a, b, _beside(tree.table, b, a))
            for a, b in zip(tree.near.tolist(), tree.far.tolist(), strict=True)]  # fmt: skip
    # a torsion that carries nothing yet (a side chain to come) has not turned
    known = np.array([min(quartet) >= 0 for quartet in ends])
    quartets = np.array(ends)[known]
    places = np.repeat(structure.xyz[None, quartets], len(rows), 0)
    inside = np.isin(quartets, own)
    places[:, inside] = rows[:, np.searchsorted(own, quartets[inside])]
    turned = np.zeros((len(rows), len(tree)))
    turned[:, known] = dihedral(*np.moveaxis(places, 2, 0)) - dihedral(*np.moveaxis(structure.xyz[quartets], 1, 0))
    return wrap(turned)


def _beside(table: list[list[int]], atom: int, other: int) -> int:
    """A neighbour of an axis atom that is not on the axis and turns with that atom's side; -1 without one."""
    return next((a for a in table[atom] if a != other), -1)
