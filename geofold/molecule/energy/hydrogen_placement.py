"""Placement of the hydrogens of a topology: by geometry, and by the torsions of those that can turn.

Hydrogens of carbon chains, and those of planar groups, have one place (`geofold.molecule.energy.hydrogen_geometry`).
Hydroxyls, thiols, methyl and ammonium groups turn about the bond of the atom that carries them: each is scanned, in the
field of all other atoms, until nothing changes.

Glossary: ``p`` particles, ``h`` hydrogens of a group, ``s`` torsions that are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold.geometry import unit_vectors
from geofold.molecule.energy.hydrogen_geometry import BENT, Group, group_positions, make_group
from geofold.molecule.energy.hydrogens import bonded_particles

COULOMB = 138.935456
"""Coulomb's constant (kJ/mol nm)."""
DIELECTRIC = 2.0
"""Relative permittivity in the choice of a rotor's torsion."""
CUTOFF = 0.5
"""Distance (nm) within which atoms act on a rotor."""
SWEEPS = 3
"""Sweeps over the rotors at most."""
SCAN = np.radians(np.arange(0.0, 360.0, 10.0))
"""Turns of a hydroxyl or thiol that are tried."""
TURNS = np.radians(np.arange(-60.0, 60.0, 10.0))
"""Turns of a methyl or ammonium group."""
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Rotor(NamedTuple):
    """A group that turns about the bond of its parent.

    Attributes
    ----------
    group : Group
    angles : (s,)
        Turns from the first torsion that are tried (radian).
    barrier : (s,)
        Torsion energy (kJ/mol) at each of them.
    excluded : tuple of int
        Particles within two bonds of its hydrogens.
    """

    group: Group
    angles: Floats
    barrier: Floats
    excluded: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class HydrogenPlacement:
    """Places the hydrogens of a topology. Create with `HydrogenPlacement.of`.

    Attributes
    ----------
    elements : list of str, (p,)
    groups : list of Group
    rotors : list of Rotor
    """

    elements: list[str]
    groups: list[Group]
    rotors: list[Rotor]

    @classmethod
    def of(cls, topology: Any, added: NDArray[np.bool_]) -> HydrogenPlacement:
        """Return the placement of the particles of a topology that were added as hydrogens, (p,) bool."""
        atoms = list(topology.atoms())
        elements = ["" if atom.element is None else atom.element.symbol for atom in atoms]
        bonded = bonded_particles(topology)
        missing = added & (np.array(elements) == "H")
        groups, rotors = [], []
        for parent in sorted({bonded[h][0] for h in np.flatnonzero(missing) if bonded[h]}):
            group = make_group(parent, bonded, elements, missing, atoms[parent].name)
            groups.append(group)
            if (rotor := _rotor(group, bonded, elements)) is not None:
                rotors.append(rotor)
        return cls(elements, groups, rotors)

    def place(self, xyz: Floats) -> Floats:
        """Coordinates (p, 3) with the hydrogens where geometry puts them, rotors at their first torsion."""
        placed = xyz.copy()
        for group in self.groups:
            placed[list(group.hydrogens)] = group_positions(placed, group, self.elements[group.parent])
        return placed

    def turn(self, xyz: Floats, charge: Floats, sigma: Floats, epsilon: Floats) -> Floats:
        """Coordinates (p, 3) with each rotor at the torsion of lowest energy among the other atoms.

        Parameters
        ----------
        xyz : (p, 3)
            Coordinates with all hydrogens (nm).
        charge : (p,)
        sigma : (p,)
            Lennard-Jones diameters (nm).
        epsilon : (p,)
            Lennard-Jones depths (kJ/mol).
        """
        xyz, rotors = xyz.copy(), self.rotors
        if not rotors:
            return xyz
        around = cKDTree(xyz).query_ball_point(xyz[[rotor.group.parent for rotor in rotors]], CUTOFF)
        scans = [_scan(xyz, *pair, charge, sigma, epsilon) for pair in zip(rotors, around, strict=True)]
        before = np.ones(len(xyz), dtype=bool)  # particles that the last sweep turned
        chosen = np.full(len(scans), -1)
        for _ in range(SWEEPS):
            turned = np.zeros(len(xyz), dtype=bool)
            for k, scan in enumerate(scans):
                if (chosen[k] < 0 or before[scan.others].any() or turned[scan.others].any()) and (
                    best := int(scan.energies(xyz).argmin())
                ) != chosen[k]:
                    chosen[k] = best
                    xyz[scan.members] = scan.places[best]
                    turned[scan.members] = True
            if not turned.any():
                break
            before = turned
        return xyz


