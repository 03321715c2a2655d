"""A batch whose rows begin at different conformations of one loop.

All rows share the bond graph and hence one torsion tree; increments are counted from the structure's own torsions, so
each row begins at what separates it from them.
"""

from __future__ import annotations

import numpy as np
import torch

from geofold.learn.chains import dihedral
from geofold.molecule.loop import LoopDomain, LoopState
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
    return np.asarray((turned + np.pi) % (2 * np.pi) - np.pi)


def _beside(table: list[list[int]], atom: int, other: int) -> int:
    """A neighbour of an axis atom that is not on the axis and turns with that atom's side; -1 without one."""
    return next((a for a in table[atom] if a != other), -1)
