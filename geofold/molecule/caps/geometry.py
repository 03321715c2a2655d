"""Coordinates of caps: ideal bonds and angles, a trans peptide bond, and the free torsion turned out of clashes.

The acetyl turns about N-CA of the first residue (phi); in front of a proline its place is given by the ring. The
N-methylamide has no freedom: its N is where the carbonyl oxygen leaves room. Lengths and angles are those of the
peptides that geofold builds (Engh and Huber, Acta Cryst. A47:392, 1991).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geofold.geometry import dihedral, place_atoms, wrap
from geofold.molecule.caps.sites import ACE, CapSite
from geofold.molecule.carbonyl import CARBONYL
from geofold.molecule.energy.ramachandran import percentile, ramachandran_class
from geofold.molecule.io.edit import round_coordinates
from geofold.molecule.structure import WATER, Floats, Mask, Structure
from geofold.molecule.vdw_radii import POLAR, POLAR_ALLOWANCE, radius_of

PEPTIDE, METHYL_C, METHYL_N = 0.1329, 0.1525, 0.1458
"""Bond lengths (nm): C-N, CA-C (here to the methyl of the acetyl), N-CA (here to that of the amide)."""
AT_C, AT_O, AT_N = np.radians([116.6, 122.7, 121.4])
"""Angles CA-C-N, O-C-N and C-N-CA (radian)."""
TURNS = 144
"""Values of the free torsion that are compared."""
OVERLAP_COST, LEAST = 1e4, 1e-3
"""Cost (per nm^2) of overlaps, against minus the logarithm of the Ramachandran percentile, which is at least this."""
WATER_SHARE = 0.05
"""Share of that cost for overlaps with water, which can give way."""
NAMES = {ACE: (("C", "O", "CH3"), ("C", "O", "C")), "NME": (("N", "C"), ("N", "C"))}
"""Names and elements of the heavy atoms of each cap."""
NEAR = {"C": ("N", "CA", "C", "CB", "CD", "CG"), "O": ("N", "CA", "CD"), "CH3": ("N", "CA", "CD")}, {
    "N": ("C", "O", "OXT", "CA", "N", "CB"), "C": ("C", "O", "OXT", "CA")
}  # fmt: skip
"""Atoms of the capped residue within three bonds of each atom of ACE and of NME."""


@dataclass(frozen=True, eq=False)
class PlacedCap:
    """A cap with its coordinates.

    Attributes
    ----------
    site : CapSite
    xyz : (m, 3)
        Coordinates (nm) of its heavy atoms, rounded as in a file.
    overlap : float
        Largest overlap (nm) of van der Waals spheres with an atom that is not a water.
    """

    site: CapSite
    xyz: Floats
    overlap: float


def place_cap(structure: Structure, site: CapSite, conformer: Mask, others: list[PlacedCap]) -> PlacedCap:
    """Place a cap.

    Parameters
    ----------
    structure : Structure
        Without the atoms that leave with the capping.
    site : CapSite
    conformer : (n_atoms,) bool
        Atoms of the conformer.
    others : list of PlacedCap
        Caps that are placed already.
    """
    rows = (
        _acetyl(structure, site.residue, conformer) if site.name == ACE else _amide(structure, site.residue, conformer)
    )
    overlap, water = _overlaps(structure, site, conformer, rows, others)
    cost = OVERLAP_COST * (np.square(overlap).sum((1, 2)) + WATER_SHARE * np.square(water).sum((1, 2)))
    if len(rows) > 1:
        cost -= np.log(np.maximum(_percentiles(structure, site.residue, conformer, rows), LEAST))
    best = int(cost.argmin())
    return PlacedCap(site, round_coordinates(rows[best]), float(overlap[best].max(initial=0.0)))


def _acetyl(structure: Structure, k: int, conformer: Mask) -> Floats:
    """Acetyls (T, 3, 3) before residue k."""
    n, ca, c = _points(structure, k, conformer, "N", "CA", "C")
    ring = structure.atom(k, "CD", conformer) if structure.residues[k].resname == "PRO" else None
    if ring is None:
        phi = np.linspace(-np.pi, np.pi, TURNS, endpoint=False)
    else:
        phi = wrap(np.array([float(dihedral(structure.xyz[ring], n, ca, c))]) + np.pi)
    carbon = place_atoms(c, ca, n, PEPTIDE, AT_N, phi)
    methyl = place_atoms(ca, n, carbon, METHYL_C, AT_C, np.pi)
    oxygen = place_atoms(ca, n, carbon, CARBONYL, AT_O, 0.0)
    return np.stack([carbon, oxygen, methyl], 1)


def _amide(structure: Structure, k: int, conformer: Mask) -> Floats:
    """N-methylamide (1, 2, 3) after residue k."""
    n, ca, c, o = _points(structure, k, conformer, "N", "CA", "C", "O")
    psi = np.array([float(dihedral(n, ca, c, o)) + np.pi])
    nitrogen = place_atoms(n, ca, c, PEPTIDE, AT_C, psi)
    methyl = place_atoms(ca, c, nitrogen, METHYL_N, AT_N, np.pi)
    return np.stack([nitrogen, methyl], 1)


def _points(structure: Structure, k: int, conformer: Mask, *names: str) -> list[Floats]:
    return [structure.xyz[structure.atom(k, name, conformer)] for name in names]


def _percentiles(structure: Structure, k: int, conformer: Mask, rows: Floats) -> Floats:
    """Ramachandran percentiles (T,) of residue k after acetyls (T, 3, 3)."""
    n, ca, c = _points(structure, k, conformer, "N", "CA", "C")
    bonded = k + 1 < len(structure.residues) and structure.bonded(k, k + 1)
    following = structure.atom(k + 1, "N", conformer) if bonded else None
    phi = dihedral(rows[:, 0], n, ca, c)
    if following is None:
        return np.ones(len(rows))
    psi = dihedral(n, ca, c, structure.xyz[following])
    kind = ramachandran_class(structure.residues[k].resname, structure.residues[k + 1].resname, None)
    return percentile(phi, psi, kind)


def _overlaps(
    structure: Structure, site: CapSite, conformer: Mask, rows: Floats, others: list[PlacedCap]
) -> tuple[Floats, Floats]:
    """Overlaps (T, m, n) in nm of caps (T, m, 3) with other atoms, and with waters; zero where there is none."""
    names, elements = NAMES[site.name]
    radius = np.array([radius_of(str(element)) for element in structure.element])
    kept = np.flatnonzero(conformer & (radius > 0))
    points = [structure.xyz[kept], *(cap.xyz for cap in others)]
    kinds = [structure.element[kept], *(np.array(NAMES[cap.site.name][1]) for cap in others)]
    xyz, element = np.concatenate(points), np.concatenate(kinds)
    radii = np.array([radius_of(str(one)) for one in element])
    distance = np.linalg.norm(rows[:, :, None] - xyz, axis=-1)
    polar = np.isin(elements, list(POLAR))[:, None] & np.isin(element, list(POLAR))
    contact = np.array([radius_of(one) for one in elements])[:, None] + radii - POLAR_ALLOWANCE * polar
    near = NEAR[0] if site.name == ACE else NEAR[1]
    for row, name in enumerate(names):
        own = (structure.residue_of[kept] == site.residue) & np.isin(structure.name[kept], near[name])
        contact[row, : len(kept)][own] = 0.0
    overlap = np.maximum(contact - distance, 0.0)
    water = np.concatenate([np.isin(structure.resname[kept], list(WATER)), np.zeros(len(xyz) - len(kept), dtype=bool)])
    return overlap * ~water, overlap * water
