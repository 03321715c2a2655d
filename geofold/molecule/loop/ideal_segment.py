"""A new loop of ideal geometry between two anchors: hung from the one before, its torsions turned until it meets the
one after.

Glossary: ``B`` draws, ``n`` new residues, ``t`` torsions of the bridge, ``m`` its local atoms.

The bridge is a peptide of n + 2 residues. Its first lies on the residue before the gap, by C, CA and O, so that the
first new N stands where that residue's psi puts it. Its last is a ghost of the residue after the gap, with the N-CA-C
geometry of that residue itself. Where the ghost's N, CA and C come to lie on the file's, the loop is closed with ideal
bonds, angles and omega, whatever the geometry of the anchors. A cis bond is asked for by the plan of the build.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import dihedral, wrap
from geofold.molecule.ideal_peptide import PHI, PROLINE_PHI, PSI, peptide
from geofold.molecule.kinematics.forward import Kinematics, carry, frames
from geofold.molecule.kinematics.inverse import meet
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.sidechains.rotamer_library import SAME_AS, backbone_frames, letter_of
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

ENDS = ("N", "CA", "C")


@dataclass(frozen=True)
class Bridge:
    """A peptide between the anchors of a gap.

    Attributes
    ----------
    peptide : Structure
        Residue 0 on the anchor before, residues 1 to n the new ones, n + 1 the ghost; extended, open.
    tree, kin
        Torsions of residues 1 to n + 1.
    turning : (t,) bool
        Torsions that may turn.
    ends : (3,) int
        Local rows of the ghost's N, CA, C.
    target : (3, 3)
        Where they belong, nm.
    """

    peptide: Structure
    tree: TorsionTree
    kin: Kinematics
    turning: Tensor
    ends: Tensor
    target: Tensor

    @classmethod
    def of(cls, structure: Structure, build: Build, altloc: str | None = None) -> Bridge:
        """Bridge over a gap, or over what is to be built anew."""
        steering = structure.steering(altloc)
        letters = _letter(structure, build.before) + build.sequence + _letter(structure, build.after)
        made = peptide(letters, [
            (PROLINE_PHI if letter == "P" else PHI, PSI, 0.0 if k - 1 in build.cis else 180.0)
            for k, letter in enumerate(letters)
        ])  # fmt: skip
        last = len(letters) - 1

        def own(k: int, *names: str) -> list[int]:
            return [a for name in names if (a := made.atom(k, name, made.steering_mask)) is not None]

        def given(k: int, *names: str) -> Floats:
            return structure.xyz[[a for name in names if (a := structure.atom(k, name, steering)) is not None]]

        rotation, origin = backbone_frames(*made.xyz[own(0, "O", "C", "CA")])
        turned, place = backbone_frames(*given(build.before, "O", "C", "CA"))
        xyz = (made.xyz - origin) @ rotation.T @ turned + place
        after, held = given(build.after, *ENDS), _held_phi(structure, build.after, steering)
        carbon, ghost = xyz[own(last - 1, "C")[0]], own(last, *ENDS)
        xyz[ghost] = _ghost(carbon, xyz[ghost], after, math.radians(PHI) if held is None else held)
        made = replace(made, xyz=xyz)
        tree = torsion_tree(made, 1, last, chi=False)
        kin = Kinematics.of(tree)
        kind = np.array(tree.kind)
        turning = (tree.residue < last) | ((kind == "phi") & (held is None))
        return cls(made, tree, kin, torch.as_tensor(turning), kin.local(ghost), torch.as_tensor(after))

    @property
    def reach(self) -> tuple[float, float]:
        """Distance from the C before to the N after the gap, and what the new residues could span at most (nm)."""
        carbon = self.peptide.atom(0, "C", self.peptide.steering_mask)
        nitrogen = self.peptide.atom(len(self.peptide.residues) - 1, "N", self.peptide.steering_mask)
        row = self.kin.local([nitrogen or 0])
        straight = np.full((1, len(self.peptide.residues) - 1, 2), np.pi)
        there = carry(self.kin, frames(self.kin, self._start(1), self.increments(straight)), self._start(1), row)
        from_here = torch.as_tensor(self.peptide.xyz[carbon])
        return float((self.target[0] - from_here).norm()), float((there[0, 0] - from_here).norm())

    def increments(self, torsions: np.ndarray) -> Tensor:
        """Increments (B, t) on the extended bridge that give phi and psi (B, n + 1, 2), as far as they may turn."""
        now = backbone_torsions(self.peptide)
        column = [0 if kind == "phi" else 1 for kind in self.tree.kind]
        wanted = torsions[:, self.tree.residue - 1, column] - now[self.tree.residue, column]
        wanted = wrap(np.nan_to_num(wanted))
        return torch.as_tensor(wanted) * self.turning

    def close(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Increments (B, t) turned as little as it takes to close the loop, and whether each closed, (B,)."""
        return meet(self.kin, self._start(len(delta)), delta, self.ends, self.target, self.turning)

    def places(self, delta: Tensor) -> tuple[list[tuple[str, ...]], Floats]:
        """Names of the backbone and CB atoms of each new residue, and the places (B, all of them, 3) after turning."""
        names, rows = [], []
        for k in range(1, len(self.peptide.residues) - 1):
            own = [(name, self.peptide.atom(k, name, self.peptide.steering_mask)) for name in (*ENDS, "O", "CB")]
            names.append(tuple(name for name, atom in own if atom is not None))
            rows += [atom for _, atom in own if atom is not None]
        xyz = self._start(len(delta))
        # what no torsion carries and no axis needs (the N of a leading proline) is not among the local atoms
        places = np.repeat(self.peptide.xyz[None], len(delta), 0)
        places[:, self.kin.atoms.numpy()] = carry(self.kin, frames(self.kin, xyz, delta), xyz).numpy()
        return names, places[:, rows]

    def _start(self, rows: int) -> Tensor:
        return torch.as_tensor(self.peptide.xyz)[self.kin.atoms].expand(rows, -1, -1)


def _letter(structure: Structure, k: int) -> str:
    """What an anchor counts as; alanine where it is none of the twenty amino acids."""
    name = structure.residues[k].resname
    return letter_of(SAME_AS.get(name, name)).replace("-", "A")


def _held_phi(structure: Structure, k: int, steering: np.ndarray) -> float | None:
    """Phi (radian) that a residue's proline ring or amide hydrogen asks for; None where it is free."""
    n, ca, c = (structure.xyz[structure.atom(k, name, steering)] for name in ENDS)
    for name in ("CD", "H", "HN", "D"):
        atom = structure.atom(k, name, steering)
        if atom is not None and np.linalg.norm(structure.xyz[atom] - n) < 0.17:
            return float(dihedral(structure.xyz[atom], n, ca, c)) + math.pi
    return math.radians(PROLINE_PHI) if structure.residues[k].resname == "PRO" else None


def _ghost(carbon: Floats, ideal: Floats, own: Floats, phi: float) -> Floats:
    """N, CA, C (3, 3) of the ghost: N and the direction to CA are ideal, the rest is the residue's own, at a phi."""
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
