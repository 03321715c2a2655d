"""Torsions, severe overlaps and Ramachandran state of chosen residues, for coordinates from another program.

All atoms may move. Distances are computed without minimum images, so molecules have to be whole.

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
from geofold.molecule.selection import find_range
from geofold.molecule.structure import WATER, Floats, Structure
from geofold.molecule.topology.bonds import bond_graph, pairs_within_bonds
from geofold.molecule.vdw_radii import EXCLUDED_BONDS, POLAR, SEVERE_OVERLAP, contact_distance, radius_of

Ints = NDArray[np.int64]


class ResidueState(NamedTuple):
    """State of the chosen residues for one set of coordinates.

    Attributes
    ----------
    phi, psi, omega : (r,)
        Torsions (radian), NaN if undefined; omega is that of the bond before the residue.
    percentile, verdict : (r,)
        See `geofold.molecule.energy.ramachandran`.
    overlaps : (r,) int
        Number of severe overlaps of each residue, within itself or with anything except water.
    pairs : (p, 2) int
        Atoms of the severe overlaps, each pair once, in ascending order.
    """

    phi: Floats
    psi: Floats
    omega: Floats
    percentile: Floats
    verdict: Ints
    overlaps: Ints
    pairs: Ints


@dataclass(frozen=True, eq=False)
class ResidueMonitor:
    """Reference data for the evaluation of coordinates; build it with `ResidueMonitor.of`.

    Attributes
    ----------
    structure : Structure
        Structure of the coordinates.
    residues : (r,) int
        The chosen residues.
    torsions : (3, r, 4) int
        Atoms of phi, psi and omega, -1 if undefined.
    atoms, heavy : (k,), (h,) int
        Heavy atoms of the chosen residues, and all heavy atoms; excluding waters.
    excluded : (x,) int
        Excluded pairs, as row of `atoms` times h plus row of `heavy`.
    radius : (h,)
        Van der Waals radii (nm) of the heavy atoms.
    polar : (h,) bool
        Whether they can form hydrogen bonds.
    """

    structure: Structure
    residues: Ints
    torsions: Ints
    atoms: Ints
    heavy: Ints
    excluded: Ints
    radius: Floats
    polar: NDArray[np.bool_]

    @classmethod
    def of(cls, structure: Structure, ranges: Sequence[str] = (), altloc: str | None = None) -> ResidueMonitor:
        """Choose ranges such as ``A:45-56``, or every amino acid.

        Raises
        ------
        GeofoldError
            If a range cannot be parsed or is not in the structure.
        """
        conformer = structure.conformer(altloc)
        spans = [find_range(structure, text) for text in ranges]
        amino_acids = [k for k in range(len(structure.residues)) if structure.is_amino_acid(k)]
        chosen = np.array(
            sorted({k for a, b in spans for k in range(a, b + 1)}) if spans else amino_acids, dtype=np.int64
        )
        has_radius = np.array([radius_of(str(element)) > 0 for element in structure.element]) & conformer
        heavy = np.flatnonzero(has_radius & ~np.isin(structure.resname, list(WATER)))
        atoms = heavy[np.isin(structure.residue_of[heavy], chosen)]
        row, column = ({int(a): k for k, a in enumerate(part)} for part in (atoms, heavy))
        table = bond_graph(structure, conformer)
        excluded = [
            row[a] * len(heavy) + column[b] for a, b in pairs_within_bonds(table, atoms, EXCLUDED_BONDS) if b in column
        ]
        return cls(
            structure,
            chosen,
            _torsions(structure, chosen, conformer),
            atoms,
            heavy,
            np.array(excluded, dtype=np.int64),
            np.array([radius_of(str(e)) for e in structure.element[heavy]]),
            np.isin(structure.element[heavy], list(POLAR)),
        )

    def evaluate(self, xyz: Floats) -> ResidueState:
        """Evaluate finite coordinates (n_atoms, 3) in nm."""
        defined: NDArray[np.bool_] = np.all(self.torsions >= 0, axis=-1)
        points = torch.as_tensor(xyz[self.torsions.clip(0)])
        phi, psi, omega = np.where(defined, dihedral_of_points(points).numpy(), np.nan)
        names = [residue.resname for residue in self.structure.residues]
        kind = np.array(
            [
                ramachandran_class(
                    names[k], names[k + 1] if psi_there else None, None if np.isnan(turn) else float(turn)
                )
                for k, psi_there, turn in zip(self.residues.tolist(), defined[1], omega, strict=True)
            ],
            dtype=np.int64,
        )
        percentiles = percentile(phi, psi, kind)
        pairs = self._severe(xyz)
        pair_residues = self.structure.residue_of[pairs]
        # a pair within one residue is one overlap of it
        counted = np.concatenate([pair_residues[:, 0], pair_residues[pair_residues[:, 0] != pair_residues[:, 1], 1]])
        overlaps = np.bincount(counted, minlength=len(names))[self.residues]
        return ResidueState(phi, psi, omega, percentiles, classify(percentiles, kind), overlaps, pairs)

    def _severe(self, xyz: Floats) -> Ints:
        cutoff = 2 * self.radius.max(initial=0.0) - SEVERE_OVERLAP
        close_pairs = cKDTree(xyz[self.atoms]).sparse_distance_matrix(
            cKDTree(xyz[self.heavy]), cutoff, output_type="ndarray"
        )
        i, j, distance = close_pairs["i"].astype(np.int64), close_pairs["j"].astype(np.int64), close_pairs["v"]
        row_of_atom = np.searchsorted(self.heavy, self.atoms)[i]
        touching = contact_distance(self.radius, self.polar, row_of_atom, j)
        severe = (
            (row_of_atom != j)
            & (touching - distance >= SEVERE_OVERLAP)
            & ~np.isin(i * len(self.heavy) + j, self.excluded)
        )
        pairs = np.sort(np.stack([self.atoms[i[severe]], self.heavy[j[severe]]], -1), axis=1)
        return np.unique(pairs, axis=0)


def _torsions(structure: Structure, chosen: Ints, conformer: NDArray[np.bool_]) -> Ints:
    """Atoms of phi, psi and omega (3, r, 4) of residues that are bonded to their neighbours."""
    torsion_atoms = np.full((3, len(chosen), 4), -1, dtype=np.int64)
    last = len(structure.residues) - 1

    def put(torsion: int, row: int, *named: tuple[int, str]) -> None:
        atoms = [atom for k, name in named if (atom := structure.atom(k, name, conformer)) is not None]
        if len(atoms) == len(named):
            torsion_atoms[torsion, row] = atoms

    for row, k in enumerate(chosen.tolist()):
        if k > 0 and structure.bonded(k - 1, k):
            put(0, row, (k - 1, "C"), (k, "N"), (k, "CA"), (k, "C"))
            put(2, row, (k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA"))
        if k < last and structure.bonded(k, k + 1):
            put(1, row, (k, "N"), (k, "CA"), (k, "C"), (k + 1, "N"))
    return torsion_atoms
