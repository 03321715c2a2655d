"""A new loop of ideal geometry between two anchors, closed by inverse kinematics.

Glossary: ``B`` samples, ``n`` new residues, ``t`` torsions of the segment, ``m`` its local atoms.

The segment is a peptide of n + 2 residues. Its first residue is superposed on the residue before the gap by C, CA and
O, so that the psi of that residue determines the first new N. Its last residue is a ghost of the residue after the
gap and has its N-CA-C geometry. Once the N, CA and C of the ghost coincide with those in the file, the
loop is closed with ideal bonds, angles and omega, independently of the anchors. The plan lists the cis bonds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import dihedral, wrap
from geofold.molecule.io.ideal_peptide import PHI, PROLINE_PHI, PSI, peptide
from geofold.molecule.kinematics.forward import Kinematics, frames, transform_atoms
from geofold.molecule.kinematics.inverse import solve_ik, solve_ik_near
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.residues import BACKBONE, STANDARD_PARENT, one_letter_code
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.sidechains.rotamer_library import backbone_frames
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

ENDS = ("N", "CA", "C")


@dataclass(frozen=True)
class IdealSegment:
    """A peptide between the anchors of a gap.

    Attributes
    ----------
    peptide : Structure
        Extended, open peptide: residue 0 lies on the anchor before the gap, residues 1 to n are new, n + 1 is the
        ghost.
    tree : TorsionTree
        Torsions of residues 1 to n + 1.
    kinematics : Kinematics
        Forward kinematics of the tree.
    rotatable : (t,) bool
        Rotatable torsions.
    ghost_rows : (3,) int
        Local rows of the N, CA and C of the ghost.
    target : (3, 3) float
        Target coordinates of these atoms, nm.
    """

    peptide: Structure
    tree: TorsionTree
    kinematics: Kinematics
    rotatable: Tensor
    ghost_rows: Tensor
    target: Tensor

    @classmethod
    def of(cls, structure: Structure, build: BuildPlan, altloc: str | None = None) -> IdealSegment:
        """Segment between the anchors of a plan."""
        conformer = structure.conformer(altloc)
        letters = anchor_letter(structure, build.before) + build.sequence + anchor_letter(structure, build.after)
        ideal = peptide(
            letters,
            [
                (PROLINE_PHI if letter == "P" else PHI, PSI, 0.0 if k - 1 in build.cis else 180.0)
                for k, letter in enumerate(letters)
            ],
        )
        last = len(letters) - 1

        def peptide_atoms(k: int, *names: str) -> list[int]:
            return [a for name in names if (a := ideal.atom(k, name, ideal.conformer_mask)) is not None]

        def anchor_xyz(k: int, *names: str) -> Floats:
            return structure.xyz[[a for name in names if (a := structure.atom(k, name, conformer)) is not None]]

        rotation, origin = backbone_frames(*ideal.xyz[peptide_atoms(0, "O", "C", "CA")])
        target_rotation, target_origin = backbone_frames(*anchor_xyz(build.before, "O", "C", "CA"))
        xyz = (ideal.xyz - origin) @ rotation.T @ target_rotation + target_origin
        anchor, known_phi = anchor_xyz(build.after, *ENDS), fixed_phi(structure, build.after, conformer)
        carbon, ghost = xyz[peptide_atoms(last - 1, "C")[0]], peptide_atoms(last, *ENDS)
        xyz[ghost] = _ghost(carbon, xyz[ghost], anchor, math.radians(PHI) if known_phi is None else known_phi)
        ideal = replace(ideal, xyz=xyz)
        tree = torsion_tree(ideal, 1, last, chi=False)
        kinematics = Kinematics.of(tree)
        kind = np.array(tree.kind)
        rotatable = (tree.residue < last) | ((kind == "phi") & (known_phi is None))
        return cls(
            ideal, tree, kinematics, torch.as_tensor(rotatable), kinematics.local_rows(ghost), torch.as_tensor(anchor)
        )

    @property
    def reach(self) -> tuple[float, float]:
        """Distance from the C before to the N after the gap, and the largest distance the residues can span (nm)."""
        carbon = self.peptide.atom(0, "C", self.peptide.conformer_mask)
        nitrogen = self.peptide.atom(len(self.peptide.residues) - 1, "N", self.peptide.conformer_mask)
        row = self.kinematics.local_rows([nitrogen or 0])
        straight = np.full((1, len(self.peptide.residues) - 1, 2), np.pi)
        extended = transform_atoms(
            self.kinematics, frames(self.kinematics, self._start(1), self.increments(straight)), self._start(1), row
        )
        start = torch.as_tensor(self.peptide.xyz[carbon])
        return float((self.target[0] - start).norm()), float((extended[0, 0] - start).norm())

    def increments(self, torsions: np.ndarray) -> Tensor:
        """Increments (B, t) of the extended segment that give phi and psi (B, n + 1, 2); zero for fixed torsions."""
        current = backbone_torsions(self.peptide)
        column = [0 if kind == "phi" else 1 for kind in self.tree.kind]
        delta = torsions[:, self.tree.residue - 1, column] - current[self.tree.residue, column]
        delta = wrap(np.nan_to_num(delta))
        return torch.as_tensor(delta) * self.rotatable

    def close(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Closest increments (B, t) that close the loop, and whether each row closed, (B,)."""
        return solve_ik(self.kinematics, self._start(len(delta)), delta, self.ghost_rows, self.target, self.rotatable)

    def fit(self, delta: Tensor, backbone: Tensor) -> tuple[Tensor, Tensor]:
        """Close the loop as near to given coordinates as its ideal geometry allows.

        Parameters
        ----------
        delta : (B, t)
            Increments to begin with, radian.
        backbone : (B, n, 4, 3)
            N, CA, C and O of the new residues (nm).

        Returns
        -------
        (B, t), (B,) bool
            Increments, and which rows closed.
        """
        atoms = [
            atom
            for k in range(1, len(self.peptide.residues) - 1)
            for name in BACKBONE
            if (atom := self.peptide.atom(k, name, self.peptide.conformer_mask)) is not None
        ]
        local = self.kinematics.atoms.tolist()
        movable = [column for column, atom in enumerate(atoms) if atom in local]
        rows = self.kinematics.local_rows([atoms[column] for column in movable])
        target = backbone.flatten(1, 2)[:, movable]
        return solve_ik_near(
            self.kinematics, self._start(len(delta)), delta, rows, target, self.ghost_rows, self.target, self.rotatable
        )

    def coordinates(self, delta: Tensor) -> tuple[list[tuple[str, ...]], Floats]:
        """Names of the backbone and CB atoms of each new residue, and their coordinates (B, atoms, 3) in nm."""
        return coordinates_of(self.peptide, self.kinematics, range(1, len(self.peptide.residues) - 1), delta)

    def _start(self, rows: int) -> Tensor:
        return torch.as_tensor(self.peptide.xyz)[self.kinematics.atoms].expand(rows, -1, -1)


