"""Contacts as tensors: atoms, bounds, and directions along which they are stiff.

Glossary: ``B`` rows, ``c`` contacts, ``m`` local atoms, ``n`` torsions; observations are torsions, then coordinates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from geofold.kernels.structures import Contacts
from geofold.molecule.energy.clash_cost import DISTANCE_OFFSET
from geofold.molecule.kinematics.forward import Kinematics
from geofold.molecule.peptide.contacts import (
    CONTACT_MARGIN,
    SOFTENING,
    STIFF_BAND,
    VIOLATION_SCALE,
    Contact,
    contact_curvature,
)


@dataclass(frozen=True)
class ContactBounds:
    """Contacts as tensors.

    Attributes
    ----------
    i, j : (c,) int
        Local rows of the atoms; those that do not move follow the m local atoms.
    fixed_xyz : (k, 3)
        Coordinates (nm) of the atoms that do not move.
    bound, aim : (c,)
        Bounds, and the distances within them that the cost aims at (nm).
    sign : (c,)
        1 for an upper bound, -1 for a lower one.
    local : int
        Number m of local atoms.
    """

    i: Tensor
    j: Tensor
    fixed_xyz: Tensor
    bound: Tensor
    aim: Tensor
    sign: Tensor
    local: int

    @cached_property
    def c_struct(self) -> Contacts:
        """The contacts for kernels."""
        tensors = self.i, self.j, self.fixed_xyz.contiguous(), self.bound, self.aim, self.sign
        scales = VIOLATION_SCALE, SOFTENING, STIFF_BAND, DISTANCE_OFFSET
        return Contacts.of(len(self.i), self.local, *tensors, *scales)


def contact_bounds(
    contacts: tuple[Contact, ...], kinematics: Kinematics, fixed_atoms: Mapping[int, Tensor], like: Tensor
) -> ContactBounds:
    """Arrange contacts as tensors.

    Parameters
    ----------
    contacts : tuple of Contact
    kinematics : Kinematics
        Kinematics of the segment, which numbers the local atoms.
    fixed_atoms : mapping of int to (3,)
        Coordinates (nm) of the atoms that do not move.
    like : Tensor
        Gives the dtype and the device.
    """
    places: list[Tensor] = []
    rows = dict[int, int]()
    local = len(kinematics.atoms)

    def at_place(place: Tensor) -> int:
        places.append(place)
        return local + len(places) - 1

    def row(atom: int) -> int:
        if atom not in rows:
            fixed = fixed_atoms.get(atom)
            rows[atom] = int(kinematics.local_rows([atom])) if fixed is None else at_place(fixed)
        return rows[atom]

    return ContactBounds(
        i=torch.tensor([row(c.i) for c in contacts], device=like.device),
        j=torch.tensor(
            [row(c.j) if c.point is None else at_place(like.new_tensor(c.point)) for c in contacts], device=like.device
        ),
        fixed_xyz=torch.stack(places) if places else like.new_zeros(0, 3),
        bound=like.new_tensor([c.bound for c in contacts]),
        aim=like.new_tensor([c.bound - (CONTACT_MARGIN if c.upper else -CONTACT_MARGIN) for c in contacts]),
        sign=like.new_tensor([1.0 if c.upper else -1.0 for c in contacts]),
        local=local,
    )


def max_violation(distance: Tensor, bounds: ContactBounds) -> Tensor:
    """Largest violation (B,) of bounds by distances (B, c) in nm; zero if all are satisfied."""
    return torch.relu(((distance - bounds.bound) * bounds.sign).amax(-1))


def stiff_contact_directions(
    bounds: ContactBounds, vectors: Tensor, weight: float, torsions: int, local: int
) -> Tensor | None:
    """Directions (c, B, n + 3 m) along which contacts are stiff: distances near their bounds or beyond them.

    Parameters
    ----------
    bounds : ContactBounds
        The contacts.
    vectors : (B, c, 3)
        Vectors (nm) from the second to the first atom of each contact.
    weight : float
        Weight of the contacts in the loss.
    torsions, local : int
        Numbers n of torsions and m of local atoms.

    Returns
    -------
    (c, B, n + 3 m) or None
        None if no contact is stiff.
    """
    gap = (vectors.square().sum(-1) + DISTANCE_OFFSET).sqrt()
    size = (weight * contact_curvature((gap - bounds.aim) * bounds.sign)).sqrt()
    if not bool((size > 0).any()):
        return None
    along = ((size / gap)[..., None] * vectors).transpose(0, 1)
    rows = along.new_zeros(len(bounds.i), len(vectors), local + len(bounds.fixed_xyz), 3)
    each = torch.arange(len(bounds.i), device=rows.device)
    rows[each, :, bounds.i] = along
    rows[each, :, bounds.j] = -along
    return torch.nn.functional.pad(rows[:, :, :local].flatten(2), (torsions, 0))
