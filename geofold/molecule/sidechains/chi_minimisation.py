"""Natural steps of side chains about their chi axes, from the rotamers that packing chose to where nothing overlaps.

Packing knows rotamers and atoms smaller than they are; what overlaps then by a few tenths of an Angstrom a few degrees
mend. The steps are Gauss-Newton steps of the overlaps, damped by the metric that the motion of the atoms pulls back to
the torsions (Levenberg-Marquardt with that metric in the place of the identity), and cut to a trust region.

Glossary: ``q`` torsions, ``s`` atoms they transform_atoms, ``p`` overlapping pairs. nm and radian.
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
from geofold.molecule.energy.vdw_radii import EXCLUDED_BONDS, MAX_CONTACT, POLAR, contact_distance, radius_of
from geofold.molecule.sidechains.rotamer_library import atoms_beyond, side_chain
from geofold.molecule.structure import WATER, Floats, Mask, Structure
from geofold.molecule.topology.bonds import pairs_within_bonds

MAX_STEPS = 24
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
    """Side chains of some residues that may turn, all else held. Build with `SideChains.of`.

    Attributes
    ----------
    structure : Structure
    residue : (q,) int
        Whose each torsion is.
    quartet : (q, 4) int
        Atoms that each torsion is measured by; it turns about the middle two.
    moved_atoms : (q, n_atoms) bool
        Atoms that turn with it.
    depth : (q,) int
        How many torsions of the same side chain come before.
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
        cls, structure: Structure, residues: Sequence[int], steering: Mask, adjacency: list[list[int]]
    ) -> SideChains:
        """Side chains of those of the residues whose chi atoms are complete."""
        owners, quartets = list[int](), list[list[int]]()
        carried, depth = list[NDArray[np.bool_]](), list[int]()
        for k in residues:
            chain = side_chain(structure.residues[k].resname)
            for number, quartet in enumerate(chain.quartets if chain is not None else ()):
                atoms = [structure.atom(k, name, steering) for name in quartet]
                if any(a is None for a in atoms):
                    break
                quartets.append([int(a) for a in atoms if a is not None])
                own = np.zeros(len(structure), dtype=bool)
                own[sorted(atoms_beyond(adjacency.__getitem__, *quartets[-1][1:3]))] = True
                owners.append(k)
                carried.append(own)
                depth.append(number)
        shape = (len(owners), len(structure))
        return cls(
            structure,
            np.array(owners, dtype=np.int64),
            np.array(quartets, dtype=np.int64).reshape(-1, 4),
            np.array(carried, dtype=bool).reshape(shape),
            np.array(depth, dtype=np.int64),
            adjacency,
        )

    @property
    def axis(self) -> NDArray[np.int64]:
        """Atoms that each torsion turns about, (q, 2)."""
        return self.quartet[:, 1:3]

    def chi(self, xyz: Floats) -> Floats:
        """Torsions (q,) of coordinates (n_atoms, 3)."""
        return np.asarray(dihedral(*(xyz[self.quartet[:, k]] for k in range(4))))

    @cached_property
    def moving(self) -> NDArray[np.int64]:
        """Heavy atoms that any torsion carries."""
        return np.flatnonzero(self.moved_atoms.any(0) & self._heavy)

    @cached_property
    def _heavy(self) -> NDArray[np.bool_]:
        here = self.structure
        return here.steering_mask & (self._radius > 0) & ~np.isin(here.resname, list(WATER))

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
        """Pairs (p, 2) that overlap by more than is tolerated, the first atom a carried one, and by how much more."""
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
        # what turns together keeps its distance
        apart = (self.moved_atoms[:, i] != self.moved_atoms[:, j]).any(0)
        excess = touching - np.linalg.norm(xyz[i] - xyz[j], axis=-1) - OVERLAP_TOLERANCE
        kept = apart & (excess > 0)
        return pairs[kept], excess[kept]

    @cached_property
    def _is_moving(self) -> NDArray[np.bool_]:
        found = np.zeros(len(self.structure), dtype=bool)
        found[self.moving] = True
        return found

    def jacobian(self, xyz: Floats, atoms: NDArray[np.int64]) -> Floats:
        """How atoms (p,) move with each torsion: (p, q, 3), nm per radian."""
        origin = xyz[self.axis[:, 1]]
        along = origin - xyz[self.axis[:, 0]]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        lever = xyz[atoms][:, None] - origin
        return np.cross(along, lever) * self.moved_atoms[:, atoms].T[..., None]

    def rotate(self, xyz: Floats, delta: Floats) -> Floats:
        """Coordinates (n_atoms, 3) after turns (q,), those nearest to the backbone last."""
        xyz = xyz.copy()
        # about axes as they stand: an outer axis has not moved yet when its turn comes
        for k in np.argsort(-self.depth, kind="stable"):
            b, c = self.axis[k]
            axis = (xyz[c] - xyz[b]) / np.linalg.norm(xyz[c] - xyz[b])
            own = self.moved_atoms[k]
            xyz[own] = Rotation.from_rotvec(delta[k] * axis).apply(xyz[own] - xyz[c]) + xyz[c]
        return xyz


def relax_chi(chains: SideChains, xyz: Floats) -> Floats:
    """Coordinates (n_atoms, 3) after natural steps of side chains away from what they overlap, near their torsions."""
    total = np.zeros(len(chains.axis))
    pairs, excess = chains.overlaps(xyz)
    if not len(excess):
        return xyz
    stiff, damping = (OVERLAP_TOLERANCE / RESTRAINT_ANGLE) ** 2, INITIAL_DAMPING
    now, cost = xyz, float((excess**2).sum())
    carried = chains.jacobian(xyz, chains.moving)
    metric = np.einsum("pqi,pri->qr", carried, carried) / max(len(chains.moving), 1)
    for _ in range(MAX_STEPS):
        i, j = pairs.T
        apart = now[i] - now[j]
        apart /= np.linalg.norm(apart, axis=-1, keepdims=True)
        slope = -np.einsum("pqi,pi->pq", chains.jacobian(now, i) - chains.jacobian(now, j), apart)
        down = slope.T @ excess + stiff * total
        curved = slope.T @ slope + stiff * np.eye(len(total)) + damping * metric
        delta = -np.linalg.solve(curved, down)
        delta *= min(1.0, MAX_ROTATION / max(float(np.abs(delta).max()), 1e-12))
        there = chains.rotate(now, delta)
        found = chains.overlaps(there)
        value = float((found[1] ** 2).sum() + stiff * ((total + delta) ** 2).sum())
        if value < cost:
            gain, now, cost, total = cost - value, there, value, total + delta
            (pairs, excess), damping = found, damping * DAMPING_DECREASE
            if not len(excess) or gain < 1e-3 * cost:
                break
        else:
            damping = max(damping, 1e-3) * DAMPING_INCREASE
    return now
