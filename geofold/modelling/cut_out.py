"""Repair of loops in large structures: on their surroundings, whose atoms are all that a loop can feel.

A search passes over all atoms of its structure many times, and the force field without a cutoff takes time with the
square of their number. In a large structure both run on the residues around the loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.modelling.outcome import LoopModel
from geofold.molecule.energy.all_atom import region
from geofold.molecule.sidechains.repacking import RepackedSideChains, select_atoms
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree

LARGEST_WHOLE = 2000
"""Residues of a structure that is not cut."""
REACH = 3.0
"""Distance (nm) of the surroundings from the loops: a loop of sixteen residues reaches 2 nm further at most, and its
force field, its scores and its predictor see 1 nm."""
Range = tuple[int, int]


@dataclass(frozen=True, eq=False)
class CutOut:
    """The residues around some loops of a structure as a structure of their own.

    Attributes
    ----------
    structure, part : Structure
    atoms : (p,) int
        Atoms of the structure that the part is made of.
    residues : (r,) int
        Residues of the structure that the part is made of.
    """

    structure: Structure
    part: Structure
    atoms: NDArray[np.int64]
    residues: NDArray[np.int64]

    @classmethod
    def around(cls, structure: Structure, ranges: Sequence[Range], reach: float = REACH) -> CutOut:
        """Cut out the residues within `reach` (nm) of residues `ranges`, and their neighbours in sequence."""
        residues = np.array(sorted(surroundings(structure, ranges, reach)), dtype=np.int64)
        chosen = np.isin(structure.residue_of, residues)
        return cls(structure, select_atoms(structure, chosen), np.flatnonzero(chosen), residues)

    def inside(self, residues: Range) -> Range:
        """First and last residue in the part of a range of residues of the structure."""
        first, last = np.searchsorted(self.residues, residues).tolist()
        return first, last

    def embed(self, model: LoopModel, altloc: str | None) -> LoopModel:
        """Model of the structure, for a model of the part.

        Parameters
        ----------
        model : LoopModel
        altloc : str or None
            Alternate location that the loop was repaired with.
        """
        outcome = model.outcome
        first, last = self.residues[[outcome.tree.first, outcome.tree.last]].tolist()
        side_chains = outcome.repacked
        return replace(
            model,
            outcome=replace(
                outcome,
                tree=torsion_tree(self.structure, first, last, altloc=altloc, anchor_phi=True),
                atoms=self.atoms[outcome.atoms],
                repacked=RepackedSideChains(self.atoms[side_chains.atoms], side_chains.xyz),
                inner_steps={int(self.residues[k]): count for k, count in outcome.inner_steps.items()},
            ),
        )


def surroundings(structure: Structure, ranges: Sequence[Range], reach: float = REACH) -> frozenset[int]:
    """Residues within `reach` (nm) of residues `ranges`, and their neighbours in sequence."""
    loops = np.concatenate([structure.xyz[structure.atoms_within(*residues)] for residues in ranges])
    return region(structure, loops, reach)


def is_large(structure: Structure) -> bool:
    """Whether loops of a structure are repaired in a part of it."""
    return len(structure.residues) > LARGEST_WHOLE
