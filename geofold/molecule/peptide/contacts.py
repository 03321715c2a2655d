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
from geofold.molecule.numbers import parse_decimal, shown
from geofold.molecule.selection import find_residue
from geofold.molecule.structure import Structure

FORM = re.compile(
    r"\s*([^\s:]*:-?[0-9]+[A-Za-z]?)(?:@(\w+))?\s*-\s*([^\s:]*:-?[0-9]+[A-Za-z]?)(?:@(\w+))?\s*([<>])\s*([0-9.]+)\s*"
)
SCALE = 0.1
"""nm of violation that cost one unit."""
SOFTENING = 5.0
BAND = 0.03
"""nm within what is aimed at from which a distance meets the bound in the next step."""
MARGIN = 0.02
"""nm beyond the bound that is aimed at, so that a contact once made does not flicker."""
CLOSEST = 3
"""|i - j| from which a contact is a constraint at all."""


@dataclass(frozen=True)
class Contact:
    """One bound on one distance.

    Attributes
    ----------
    i, j : int
        Atoms of the structure.
    bound : float
        nm.
    upper : bool
        At most (True) or at least (False).
    text : str
        As the user wrote it.
    """

    i: int
    j: int
    bound: float
    upper: bool
    text: str

    def satisfied(self, distance: float) -> bool:
        """Whether a distance in nm keeps the bound."""
        return distance <= self.bound if self.upper else distance >= self.bound


def parse_contact(structure: Structure, text: str, altloc: str | None = None) -> Contact:
    """Contact of a structure from its text; `altloc` is the conformer that steers.

    Raises
    ------
    ContactError
        If the text cannot be read, the residues are the same or neighbours, or the bound is not positive.
    ResidueRangeError
        If a residue is not in the structure.
    """
    match = FORM.fullmatch(text)
    if not match:
        raise ContactError(
            f"contact {shown(text)!r}",
            "the form A:3-A:10<6.0 or A:3@CA-A:10@CA>8.0 (distance in Angstrom)",
            "write it as chain, residue number, dash, chain, residue number, < or >, distance",
        )
    one, atom_one, two, atom_two, sign, value = match.groups()
    bound = (parse_decimal(value) or 0.0) / 10
    if not 0.1 <= bound <= 100.0:
        raise ContactError(
            f"contact {shown(text)!r} with the distance {shown(value)}", "a distance from 1 to 1000 Angstrom", "mend it"
        )
    first, second = find_residue(structure, one), find_residue(structure, two)
    if structure.residues[first].chain == structure.residues[second].chain and abs(first - second) < CLOSEST:
        raise ContactError(
            f"contact {text!r} is between residues {abs(first - second)} apart",
            f"residues at least {CLOSEST} apart",
            "choose residues further apart: neighbours keep their distance whatever turns",
        )
    return Contact(
        _atom(structure, first, atom_one, altloc),
        _atom(structure, second, atom_two, altloc),
        bound,
        sign == "<",
        text.strip(),
    )


def _atom(structure: Structure, residue: int, name: str | None, altloc: str | None) -> int:
    steering = structure.steering(altloc)
    for wanted in [name] if name else ["CB", "CA"]:
        atom = structure.atom(residue, wanted, steering)
        if atom is not None and (name or wanted == "CB" or structure.residues[residue].resname == "GLY"):
            return atom
    there = ", ".join(str(structure.name[a]) for a in structure.residues[residue].atoms[:30])
    raise ContactError(
        f"residue {structure.residues[residue].label} has no atom {name or 'CB'}",
        f"one of {there}",
        "name one of its atoms with @, as in A:3@CA",
    )


def cost(excess: Tensor) -> Tensor:
    """Cost (B, c) of distances that exceed what is aimed at by so much (nm): zero within, linear when far."""
    x = torch.relu(excess) / SCALE
    return (1 + (x / SOFTENING).square()).sqrt() * (2 * SOFTENING**2) - 2 * SOFTENING**2


def cost_curvature(excess: Tensor) -> Tensor:
    """Second derivative of `cost`, (B, c), that of the bound from `BAND` within it on."""
    x = torch.relu(excess) / (SCALE * SOFTENING)
    return (2 / SCALE**2) * (excess > -BAND) / (1 + x.square()) ** 1.5


def cost_slope(excess: Tensor) -> Tensor:
    """Return the derivative of `cost`, (B, c)."""
    x = torch.relu(excess)
    return x * (2 / SCALE**2) / (1 + (x / (SCALE * SOFTENING)).square()).sqrt()
