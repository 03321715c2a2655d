"""A new chain end of ideal geometry on its anchor; all of its torsions are free.

Glossary: ``B`` samples, ``n`` new residues, ``t`` torsions of the peptide.

The chain end is a peptide of n + 1 residues, one of which is the anchor. After residue `before`, it is superposed by
C, CA and O, so that the psi of the anchor determines the first new N. Before residue `after`, it is superposed by N, CA
and C, and turns about the anchor's phi, unless an amide hydrogen or proline's ring fixes that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import wrap
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.kinematics.forward import Kinematics
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.ideal_segment import anchor_letter, coordinates_of, fixed_phi
from geofold.molecule.sidechains.packing import backbone_torsions
from geofold.molecule.sidechains.rotamer_library import backbone_frames
from geofold.molecule.structure import Floats, Structure
from geofold.molecule.topology.torsion_tree import TorsionTree, torsion_tree

SUPERPOSED = {"after": ("O", "C", "CA"), "before": ("C", "N", "CA")}
"""Atoms of the anchor that the peptide is superposed by, on each side; the second is the one that is bonded to it."""


@dataclass(frozen=True)
class OpenSegment:
    """A peptide on the anchor of a chain end.

    Attributes
    ----------
    peptide : Structure
        Extended peptide whose first or last residue lies on the anchor.
    tree : TorsionTree
        Torsions of the peptide, seen from the anchor.
    kinematics : Kinematics
        Forward kinematics of the tree.
    anchor : int
        Residue of the peptide that lies on the anchor: the first or the last one.
    fixed_phi : float or None
        Phi of the anchor (radian) if it cannot turn.
    """

    peptide: Structure
    tree: TorsionTree
    kinematics: Kinematics
    anchor: int
    fixed_phi: float | None = None

    @classmethod
    def of(cls, structure: Structure, build: BuildPlan, altloc: str | None = None) -> OpenSegment:
        """Segment on the anchor of a plan."""
        conformer, letter = structure.conformer(altloc), anchor_letter(structure, build.anchor)
        is_start = build.side == "before"
        ideal = peptide(build.sequence + letter if is_start else letter + build.sequence)
        anchor, names = len(build.names) if is_start else 0, SUPERPOSED[build.side]

        def axes(present: Structure, k: int, mask: np.ndarray) -> tuple[Floats, Floats]:
            return backbone_frames(*(present.xyz[present.atom(k, name, mask)] for name in names))

        rotation, origin = axes(ideal, anchor, ideal.conformer_mask)
        target_rotation, target_origin = axes(structure, build.anchor, conformer)
        ideal = replace(ideal, xyz=(ideal.xyz - origin) @ rotation.T @ target_rotation + target_origin)
        tree = torsion_tree(ideal, 0, len(ideal.residues) - 1, chi=False, root=anchor)
        phi = fixed_phi(structure, build.anchor, conformer) if is_start else None
        return cls(ideal, tree, Kinematics.of(tree), anchor, phi)

    def increments(self, torsions: Floats) -> Tensor:
        """Increments (B, t) of the extended peptide that give phi and psi (B, n or n + 1, 2), as sampled."""
        residue, is_phi = self.tree.residue, np.array(self.tree.kind) == "phi"
        if self.anchor and self.fixed_phi is not None:
            torsions = torsions.copy()
            torsions[:, self.anchor, 0] = self.fixed_phi
        column = residue - (self.anchor == 0)
        free = np.where(residue == self.anchor, is_phi & (self.anchor > 0), True)
        current = backbone_torsions(self.peptide)[residue, np.where(is_phi, 0, 1)]
        delta = wrap(np.nan_to_num(torsions[:, np.where(free, column, 0), np.where(is_phi, 0, 1)] - current))
        return torch.as_tensor(delta * free)

    def coordinates(self, delta: Tensor) -> tuple[list[tuple[str, ...]], Floats]:
        """Names of the backbone and CB atoms of each new residue, and their coordinates (B, atoms, 3) in nm."""
        new = [k for k in range(len(self.peptide.residues)) if k != self.anchor]
        return coordinates_of(self.peptide, self.kinematics, new, delta)
