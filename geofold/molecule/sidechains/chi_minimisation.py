"""Minimisation of side-chain overlaps along chi, starting from packed rotamers.

Packing uses discrete rotamers and reduced radii. The remaining overlaps, a few tenths of an angstrom, are removed by
rotations of a few degrees. The steps are Gauss-Newton steps on the overlaps, damped by the metric that the motion of
the atoms pulls back to the torsions (Levenberg-Marquardt with that metric in place of the identity), and limited to a
trust region.

Glossary: ``q`` torsions, ``p`` overlapping pairs. Lengths are in nm, angles in radian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from geofold.geometry import dihedral
from geofold.molecule.sidechains.rotamer_library import atoms_beyond, side_chain
from geofold.molecule.structure import WATER, Floats, Mask, Structure
from geofold.molecule.topology.bonds import pairs_within_bonds
from geofold.molecule.vdw_radii import EXCLUDED_BONDS, MAX_CONTACT, POLAR, contact_distance, radius_of

MAX_STEPS = 24
"""Largest number of steps."""
OVERLAP_TOLERANCE = 0.03
"""Overlap without cost (nm); severe overlaps begin at 0.04."""
RESTRAINT_ANGLE = np.radians(60.0)
"""Deviation from the rotamer (rad) that costs as much as an overlap of twice `OVERLAP_TOLERANCE`."""
MAX_ROTATION = np.radians(10.0)
"""Largest rotation of a torsion per step (radian)."""
INITIAL_DAMPING, DAMPING_DECREASE, DAMPING_INCREASE = 0.1, 0.5, 4.0
"""Initial damping, and its factors after an accepted and after a rejected step."""


@dataclass(frozen=True, eq=False)
class SideChains:
    """Side chains of some residues that may turn; all other atoms are fixed. Build with `SideChains.of`.

    Attributes
    ----------
    structure : Structure
        Structure with the residues.
    residue : (q,) int
        Residue of each torsion.
    quartet : (q, 4) int
        Atoms that define each torsion; it turns about the middle two.
    moved_atoms : (q, n_atoms) bool
        Atoms that each torsion moves.
    depth : (q,) int
        Number of preceding torsions of the same side chain.
    adjacency : list of list of int
        Bonded atoms of each atom.
    """

    structure: Structure
    residue: NDArray[np.int64]
    quartet: NDArray[np.int64]
    moved_atoms: NDArray[np.bool_]
    depth: NDArray[np.int64]
    adjacency: list[list[int]]

    @classmethod
    def of(
        cls, structure: Structure, residues: Sequence[int], conformer: Mask, adjacency: list[list[int]]
    ) -> SideChains:
        """Build the torsions of residues up to their first missing chi atom.

        Parameters
        ----------
        structure : Structure
            Structure with the residues.
        residues : sequence of int
            Residues whose side chains may turn.
        conformer : (n_atoms,) bool
            Atoms of the conformer.
        adjacency : list of list of int
            Bonded atoms of each atom.
        """
        owners, quartets = list[int](), list[list[int]]()
        moved_atoms, depth = list[NDArray[np.bool_]](), list[int]()
        for k in residues:
            chain = side_chain(structure.residues[k].resname)
            for number, quartet in enumerate(chain.quartets if chain is not None else ()):
                atoms = [structure.atom(k, name, conformer) for name in quartet]
                if any(a is None for a in atoms):
                    break
                quartets.append([int(a) for a in atoms if a is not None])
                moved = np.zeros(len(structure), dtype=bool)
                moved[sorted(atoms_beyond(adjacency.__getitem__, *quartets[-1][1:3]))] = True
                owners.append(k)
                moved_atoms.append(moved)
                depth.append(number)
        shape = (len(owners), len(structure))
        return cls(
            structure,
            np.array(owners, dtype=np.int64),
            np.array(quartets, dtype=np.int64).reshape(-1, 4),
            np.array(moved_atoms, dtype=bool).reshape(shape),
            np.array(depth, dtype=np.int64),
            adjacency,
        )

    @property
    def axis(self) -> NDArray[np.int64]:
        """Axis atoms of each torsion, (q, 2)."""
        return self.quartet[:, 1:3]

    def chi(self, xyz: Floats) -> Floats:
        """Measure the torsions (q,) of coordinates (n_atoms, 3)."""
        return np.asarray(dihedral(*(xyz[self.quartet[:, k]] for k in range(4))))

    @cached_property
    def moving(self) -> NDArray[np.int64]:
        """Heavy atoms that any torsion moves."""
        return np.flatnonzero(self.moved_atoms.any(0) & self._heavy)

    @cached_property
    def _heavy(self) -> NDArray[np.bool_]:
        structure = self.structure
        return structure.conformer_mask & (self._radius > 0) & ~np.isin(structure.resname, list(WATER))

    @cached_property
    def _radius(self) -> Floats:
        return np.array([radius_of(str(element)) for element in self.structure.element])

    @cached_property
    def _polar(self) -> NDArray[np.bool_]:
        return np.isin(self.structure.element, list(POLAR))

    @cached_property
    def _bonded(self) -> set[tuple[int, int]]:
        return set(pairs_within_bonds(self.adjacency, self.moving, EXCLUDED_BONDS))

    def overlaps(self, xyz: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Find pairs (p, 2) that overlap by more than `OVERLAP_TOLERANCE`, moving atom first, and the excess (p,)."""
        heavy = np.flatnonzero(self._heavy)
        near = cKDTree(xyz[self.moving]).query_ball_tree(cKDTree(xyz[heavy]), MAX_CONTACT)
        listed = [
            (int(a), int(b))
            for a, close in zip(self.moving, near, strict=True)
            for b in heavy[close]
            if a != b and not (a > b and self._is_moving[b]) and (int(a), int(b)) not in self._bonded
        ]
        pairs = np.array(listed, dtype=np.int64).reshape(-1, 2)
        i, j = pairs.T
        touching = contact_distance(self._radius, self._polar, i, j)
        # atoms moved by the same torsions keep their distance
        variable = (self.moved_atoms[:, i] != self.moved_atoms[:, j]).any(0)
        excess = touching - np.linalg.norm(xyz[i] - xyz[j], axis=-1) - OVERLAP_TOLERANCE
        counted = variable & (excess > 0)
        return pairs[counted], excess[counted]

    @cached_property
    def _is_moving(self) -> NDArray[np.bool_]:
        mask = np.zeros(len(self.structure), dtype=bool)
        mask[self.moving] = True
        return mask

    def jacobian(self, xyz: Floats, atoms: NDArray[np.int64]) -> Floats:
        """Compute the derivative (p, q, 3) of atoms (p,) by each torsion, nm per radian."""
        origin = xyz[self.axis[:, 1]]
        along = origin - xyz[self.axis[:, 0]]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        lever = xyz[atoms][:, None] - origin
        return np.cross(along, lever) * self.moved_atoms[:, atoms].T[..., None]

    def rotate(self, xyz: Floats, delta: Floats) -> Floats:
        """Rotate coordinates (n_atoms, 3) by increments (q,), torsions nearest to the backbone last."""
        xyz = xyz.copy()
        # outer torsions first, so that each turns about an axis that has not moved yet
        for k in np.argsort(-self.depth, kind="stable"):
            b, c = self.axis[k]
            axis = (xyz[c] - xyz[b]) / np.linalg.norm(xyz[c] - xyz[b])
            moved = self.moved_atoms[k]
            xyz[moved] = Rotation.from_rotvec(delta[k] * axis).apply(xyz[moved] - xyz[c]) + xyz[c]
        return xyz


