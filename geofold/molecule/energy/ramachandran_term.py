"""Ramachandran term of the loss: phi and psi of a segment as linear functions of the torsion increments.

Each torsion turns about its own bond, so phi and psi are exactly the input's angles plus the increments; computing
them from coordinates would cost a kinematic pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from geofold.geometry import dihedral_of_points
from geofold.kernels.structures import Torsions
from geofold.molecule.energy.ramachandran import OUTLIER, classify, percentile, ramachandran_class
from geofold.molecule.energy.ramachandran_density import RamachandranDensity, shared_density
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree


@dataclass(frozen=True)
class RamachandranTerm:
    """Residues of a segment that have both phi and psi. Build with `RamachandranTerm.of`.

    Attributes
    ----------
    residue : (L,) int
        Index counted from the first residue of the segment; an anchor whose phi turns counts as the last residue.
    phi, psi : (L,) float
        Input angles, radian.
    phi_of, psi_of : (L, n) float
        1 if a torsion is that residue's phi or psi, else 0.
    residue_class : (L,) int
        Ramachandran class.
    density : RamachandranDensity
        Penalty of phi and psi.
    """

    residue: Tensor
    phi: Tensor
    psi: Tensor
    phi_of: Tensor
    psi_of: Tensor
    residue_class: Tensor
    density: RamachandranDensity

    @classmethod
    def of(cls, structure: Structure, tree: TorsionTree, like: Tensor) -> RamachandranTerm:
        """Build the term of the segment that a tree moves; `like` gives the dtype and the device."""
        torsion = {(int(k), kind): j for j, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
        last = max(tree.last, *tree.residue.tolist()) if len(tree) else tree.last  # phi of the anchor may turn
        rows = [r for k in range(tree.first, last + 1) if (r := _row(structure, tree, k)) is not None]
        n = len(tree)
        turn = np.zeros((2, len(rows), n))
        for position, (k, _, _, _) in enumerate(rows):
            for which, kind in enumerate(("phi", "psi")):
                if (k, kind) in torsion:
                    turn[which, position, torsion[(k, kind)]] = 1.0

        def make(values: list[float] | np.ndarray) -> Tensor:
            return torch.as_tensor(values, dtype=like.dtype, device=like.device)

        return cls(
            residue=torch.tensor(
                [min(r[0], tree.last) - tree.first for r in rows], dtype=torch.long, device=like.device
            ),
            phi=make([r[1] for r in rows]),
            psi=make([r[2] for r in rows]),
            phi_of=make(turn[0]),
            psi_of=make(turn[1]),
            residue_class=torch.tensor([r[3] for r in rows], dtype=torch.long, device=like.device),
            density=shared_density(like.dtype, like.device),
        )

    def at(self, angle: Tensor) -> tuple[Tensor, Tensor]:
        """Return phi and psi (B, L) after total increments (B, n)."""
        return self.phi + angle @ self.phi_of.T, self.psi + angle @ self.psi_of.T

    def penalty(self, angle: Tensor) -> Tensor:
        """Evaluate the Ramachandran penalty (B, L): zero in favoured regions, at least one for an outlier."""
        return self.density.penalty(*self.at(angle), self.residue_class)

    def penalty_and_slope(self, angle: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Evaluate `penalty` (B, L), and a function for the derivative (B, n) of its sum by the increments."""
        knots = torch.addmm(self._start, angle, self._turns).unflatten(-1, (2, -1))
        penalty, slopes = self.density.penalty_and_slopes(knots, self._first, self.residue_class)
        return penalty, lambda: slopes().flatten(-2) @ self._turns.mT

    @cached_property
    def _start(self) -> Tensor:
        """(2L,): phi and psi of the input, in knots of the density."""
        return self.density.to_knots(torch.cat([self.phi, self.psi]))

    @cached_property
    def _turns(self) -> Tensor:
        """(n, 2L): derivative of phi, then psi (in knots) by each torsion."""
        return self.density.to_knots(torch.cat([self.phi_of, self.psi_of]).mT.contiguous(), total=False)

    @cached_property
    def _first(self) -> Tensor:
        return self.density.map_offset(self.residue_class)

    @cached_property
    def c_struct(self) -> Torsions:
        """Angles and maps for kernels."""
        turned = torch.stack([self.phi_of, self.psi_of])
        torsion = (
            torch.where(turned.any(-1), turned.argmax(-1), -1)
            if turned.numel()
            else self.residue.new_full((2, len(self.residue)), -1)
        )
        return self.density.c_struct(self._start, torsion, self.residue, self._first, self.residue_class)

    def count_outliers(self, angle: Tensor) -> list[int]:
        """Count the Ramachandran outliers of each row after total increments (B, n), by the percentiles themselves."""
        phi, psi = (a.detach().cpu().numpy() for a in self.at(angle))
        kind = self.residue_class.cpu().numpy()
        return [int((classify(percentile(p, q, kind), kind) == OUTLIER).sum()) for p, q in zip(phi, psi, strict=True)]


def _row(structure: Structure, tree: TorsionTree, k: int) -> tuple[int, float, float, int] | None:
    """Find residue, phi, psi and class; None at an end of the chain."""
    if not (0 < k < len(structure.residues) - 1 and structure.bonded(k - 1, k) and structure.bonded(k, k + 1)):
        return None

    def angle(*atoms: tuple[int, str]) -> float | None:
        indices = [structure.atom(r, name, tree.conformer) for r, name in atoms]
        if any(a is None for a in indices):
            return None
        return float(dihedral_of_points(torch.as_tensor(structure.xyz[np.array(indices, dtype=int)])))

    phi = angle((k - 1, "C"), (k, "N"), (k, "CA"), (k, "C"))
    psi = angle((k, "N"), (k, "CA"), (k, "C"), (k + 1, "N"))
    omega = angle((k - 1, "CA"), (k - 1, "C"), (k, "N"), (k, "CA"))
    if phi is None or psi is None:
        return None
    return k, phi, psi, ramachandran_class(structure.residues[k].resname, structure.residues[k + 1].resname, omega)
