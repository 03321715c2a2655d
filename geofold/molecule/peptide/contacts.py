"""Distance constraints between residues: their text, their atoms, their cost.

A contact is written ``A:3-A:10<6.0`` (CB atoms, CA for glycine, at most 6.0 A apart) or
``A:3@CA-A:10@CA>8.0`` (named atoms, at least 8.0 A apart).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from geofold.errors import ContactError
from geofold.molecule.numbers import abbreviate, parse_decimal
from geofold.molecule.selection import find_residue
from geofold.molecule.structure import Structure

CONTACT_PATTERN = re.compile(
    r"\s*([^\s:]*:-?[0-9]+[A-Za-z]?)(?:@(\w+))?\s*-\s*([^\s:]*:-?[0-9]+[A-Za-z]?)(?:@(\w+))?\s*([<>])\s*([0-9.]+)\s*"
)
VIOLATION_SCALE = 0.1
"""Violation (nm) that costs one unit."""
SOFTENING = 5.0
"""Violation, in units of the scale, beyond which the cost is linear."""
STIFF_BAND = 0.03
"""Distance (nm) within the aim from which a contact counts as stiff, since the next step may reach its bound."""
CONTACT_MARGIN = 0.02
"""Distance (nm) from the bound to the aim, so that a satisfied contact does not flicker."""
MIN_CONTACT_SEPARATION = 3
"""Smallest sequence separation |i - j| of a contact; closer residues are held by the covalent geometry."""


@dataclass(frozen=True)
class Contact:
    """One bound on one distance.

    Attributes
    ----------
    i, j : int
        Atoms of the structure.
    bound : float
        Bound on the distance (nm).
    upper : bool
        Whether the bound is an upper one.
    text : str
        Text of the user.
    point : (float, float, float) or None
        Place in space (nm) to which the distance of atom i is measured, instead of atom j.
    """

    i: int
    j: int
    bound: float
    upper: bool
    text: str
    point: tuple[float, float, float] | None = None

    def satisfied(self, distance: float) -> bool:
        """Whether a distance in nm keeps the bound."""
        return distance <= self.bound if self.upper else distance >= self.bound


def parse_contact(structure: Structure, text: str, altloc: str | None = None) -> Contact:
    """Parse a contact.

    Parameters
    ----------
    structure : Structure
        Structure with both residues.
    text : str
        See the module.
    altloc : str or None
        Conformer that moves.

    Raises
    ------
    ContactError
        If the text cannot be read, the residues are the same or neighbours, or the bound is not positive.
    ResidueRangeError
        If a residue is not in the structure.
    """
    match = CONTACT_PATTERN.fullmatch(text)
    if not match:
        raise ContactError(
            f"contact {abbreviate(text)!r}",
            "the form A:3-A:10<6.0 or A:3@CA-A:10@CA>8.0 (distance in Angstrom)",
            "write it as chain, residue number, dash, chain, residue number, < or >, distance",
        )
    label_i, atom_i, label_j, atom_j, sign, value = match.groups()
    bound = (parse_decimal(value) or 0.0) / 10
    if not 0.1 <= bound <= 100.0:
        raise ContactError(
            f"contact {abbreviate(text)!r} with the distance {abbreviate(value)}",
            "a distance from 1 to 1000 Angstrom",
            "correct it",
        )
    first, second = find_residue(structure, label_i), find_residue(structure, label_j)
    if (
        structure.residues[first].chain == structure.residues[second].chain
        and abs(first - second) < MIN_CONTACT_SEPARATION
    ):
        raise ContactError(
            f"contact {text!r} is between residues {abs(first - second)} apart",
            f"residues at least {MIN_CONTACT_SEPARATION} apart",
            "choose residues further apart in sequence: neighbours are held by the covalent geometry",
        )
    return Contact(
        _atom(structure, first, atom_i, altloc),
        _atom(structure, second, atom_j, altloc),
        bound,
        sign == "<",
        text.strip(),
    )


def _atom(structure: Structure, residue: int, name: str | None, altloc: str | None) -> int:
    conformer = structure.conformer(altloc)
    for candidate in [name] if name else ["CB", "CA"]:
        atom = structure.atom(residue, candidate, conformer)
        if atom is not None and (name or candidate == "CB" or structure.residues[residue].resname == "GLY"):
            return atom
    names = ", ".join(str(structure.name[a]) for a in structure.residues[residue].atoms[:30])
    raise ContactError(
        f"residue {structure.residues[residue].label} has no atom {name or 'CB'}",
        f"one of {names}",
        "name one of its atoms with @, as in A:3@CA",
    )


def contact_cost(excess: Tensor) -> Tensor:
    """Cost (B, c) of distances that exceed their aim by `excess` (nm): zero within the aim, linear at large excess."""
    x = torch.relu(excess) / VIOLATION_SCALE
    return (1 + (x / SOFTENING).square()).sqrt() * (2 * SOFTENING**2) - 2 * SOFTENING**2


def contact_curvature(excess: Tensor) -> Tensor:
    """Second derivative of `contact_cost`, (B, c); it is non-zero from `STIFF_BAND` within the aim."""
    x = torch.relu(excess) / (VIOLATION_SCALE * SOFTENING)
    return (2 / VIOLATION_SCALE**2) * (excess > -STIFF_BAND) / (1 + x.square()) ** 1.5


def contact_slope(excess: Tensor) -> Tensor:
    """Return the derivative of `contact_cost`, (B, c)."""
    x = torch.relu(excess)
    return x * (2 / VIOLATION_SCALE**2) / (1 + (x / (VIOLATION_SCALE * SOFTENING)).square()).sqrt()
