"""Real-space correlation of residues with a density map.

The density of a model is a sum of Gaussians on its atoms, whose width follows from the resolution (sigma = 0.225 d, as
in the molmap command of UCSF ChimeraX; Goddard et al., Protein Sci 27:14, 2018).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.spatial import cKDTree

from geofold.molecule.density.maps import DensityMap
from geofold.molecule.structure import WATER, Floats, Mask, Structure

SIGMA = 0.0225
"""Standard deviation (nm) of the density of an atom, per Angstrom of resolution."""
REACH = 3.5
"""Standard deviations up to which an atom has density."""
RADIUS = 0.15
"""Distance (nm) from the atoms of a residue within which densities are compared, at high resolution."""
ELECTRONS = {"C": 6.0, "N": 7.0, "O": 8.0, "S": 16.0, "P": 15.0, "SE": 34.0}


def residue_correlations(
    structure: Structure, xyz: Floats, density: DensityMap, residues: Iterable[int], conformer: Mask
) -> dict[int, float]:
    """Correlate the density of a model with a map around each of some residues.

    Parameters
    ----------
    structure : Structure
    xyz : (n_atoms, 3)
        Coordinates (nm).
    density : DensityMap
    residues : iterable of int
    conformer : (n_atoms,) bool
        Atoms of the model.

    Returns
    -------
    dict of int to float
        Pearson correlation of each residue that has heavy atoms.
    """
    counted = conformer & ~np.isin(structure.element, ("H", "D")) & ~np.isin(structure.resname, list(WATER))
    atoms, sigma = xyz[counted], SIGMA * density.resolution
    weight = np.array([ELECTRONS.get(element, 7.0) for element in structure.element[counted].tolist()])
    tree, radius = cKDTree(atoms), max(RADIUS, 2 * sigma)
    spacing = max(0.05, sigma / 1.5)
    correlations = {}
    for k in residues:
        own = xyz[counted & (structure.residue_of == k)]
        if not len(own):
            continue
        axes = [
            np.arange(low, high, spacing) for low, high in zip(own.min(0) - radius, own.max(0) + radius, strict=True)
        ]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        points = points[np.isfinite(cKDTree(own).query(points, distance_upper_bound=radius)[0])]
        near = cKDTree(points).sparse_distance_matrix(tree, REACH * sigma, output_type="coo_matrix")
        modelled = np.zeros(len(points))
        np.add.at(modelled, near.row, weight[near.col] * np.exp(-0.5 * np.square(near.data / sigma)))
        measured = density.values(points)
        if np.ptp(modelled) > 0 and np.ptp(measured) > 0:
            correlations[k] = float(np.corrcoef(modelled, measured)[0, 1])
    return correlations
