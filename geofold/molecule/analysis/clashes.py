"""Severe overlaps of a whole structure."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from geofold.molecule.structure import WATER, Structure
from geofold.molecule.topology.bonds import bond_graph, pairs_within_bonds
from geofold.molecule.vdw_radii import EXCLUDED_BONDS, POLAR, SEVERE_OVERLAP, contact_distance, radius_of


def count_severe_overlaps(structure: Structure) -> int:
    """Count pairs of heavy atoms that overlap by 0.4 A or more.

    Pairs within three bonds and pairs with a water are not counted. The contact distance of two atoms is the sum of
    their radii, reduced by `POLAR_ALLOWANCE` if both can form a hydrogen bond.
    """
    radius = np.array([radius_of(str(element)) for element in structure.element])
    polar = np.isin(structure.element, list(POLAR))
    pairs = cKDTree(structure.xyz).query_pairs(2 * radius.max() - SEVERE_OVERLAP, output_type="ndarray")
    i, j = pairs.T
    counted = (radius > 0) & ~np.isin(structure.resname, list(WATER))
    contact = np.where(counted[i] & counted[j], contact_distance(radius, polar, i, j), 0.0)
    overlap = contact - np.linalg.norm(structure.xyz[i] - structure.xyz[j], axis=1)
    severe = pairs[overlap >= SEVERE_OVERLAP]
    adjacent = bond_graph(structure, structure.conformer_mask)
    bonded = {tuple(sorted(pair)) for pair in pairs_within_bonds(adjacent, np.unique(severe[:, 0]), EXCLUDED_BONDS)}
    return sum(tuple(sorted(pair)) not in bonded for pair in severe.tolist())
