"""Caps put on chain ends: what leaves, what comes, and the hydrogens if the chain has them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofold.errors import ForceFieldError
from geofold.molecule.caps.geometry import NAMES, PlacedCap, place_cap
from geofold.molecule.caps.sites import ACE, NME, CapSite, find_cap_sites
from geofold.molecule.energy.all_atom import complete, region
from geofold.molecule.io.edit import require_single_model, with_atoms, with_residues, without_atoms
from geofold.molecule.records import NewResidue
from geofold.molecule.selection import atom_label
from geofold.molecule.structure import AddedAtom, Mask, Structure
from geofold.molecule.vdw_radii import SEVERE_OVERLAP

HYDROGENS = ("H", "D")
ON_NITROGEN = 0.13
"""Distance (nm) within which a hydrogen is bonded to a nitrogen or an oxygen."""
SURROUNDINGS = 0.8
"""Distance (nm) from a cap within which residues count when its hydrogens are placed."""
CARBOXYLATE = ("OXT", "OT2")


@dataclass(frozen=True, eq=False)
class CappedStructure:
    """A structure with its caps.

    Attributes
    ----------
    structure : Structure
    caps : tuple of PlacedCap
        `CapSite.residue` counts the residues of the input.
    labels : tuple of (str, str)
        Label of each cap, and that of the residue that it is bonded to.
    left : tuple of str
        Ends that stay as they are, and why.
    removed : tuple of str
        Labels of the atoms that left: the second oxygen of a carboxylate, the hydrogens of an ammonium.
    """

    structure: Structure
    caps: tuple[PlacedCap, ...]
    labels: tuple[tuple[str, str], ...]
    left: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def severe_overlaps(self) -> int:
        """Number of caps that overlap severely with another atom."""
        return sum(cap.overlap >= SEVERE_OVERLAP for cap in self.caps)

    def report(self) -> dict[str, Any]:
        """Section of the report."""
        caps = [
            {
                "residue": label,
                "name": cap.site.name,
                "bonded_to": owner,
                "overlap_angstrom": round(10 * cap.overlap, 2),
            }
            for cap, (label, owner) in zip(self.caps, self.labels, strict=True)
        ]
        return {"added": caps, "left": list(self.left), "removed_atoms": list(self.removed)}

    def texts(self) -> list[str]:
        """Caps in words."""
        return [f"{label} {cap.site.name}" for cap, (label, _) in zip(self.caps, self.labels, strict=True)]


def cap_chains(
    structure: Structure,
    where: str,
    *,
    altloc: str | None = None,
    built: Collection[tuple[int, int]] = (),
    moving: Collection[tuple[int, int]] = (),
) -> CappedStructure:
    """Cap chain ends.

    Parameters
    ----------
    structure : Structure
    where : str
        'gaps', 'ends' or 'all'.
    altloc : str, optional
        Conformer that caps are bonded to.
    built : collection of (int, int)
        Residues before and after the gaps that are built.
    moving : collection of (int, int)
        First and last residues of the loops that are repaired.

    Returns
    -------
    CappedStructure

    Raises
    ------
    BuildError
        For a file with several models, or a chain without a free residue number.
    """
    require_single_model(structure)
    conformer = structure.conformer(altloc)
    sites, left = find_cap_sites(structure, where, conformer, built, moving)
    if not sites:
        return CappedStructure(structure, (), (), tuple(left), ())
    gone, protonated = np.zeros(len(structure), dtype=bool), set[CapSite]()
    for site in sites:
        atoms = structure.residues[site.residue].atoms
        if np.isin(structure.element[atoms], HYDROGENS).any():
            protonated.add(site)
        gone[atoms] |= _leaving(structure, site, atoms)
    removed = tuple(dict.fromkeys(atom_label(structure, atom) for atom in np.flatnonzero(gone).tolist()))
    bare = without_atoms(structure, gone) if gone.any() else structure
    conformer, placed = bare.conformer(altloc), list[PlacedCap]()
    for site in sorted(sites, key=lambda one: one.name != NME):  # those without freedom first
        placed.append(place_cap(bare, site, conformer, placed))
    capped = bare
    for cap in sorted(placed, key=lambda one: (one.site.residue, one.site.name == NME), reverse=True):
        new = NewResidue(cap.site.name, cap.site.number, *NAMES[cap.site.name], cap.xyz)
        capped = with_residues(capped, cap.site.residue, (), [new], "before" if cap.site.name == ACE else "after")
    caps = tuple(sorted(placed, key=lambda one: (one.site.residue, one.site.name)))
    labels = tuple(_labels(structure, cap.site) for cap in caps)
    if protonated:
        capped = _with_hydrogens(capped, [cap.site for cap in caps], protonated, altloc)
    return CappedStructure(capped, caps, labels, tuple(left), removed)


def _labels(structure: Structure, site: CapSite) -> tuple[str, str]:
    residue, (number, icode) = structure.residues[site.residue], site.number
    return f"{residue.chain}:{number}{icode}", residue.label


def _leaving(structure: Structure, site: CapSite, atoms: np.ndarray) -> Mask:
    """Mark those atoms of a residue that its cap replaces."""
    names, elements, xyz = structure.name[atoms], structure.element[atoms], structure.xyz[atoms]
    heavy = names == "N" if site.name == ACE else np.isin(names, CARBOXYLATE)
    near = np.zeros(len(atoms), dtype=bool)
    for point in xyz[heavy]:
        near |= np.linalg.norm(xyz - point, axis=1) < ON_NITROGEN
    leaving = near & np.isin(elements, HYDROGENS)
    return leaving if site.name == ACE else leaving | heavy


def _with_hydrogens(
    structure: Structure, sites: list[CapSite], protonated: Collection[CapSite], altloc: str | None
) -> Structure:
    """Add hydrogens to the caps of residues that have some, and to the nitrogens that a cap took them from."""
    place = dict(zip(sites, _indices(sites), strict=True))
    caps = {place[site] for site in protonated}
    nitrogens = {place[site] + 1 for site in protonated if site.name == ACE}
    points = np.concatenate([structure.xyz[structure.residues[place[site]].atoms] for site in protonated])
    try:
        only = region(structure, points, SURROUNDINGS)
        model = complete(structure, structure.conformer(altloc), hydrogens=True, only=only)
    except ForceFieldError:
        note = "the caps have no hydrogens: the residues around them have no parameters"
        return replace(structure, notes=(*structure.notes, note))
    added = [
        AddedAtom(int(k), atom.name, "H", xyz)
        for atom, source, k, xyz in zip(model.topology.atoms(), model.source, model.residue, model.xyz, strict=True)
        if source < 0 and atom.element.symbol == "H" and (int(k) in caps or (int(k) in nitrogens and atom.name == "H"))
    ]
    return with_atoms(structure, added)


def _indices(sites: list[CapSite]) -> list[int]:
    """Index of each cap in the capped structure; the sites are in the order of the file."""
    ordered = sorted(sites, key=lambda site: (site.residue, site.name == NME))
    index = {site: site.residue + number + (site.name == NME) for number, site in enumerate(ordered)}
    return [index[site] for site in sites]