class _Scan(NamedTuple):
    """Torsions of a rotor that are compared.

    Attributes
    ----------
    members : (h,) int
        Its hydrogens.
    others : (o,) int
        Particles that act on them.
    places : (s, h, 3)
        Places of the hydrogens.
    coulomb, diameter, depth : (h, o)
        Parameters of the pairs.
    barrier : (s,)
        Torsion energy (kJ/mol).
    """

    members: Integers
    others: Integers
    places: Floats
    coulomb: Floats
    diameter: Floats
    depth: Floats
    barrier: Floats

    def energies(self, xyz: Floats) -> Floats:
        """Energy (s,) in kJ/mol at each torsion; bounded for atoms that coincide."""
        squared = np.square(self.places[:, :, None] - xyz[self.others]).sum(-1) + 1e-4
        reduced = np.minimum((self.diameter**2 / squared) ** 3, 1e3)
        energy = self.coulomb / np.sqrt(squared) + self.depth * (reduced**2 - reduced)
        return np.asarray(energy.sum((1, 2)) + self.barrier)


def _scan(xyz: Floats, rotor: Rotor, near: list[int], charge: Floats, sigma: Floats, epsilon: Floats) -> _Scan:
    """Torsions of a rotor among the particles near it.

    Parameters
    ----------
    xyz : (p, 3)
        Coordinates (nm).
    rotor : Rotor
    near : list of int
    charge, sigma, epsilon : (p,)
        See `HydrogenPlacement.turn`.
    """
    members = np.array(rotor.group.hydrogens)
    others = np.setdiff1d(near, [*rotor.excluded, *members])
    one, two = members[:, None], others[None]
    return _Scan(
        members,
        others,
        _turned(xyz, rotor),
        COULOMB / DIELECTRIC * charge[one] * charge[two],
        (sigma[one] + sigma[two]) / 2,
        4 * np.sqrt(epsilon[one] * epsilon[two]),
        rotor.barrier,
    )


def _rotor(group: Group, bonded: Sequence[Sequence[int]], elements: Sequence[str]) -> Rotor | None:
    """Return the group as a rotor, if its hydrogens turn."""
    if len(group.bonded) != 1 or group.beyond < 0 or group.planar:
        return None
    (axis,), parent = group.bonded, group.parent
    excluded = (parent, *bonded[parent], *bonded[axis])
    if elements[parent] in BENT:
        if len(bonded[axis]) == 3:  # a phenol or a carboxylic acid is planar
            angles = np.array([0.0, np.pi])
            return Rotor(group, angles, np.zeros(2), (parent, axis))
        return Rotor(group, SCAN, 0.7 * (1 + np.cos(3 * (SCAN + np.pi))), (parent, axis, *bonded[axis]))
    return Rotor(group, TURNS, 3.0 * (1 - np.cos(3 * TURNS)), excluded)


def _turned(xyz: Floats, rotor: Rotor) -> Floats:
    """Places (s, h, 3) of a rotor's hydrogens at each of its angles."""
    group = rotor.group
    origin = xyz[group.parent]
    axis = unit_vectors(origin - xyz[group.bonded[0]])
    arms = xyz[list(group.hydrogens)] - origin
    along = (arms @ axis)[:, None] * axis
    across, other = arms - along, np.cross(axis, arms)
    cosine, sine = np.cos(rotor.angles)[:, None, None], np.sin(rotor.angles)[:, None, None]
    return np.asarray(origin + along + cosine * across + sine * other)
