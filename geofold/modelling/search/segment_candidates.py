"""Conformations of a segment, a loop or a chain end: their atoms, their domain, and the terms of their cost.

Glossary: ``K`` conformations, ``n`` residues of the segment, ``m`` their atoms.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from geofold.modelling.density import density_of_rows, with_density
from geofold.modelling.options import TORSION_CAP
from geofold.molecule.density.maps import DensityMap
from geofold.molecule.loop.anchors import anchor_outliers
from geofold.molecule.loop.batch_states import cost_of_rows
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.selection import backbone_atoms
from geofold.molecule.structure import Floats, Structure


class SegmentCandidates:
    """Conformations of a segment that is built without side chains.

    Attributes
    ----------
    origin : Structure
        Structure without the segment, or with the residues that it replaces.
    build : BuildPlan
        Residues of the segment and where they go.
    structure : Structure
        Structure with the backbone of the segment in one of its conformations.
    altloc : str or None
        Conformer of the environment.
    density : DensityMap or None
        Map that conformations are fitted to, or ranked by.
    """

    origin: Structure
    build: BuildPlan
    structure: Structure
    altloc: str | None
    density: DensityMap | None

    @property
    def span(self) -> tuple[int, int]:
        """First and last residue of the segment in `structure`, inclusive."""
        return self.build.before + 1, self.build.before + len(self.build.names)

    @cached_property
    def atoms(self) -> np.ndarray:
        """Atoms of the segment in `structure`, (m,) int."""
        return np.flatnonzero(self.structure.atoms_within(*self.span))

    @cached_property
    def domain(self) -> LoopDomain:
        """Domain of the segment without side chains."""
        domain = LoopDomain.of(self.structure, *self.span, cap=TORSION_CAP, altloc=self.altloc)
        return with_density(domain, self.structure, self.density)

    def cost(self, rows: Floats) -> Floats:
        """Cost (K,) of clashes and outliers of conformations (K, m, 3); see `LoopDomain.cost`."""
        return cost_of_rows(self.domain, self.structure, rows)

    def density_cost(self, rows: Floats) -> Floats:
        """Cost (K,) of conformations (K, m, 3) by the density map; zero without one."""
        return density_of_rows(self.domain, self.structure, rows)

    def outlier_after(self, rows: Floats) -> np.ndarray:
        """Whether a conformation makes the residue after the segment a Ramachandran outlier, (K,) bool.

        The phi of that residue is decided by the segment's last carbonyl and never turns again.
        """
        carbon, conformer = self.backbone(rows)[:, -1, 2], self.origin.conformer(self.altloc)
        return anchor_outliers(self.origin, self.build.after, carbon, conformer)

    def backbone(self, rows: Floats) -> Floats:
        """N, CA, C and O (K, n, 4, 3) of conformations (K, m, 3)."""
        return rows[:, self._backbone].reshape(len(rows), len(self.build.names), 4, 3)

    @cached_property
    def _backbone(self) -> np.ndarray:
        atoms = backbone_atoms(self.structure, *self.span, self.structure.conformer(self.altloc))
        return np.searchsorted(self.atoms, np.array(atoms))
