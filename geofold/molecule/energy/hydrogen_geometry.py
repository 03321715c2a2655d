"""Positions of hydrogens from the geometry of the atoms that carry them; bond lengths are those of ff14SB.

Glossary: ``p`` particles, ``h`` hydrogens of a group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geofold.geometry import unit_vectors

LENGTH = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.1336}
"""Bond length (nm) by the element of the atom that carries the hydrogen."""
TETRAHEDRAL, TRIGONAL = np.radians(109.5), np.radians(120.0)
BENT = {"O": np.radians(108.5), "S": np.radians(96.0)}
"""Angle (radian) at the oxygen of a hydroxyl or the sulphur of a thiol."""
Floats = NDArray[np.float64]


class Group(NamedTuple):
    """Hydrogens on one atom that are placed together.

    Attributes
    ----------
    parent : int
    bonded : tuple of int
        Other particles bonded to it whose places are given.
    beyond : int
        A particle bonded to the first of them; -1 if there is none.
    hydrogens : tuple of int
    planar : bool
        Whether the bonds of the parent lie in a plane.
    """

    parent: int
    bonded: tuple[int, ...]
    beyond: int
    hydrogens: tuple[int, ...]
    planar: bool


def make_group(
    parent: int, bonded: Sequence[Sequence[int]], elements: Sequence[str], missing: NDArray[np.bool_], name: str
) -> Group:
    """Group of the missing hydrogens of an atom.

    Parameters
    ----------
    parent : int
        The atom.
    bonded : sequence of sequence of int, (p,)
        Particles bonded to each.
    elements : sequence of str, (p,)
    missing : (p,) bool
        Hydrogens that are to be placed.
    name : str
        Name of the atom.
    """
    hydrogens = tuple(k for k in bonded[parent] if missing[k])
    known = tuple(sorted((k for k in bonded[parent] if not missing[k]), key=lambda k: elements[k] == "H"))
    around = [k for k in bonded[known[0]] if k != parent] if known else []
    beyond = next((k for k in around if elements[k] != "H"), next((k for k in around if not missing[k]), -1))
    # the amine of a neutral lysine is the only nitrogen with two hydrogens that is not planar
    planar = elements[parent] == "N" and name not in ("NZ",) and len(hydrogens) + len(known) == 3
    return Group(parent, known, beyond, hydrogens, planar)


def group_positions(xyz: Floats, group: Group, element: str) -> Floats:
    """Places (h, 3) of the hydrogens of a group."""
    origin, count, length = xyz[group.parent], len(group.hydrogens), LENGTH.get(element, 0.1)
    if not group.bonded:
        return origin + length * np.eye(3)[:count]
    arms = unit_vectors(xyz[list(group.bonded)] - origin)
    if len(arms) == 1:
        return origin + length * _around_axis(xyz, group, element)
    outward = unit_vectors(-arms.sum(0))
    if not outward.any():
        outward = _perpendicular(arms[0])
    if count == 1:
        return (origin + length * outward)[None]
    normal = unit_vectors(np.cross(arms[0], arms[1]))
    if not normal.any():
        normal = _perpendicular(arms[0])
    half = TETRAHEDRAL / 2
    return origin + length * np.stack([np.cos(half) * outward + sign * np.sin(half) * normal for sign in (1, -1)])


def _around_axis(xyz: Floats, group: Group, element: str) -> Floats:
    """Directions (h, 3) of hydrogens on an atom with one other bond; the first is opposite the atom beyond."""
    axis = unit_vectors(xyz[group.parent] - xyz[group.bonded[0]])
    beyond = axis if group.beyond < 0 else unit_vectors(xyz[group.beyond] - xyz[group.bonded[0]])
    side = unit_vectors(beyond - (beyond @ axis) * axis)
    if not side.any():
        side = _perpendicular(axis)
    other = np.cross(axis, side)
    count = len(group.hydrogens)
    if group.planar:
        torsions, angle = np.array([np.pi, 0.0]), TRIGONAL
    elif count == 1:
        torsions, angle = np.array([np.pi]), BENT.get(element, TETRAHEDRAL)
    else:
        torsions, angle = np.pi + 2 * np.pi / 3 * np.arange(3), TETRAHEDRAL
    around = np.cos(torsions)[:, None] * side + np.sin(torsions)[:, None] * other
    return np.asarray(np.sin(angle) * around - np.cos(angle) * axis)[:count]


def _perpendicular(direction: Floats) -> Floats:
    """Any unit vector (3,) perpendicular to a direction."""
    return unit_vectors(np.cross(direction, np.eye(3)[np.abs(direction).argmin()]))
