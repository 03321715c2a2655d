"""Everything that a person has asked of the chain, as one immutable value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from geofold.modelling.peptide.streaming import goal_of
from geofold.molecule.peptide.contacts import Contact
from geofold.molecule.peptide.domain import PeptideDomain
from geofold.molecule.peptide.state import PeptideGoal
from geofold.molecule.peptide.torsion_targets import TorsionTarget
from geofold.molecule.structure import Floats

REGIONS = {
    "alpha": (-63.0, -43.0),
    "beta": (-120.0, 130.0),
    "polyproline": (-65.0, 145.0),
    "left": (57.0, 45.0),
}
"""Centres (phi, psi; degrees) of the regions of the Ramachandran map that a residue can be asked to take."""
HAND_BOUND = 0.02
"""Distance (nm) from the hand within which a grabbed atom has arrived."""
HAND = "hand"
"""Text of the contact between a grabbed atom and the hand."""
FLIP_STEPS = 60
"""Steps after which a peptide that could not turn is left as it is."""

Torsion = tuple[int, str]
"""Residue index and kind ('phi', 'psi', 'chi1' ...)."""


class Hand(NamedTuple):
    """Grabbed atoms and the places (nm) that they are pulled to."""

    atoms: tuple[int, ...]
    places: tuple[tuple[float, float, float], ...]

    def contacts(self) -> tuple[Contact, ...]:
        """Contacts of the loss that pull the atoms to their places."""
        return tuple(
            Contact(atom, -1, HAND_BOUND, True, HAND, place)
            for atom, place in zip(self.atoms, self.places, strict=True)
        )

    @classmethod
    def at(cls, atoms: list[int], places: Floats) -> Hand:
        """Hand at the present places (k, 3) of atoms, in nm."""
        return cls(tuple(atoms), tuple((float(x), float(y), float(z)) for x, y, z in places))

    def moved_to(self, place: Floats) -> Hand:
        """Return the hand with its first atom pulled to a place (nm), and the others as far from it as before."""
        return Hand.at(list(self.atoms), np.array(self.places) + (place - np.array(self.places[0])))


@dataclass(frozen=True)
class Restraints:
    """Bands, frozen residues, held torsions, and torsions with a target.

    Attributes
    ----------
    bands : tuple of Contact
        Distances to keep.
    frozen : frozenset of int
        Residues whose torsions do not turn.
    held : frozenset of Torsion
        Single torsions that do not turn.
    regions : dict of int to str
        Region of the Ramachandran map that a residue is to take.
    targets : dict of Torsion to float
        Total increments (radian) of the torsions of `regions`.
    flips : dict of Torsion to float
        The same for peptides that are being flipped.
    turning : int
        Remaining steps in which they may arrive.
    """

    bands: tuple[Contact, ...] = ()
    frozen: frozenset[int] = frozenset()
    held: frozenset[Torsion] = frozenset()
    regions: Mapping[int, str] = field(default_factory=dict)
    targets: Mapping[Torsion, float] = field(default_factory=dict)
    flips: Mapping[Torsion, float] = field(default_factory=dict)
    turning: int = 0

    def held_torsions(self, domain: PeptideDomain) -> frozenset[int]:
        """Return the indices of the torsions of a domain that do not turn."""
        return frozenset(
            index for torsion, index in index_of(domain).items() if torsion[0] in self.frozen or torsion in self.held
        )

    def goal(self, domain: PeptideDomain, hand: Hand | None) -> PeptideGoal:
        """Goal of the next step."""
        index = index_of(domain)
        asked = {**self.targets, **self.flips}
        targets = tuple(TorsionTarget(index[torsion], value) for torsion, value in asked.items() if torsion in index)
        contacts = self.bands + (hand.contacts() if hand is not None else ())
        return replace(goal_of(contacts), torsions=targets)

    def after_step(self, angles: Mapping[Torsion, float]) -> Restraints:
        """Drop the flips once their torsions (radian) have arrived, or their time is over."""
        if not self.flips:
            return self
        left = {t: v for t, v in self.flips.items() if abs(angles[t] - v) > math.radians(10.0)}
        if not left or self.turning <= 1:
            return replace(self, flips={}, turning=0)
        return replace(self, turning=self.turning - 1)

    def relative_to(self, turned: Mapping[Torsion, float]) -> Restraints:
        """Return the targets as increments from a conformation whose torsions have turned by these angles."""
        return replace(
            self,
            targets={t: v - turned.get(t, 0.0) for t, v in self.targets.items()},
            flips={t: v - turned.get(t, 0.0) for t, v in self.flips.items()},
        )

    def without_targets(self, residue: int) -> Restraints:
        """Return the restraints without a wish for a residue's region."""
        return replace(
            self,
            regions={k: v for k, v in self.regions.items() if k != residue},
            targets={t: v for t, v in self.targets.items() if t[0] != residue},
        )


def index_of(domain: PeptideDomain) -> dict[Torsion, int]:
    """Return the indices of the torsions of a domain by residue and kind."""
    tree = domain.tree
    return {(int(k), kind): n for n, (k, kind) in enumerate(zip(tree.residue, tree.kind, strict=True))}