def relax_chi(chains: SideChains, xyz: Floats) -> Floats:
    """Minimise the overlaps of side chains along chi, restrained to the initial torsions.

    Parameters
    ----------
    chains : SideChains
        Side chains that may turn.
    xyz : (n_atoms, 3)
        Initial coordinates, nm.

    Returns
    -------
    (n_atoms, 3)
        Coordinates of the lowest cost found, nm.
    """
    total = np.zeros(len(chains.axis))
    pairs, excess = chains.overlaps(xyz)
    if not len(excess):
        return xyz
    stiffness, damping = (OVERLAP_TOLERANCE / RESTRAINT_ANGLE) ** 2, INITIAL_DAMPING
    current, cost = xyz, float((excess**2).sum())
    slopes = chains.jacobian(xyz, chains.moving)
    metric = np.einsum("pqi,pri->qr", slopes, slopes) / max(len(chains.moving), 1)
    for _ in range(MAX_STEPS):
        i, j = pairs.T
        direction = current[i] - current[j]
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        slope = -np.einsum("pqi,pi->pq", chains.jacobian(current, i) - chains.jacobian(current, j), direction)
        gradient = slope.T @ excess + stiffness * total
        hessian = slope.T @ slope + stiffness * np.eye(len(total)) + damping * metric
        delta = -np.linalg.solve(hessian, gradient)
        delta *= min(1.0, MAX_ROTATION / max(float(np.abs(delta).max()), 1e-12))
        trial = chains.rotate(current, delta)
        overlaps = chains.overlaps(trial)
        trial_cost = float((overlaps[1] ** 2).sum() + stiffness * ((total + delta) ** 2).sum())
        if trial_cost < cost:
            gain, current, cost, total = cost - trial_cost, trial, trial_cost, total + delta
            (pairs, excess), damping = overlaps, damping * DAMPING_DECREASE
            if not len(excess) or gain < 1e-3 * cost:
                break
        else:
            damping = max(damping, 1e-3) * DAMPING_INCREASE
    return current
