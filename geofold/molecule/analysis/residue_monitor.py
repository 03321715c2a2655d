"""Torsions, severe overlaps and Ramachandran state of chosen residues, for coordinates from another program.

Nothing is known of what moves: in a simulation everything does. Distances are taken as they are, without minimum
images, so molecules have to be whole.

Glossary: ``r`` chosen residues, ``h`` heavy atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.geometry import dihedral_of_points
from geofold.molecule.energy.ramachandran import classify, percentile, ramachandran_class
from geofold.molecule.energy.vdw_radii import EXCLUDED_BONDS, POLAR, SEVERE_OVERLAP, contact_distance, radius_of
from geofold.molecule.selection import find_range
from geofold.molecule.structure import WATER, Floats, Structure
from geofold.molecule.topology.bonds import adjacency_list, bond_list, pairs_within_bonds

Ints = NDArray[np.int64]


class Seen(NamedTuple):
    """One set of coordinates.

    phi, psi, omega : (r,) radian, NaN where undefined; omega is that of the bond before the residue.
    percentile, verdict : (r,) see `geofold.molecule.energy.ramachandran`.
    overlaps : (r,) how many severe overlaps a residue has part in, within itself or with anything but water.
    pairs : (p, 2) atoms of the severe overlaps, each once, the lower one first.
    """

    phi: Floats
    psi: Floats
    omega: Floats
    percentile: Floats
    verdict: Ints
    overlaps: Ints
    pairs: Ints


@dataclass(frozen=True, eq=False)
class Watch:
    """Reference data for the evaluation of coordinates; build it with `Watch.of`.

    Attributes
    ----------
    structure : Structure
    residues : (r,) int
        Those that are watched.
    torsions : (3, r, 4) int
        Atoms of phi, psi and omega, -1 where there is none.
    own, heavy : (k,), (h,) int
        Heavy atoms of the chosen residues, and all; waters apart.
    near : (x,) int
        Pairs that do not count, as row of `own` times h plus row of `heavy`.
    """

    structure: Structure
    residues: Ints
    torsions: Ints
    own: Ints
    heavy: Ints
    near: Ints
    radius: Floats
    polar: NDArray[np.bool_]

    @classmethod
    def of(cls, structure: Structure, ranges: Sequence[str] = (), altloc: str | None = None) -> Watch:
        """Watch ranges such as ``A:45-56``, or every amino acid.

        Raises
        ------
        GeofoldError
            For a range that cannot be read or is not there.
        """
        steering = structure.steering(altloc)
        spans = [find_range(structure, text) for text in ranges]
        every = [k for k in range(len(structure.residues)) if structure.is_amino_acid(k)]
        chosen = np.array(sorted({k for a, b in spans for k in range(a, b + 1)}) if spans else every, dtype=np.int64)
        heavy = np.array([radius_of(str(element)) > 0 for element in structure.element]) & steering
        atoms = np.flatnonzero(heavy & ~np.isin(structure.resname, list(WATER)))
        own = atoms[np.isin(structure.residue_of[atoms], chosen)]
        row, column = ({int(a): k for k, a in enumerate(part)} for part in (own, atoms))
        table = adjacency_list(bond_list(structure, steering), len(structure))
        near = [
            row[a] * len(atoms) + column[b] for a, b in pairs_within_bonds(table, own, EXCLUDED_BONDS) if b in column
        ]
        return cls(
            structure,
            chosen,
            _torsions(structure, chosen, steering),
            own,
            atoms,
            np.array(near, dtype=np.int64),
            np.array([radius_of(str(e)) for e in structure.element[atoms]]),
            np.isin(structure.element[atoms], list(POLAR)),
        )

    def look(self, xyz: Floats) -> Seen:
        """Numbers of coordinates (n_atoms, 3) in nm, all finite."""
        there: NDArray[np.bool_] = np.all(self.torsions >= 0, axis=-1)
        points = torch.as_tensor(xyz[self.torsions.clip(0)])
        phi, psi, omega = np.where(there, dihedral_of_points(points).numpy(), np.nan)
        names = [residue.resname for residue in self.structure.residues]
        kind = np.array(
            [
                ramachandran_class(
                    names[k], names[k + 1] if psi_there else None, None if np.isnan(turn) else float(turn)
                )
                for k, psi_there, turn in zip(self.residues.tolist(), there[1], omega, strict=True)
            ],
            dtype=np.int64,
        )
        percentiles = percentile(phi, psi, kind)
        pairs = self._severe(xyz)
        ends = self.structure.residue_of[pairs]
        # a pair within one residue is one overlap of it
        counted = np.concatenate([ends[:, 0], ends[ends[:, 0] != ends[:, 1], 1]])
        overlaps = np.bincount(counted, minlength=len(names))[self.residues]
        return Seen(phi, psi, omega, percentiles, classify(percentiles, kind), overlaps, pairs)

    def _severe(self, xyz: Floats) -> Ints:
        reach = 2 * self.radius.max(initial=0.0) - SEVERE_OVERLAP
        found = cKDTree(xyz[self.own]).sparse_distance_matrix(cKDTree(xyz[self.heavy]), reach, output_type="ndarray")
        i, j, apart = found["i"].astype(np.int64), found["j"].astype(np.int64), found["v"]
        at = np.searchsorted(self.heavy, self.own)[i]
        touching = contact_distance(self.radius, self.polar, at, j)
        counts = (at != j) & (touching - apart >= SEVERE_OVERLAP) & ~np.isin(i * len(self.heavy) + j, self.near)
        pairs = np.sort(np.stack([self.own[i[counts]], self.heavy[j[counts]]], -1), axis=1)
        return np.unique(pairs, axis=0)


def _torsions(structure: Structure, chosen: Ints, steering: NDArray[np.bool_]) -> Ints:
    """Atoms of phi, psi and omega (3, r, 4) of residues that are bonded to their neighbours."""
    found = np.full((3, len(chosen), 4), -1, dtype=np.int64)
    last = len(structure.residues) - 1

    def put(which: int, row: int, *named: tuple[int, str]) -> None:
        atoms = [atom for k, name in named if (atom := structure.atom(k, name, steering)) is not None]
        if len(atoms) == len(named):
            found[which, row] = atoms

    for row, k in enumerate(chosen.tolist()):
        if k > 0 and structure.bonded(k - 1, k):
            put(0, row, (k - 1, "C"), (k, "N"), (k, "CA"), (k, "C"))
            put(2, row, (k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA"))
        if k < last and structure.bonded(k, k + 1):
            put(1, row, (k, "N"), (k, "CA"), (k, "C"), (k + 1, "N"))
    return found