def coordinates_of(
    peptide: Structure, kinematics: Kinematics, residues: Iterable[int], delta: Tensor
) -> tuple[list[tuple[str, ...]], Floats]:
    """Names of the backbone and CB atoms of residues of a peptide, and their coordinates once its torsions turned.

    Parameters
    ----------
    peptide : Structure
    kinematics : Kinematics
        Of the peptide.
    residues : iterable of int
    delta : (B, t)
        Increments, radian.

    Returns
    -------
    list of tuple of str, (B, atoms, 3)
        Coordinates in nm.
    """
    names, rows = [], []
    for k in residues:
        atoms = [(name, peptide.atom(k, name, peptide.conformer_mask)) for name in (*ENDS, "O", "CB")]
        names.append(tuple(name for name, atom in atoms if atom is not None))
        rows += [atom for _, atom in atoms if atom is not None]
    xyz = torch.as_tensor(peptide.xyz)[kinematics.atoms].expand(len(delta), -1, -1)
    # an atom that no torsion moves and no axis needs (the N of a leading proline) is not a local atom
    coordinates = np.repeat(peptide.xyz[None], len(delta), 0)
    coordinates[:, kinematics.atoms.numpy()] = transform_atoms(kinematics, frames(kinematics, xyz, delta), xyz).numpy()
    return names, coordinates[:, rows]


def anchor_letter(structure: Structure, k: int) -> str:
    """One-letter code of an anchor; alanine for a non-standard residue."""
    name = structure.residues[k].resname
    return one_letter_code(STANDARD_PARENT.get(name, name)).replace("-", "A")


def fixed_phi(structure: Structure, k: int, conformer: np.ndarray) -> float | None:
    """Phi (radian) fixed by the proline ring or the amide hydrogen of a residue; None if it is free."""
    n, ca, c = (structure.xyz[structure.atom(k, name, conformer)] for name in ENDS)
    for name in ("CD", "H", "HN", "D"):
        atom = structure.atom(k, name, conformer)
        if atom is not None and np.linalg.norm(structure.xyz[atom] - n) < 0.17:
            return float(dihedral(structure.xyz[atom], n, ca, c)) + math.pi
    return math.radians(PROLINE_PHI) if structure.residues[k].resname == "PRO" else None


def _ghost(carbon: Floats, ideal: Floats, peptide_atoms: Floats, phi: float) -> Floats:
    """N, CA, C (3, 3) of the ghost for a given phi: N and the N-CA direction are ideal, the rest is the residue's."""
    n = ideal[0]
    along = (ideal[1] - n) / np.linalg.norm(ideal[1] - n)
    ca = n + np.linalg.norm(peptide_atoms[1] - peptide_atoms[0]) * along
    arm, bond = peptide_atoms[0] - peptide_atoms[1], peptide_atoms[2] - peptide_atoms[1]
    length = np.linalg.norm(bond)
    cosine = float(arm @ bond / (np.linalg.norm(arm) * length))
    normal = np.cross(n - carbon, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    sine = math.sqrt(1 - cosine**2)
    return np.stack([n, ca, ca + length * (-cosine * along + sine * (math.cos(phi) * side + math.sin(phi) * normal))])
