"""A new loop of ideal geometry between two anchors, closed by inverse kinematics.

Glossary: ``B`` samples, ``n`` new residues, ``t`` torsions of the bridge, ``m`` its local atoms.

The bridge is a peptide of n + 2 residues. Its first residue is superposed on the residue before the gap by C, CA and
O, so that the psi of that residue determines the first new N. Its last residue is a ghost of the residue after the
gap and has the N-CA-C geometry of that residue. Once the N, CA and C of the ghost coincide with those in the file, the
loop is closed with ideal bonds, angles and omega, whatever the geometry of the anchors. The plan lists cis bonds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import dihedral, wrap
from geofold.molecule.io.ideal_peptide import PHI, PROLINE_PHI, PSI, peptide
from geofold.molecule.kinematics.forward import Kinematics, carry, frames
from geofold.molecule.kinematics.inverse import meet, meet_near
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.residues import BACKBONE, SAME_AS, letter_of
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.sidechains.rotamer_library import backbone_frames
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

ENDS = ("N", "CA", "C")


@dataclass(frozen=True)
class Bridge:
    """A peptide between the anchors of a gap.

    Attributes
    ----------
    peptide : Structure
        Extended, open peptide: residue 0 lies on the anchor before the gap, residues 1 to n are new, n + 1 is the
        ghost.
    tree : TorsionTree
        Torsions of residues 1 to n + 1.
    kin : Kinematics
        Forward kinematics of the tree.
    turning : (t,) bool
        Rotatable torsions.
    ends : (3,) int
        Local rows of the N, CA and C of the ghost.
    target : (3, 3) float
        Target coordinates of these atoms, nm.
    """

    peptide: Structure
    tree: TorsionTree
    kin: Kinematics
    turning: Tensor
    ends: Tensor
    target: Tensor

    @classmethod
    def of(cls, structure: Structure, build: Build, altloc: str | None = None) -> Bridge:
        """Bridge between the anchors of a plan."""
        steering = structure.steering(altloc)
        letters = _letter(structure, build.before) + build.sequence + _letter(structure, build.after)
        made = peptide(
            letters,
            [
                (PROLINE_PHI if letter == "P" else PHI, PSI, 0.0 if k - 1 in build.cis else 180.0)
                for k, letter in enumerate(letters)
            ],
        )
        last = len(letters) - 1

        def own(k: int, *names: str) -> list[int]:
            return [a for name in names if (a := made.atom(k, name, made.steering_mask)) is not None]

        def given(k: int, *names: str) -> Floats:
            return structure.xyz[[a for name in names if (a := structure.atom(k, name, steering)) is not None]]

        rotation, origin = backbone_frames(*made.xyz[own(0, "O", "C", "CA")])
        target_rotation, target_origin = backbone_frames(*given(build.before, "O", "C", "CA"))
        xyz = (made.xyz - origin) @ rotation.T @ target_rotation + target_origin
        anchor, fixed_phi = given(build.after, *ENDS), _held_phi(structure, build.after, steering)
        carbon, ghost = xyz[own(last - 1, "C")[0]], own(last, *ENDS)
        xyz[ghost] = _ghost(carbon, xyz[ghost], anchor, math.radians(PHI) if fixed_phi is None else fixed_phi)
        made = replace(made, xyz=xyz)
        tree = torsion_tree(made, 1, last, chi=False)
        kin = Kinematics.of(tree)
        kind = np.array(tree.kind)
        turning = (tree.residue < last) | ((kind == "phi") & (fixed_phi is None))
        return cls(made, tree, kin, torch.as_tensor(turning), kin.local(ghost), torch.as_tensor(anchor))

    @property
    def reach(self) -> tuple[float, float]:
        """Distance from the C before to the N after the gap, and the largest distance the residues can span (nm)."""
        carbon = self.peptide.atom(0, "C", self.peptide.steering_mask)
        nitrogen = self.peptide.atom(len(self.peptide.residues) - 1, "N", self.peptide.steering_mask)
        row = self.kin.local([nitrogen or 0])
        straight = np.full((1, len(self.peptide.residues) - 1, 2), np.pi)
        extended = carry(self.kin, frames(self.kin, self._start(1), self.increments(straight)), self._start(1), row)
        start = torch.as_tensor(self.peptide.xyz[carbon])
        return float((self.target[0] - start).norm()), float((extended[0, 0] - start).norm())

    def increments(self, torsions: np.ndarray) -> Tensor:
        """Increments (B, t) of the extended bridge that give phi and psi (B, n + 1, 2); zero for fixed torsions."""
        current = backbone_torsions(self.peptide)
        column = [0 if kind == "phi" else 1 for kind in self.tree.kind]
        delta = torsions[:, self.tree.residue - 1, column] - current[self.tree.residue, column]
        delta = wrap(np.nan_to_num(delta))
        return torch.as_tensor(delta) * self.turning

    def close(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Closest increments (B, t) that close the loop, and whether each row closed, (B,)."""
        return meet(self.kin, self._start(len(delta)), delta, self.ends, self.target, self.turning)

    def fit(self, delta: Tensor, backbone: Tensor) -> tuple[Tensor, Tensor]:
        """Increments (B, t) that close the loop as near to given coordinates as its ideal geometry allows.

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
            if (atom := self.peptide.atom(k, name, self.peptide.steering_mask)) is not None
        ]
        local = self.kin.atoms.tolist()
        movable = [column for column, atom in enumerate(atoms) if atom in local]
        rows = self.kin.local([atoms[column] for column in movable])
        target = backbone.flatten(1, 2)[:, movable]
        return meet_near(self.kin, self._start(len(delta)), delta, rows, target, self.ends, self.target, self.turning)

    def places(self, delta: Tensor) -> tuple[list[tuple[str, ...]], Floats]:
        """Names of the backbone and CB atoms of each new residue, and their coordinates (B, atoms, 3) in nm."""
        names, rows = [], []
        for k in range(1, len(self.peptide.residues) - 1):
            atoms = [(name, self.peptide.atom(k, name, self.peptide.steering_mask)) for name in (*ENDS, "O", "CB")]
            names.append(tuple(name for name, atom in atoms if atom is not None))
            rows += [atom for _, atom in atoms if atom is not None]
        xyz = self._start(len(delta))
        # an atom that no torsion moves and no axis needs (the N of a leading proline) is not a local atom
        coordinates = np.repeat(self.peptide.xyz[None], len(delta), 0)
        coordinates[:, self.kin.atoms.numpy()] = carry(self.kin, frames(self.kin, xyz, delta), xyz).numpy()
        return names, coordinates[:, rows]

    def _start(self, rows: int) -> Tensor:
        return torch.as_tensor(self.peptide.xyz)[self.kin.atoms].expand(rows, -1, -1)


def _letter(structure: Structure, k: int) -> str:
    """One-letter code of an anchor; alanine for a non-standard residue."""
    name = structure.residues[k].resname
    return letter_of(SAME_AS.get(name, name)).replace("-", "A")


def _held_phi(structure: Structure, k: int, steering: np.ndarray) -> float | None:
    """Phi (radian) fixed by the proline ring or the amide hydrogen of a residue; None if it is free."""
    n, ca, c = (structure.xyz[structure.atom(k, name, steering)] for name in ENDS)
    for name in ("CD", "H", "HN", "D"):
        atom = structure.atom(k, name, steering)
        if atom is not None and np.linalg.norm(structure.xyz[atom] - n) < 0.17:
            return float(dihedral(structure.xyz[atom], n, ca, c)) + math.pi
    return math.radians(PROLINE_PHI) if structure.residues[k].resname == "PRO" else None


def _ghost(carbon: Floats, ideal: Floats, own: Floats, phi: float) -> Floats:
    """N, CA, C (3, 3) of the ghost for a given phi: N and the N-CA direction are ideal, the rest is the residue's."""
    n = ideal[0]
    along = (ideal[1] - n) / np.linalg.norm(ideal[1] - n)
    ca = n + np.linalg.norm(own[1] - own[0]) * along
    arm, bond = own[0] - own[1], own[2] - own[1]
    length = np.linalg.norm(bond)
    cosine = float(arm @ bond / (np.linalg.norm(arm) * length))
    normal = np.cross(n - carbon, along)
    normal /= np.linalg.norm(normal)
    side = np.cross(normal, along)
    sine = math.sqrt(1 - cosine**2)
    return np.stack([n, ca, ca + length * (-cosine * along + sine * (math.cos(phi) * side + math.sin(phi) * normal))])
