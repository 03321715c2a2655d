"""How well moving atoms lie in a density map, as a differentiable term of the loop loss.

The density is divided by the one at the backbone of the residues around: a well-determined residue has about one unit,
empty space none, whatever the scale of the map. It is zero at fixed atoms, which no moving atom can take the place of,
so that their density attracts none.

Glossary: ``B`` rows, ``m`` local atoms, ``w`` moving heavy atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from geofold.errors import InputFileError
from geofold.molecule.density.maps import DensityMap
from geofold.molecule.kinematics.decoder import TorsionDecoder
from geofold.molecule.residues import BACKBONE
from geofold.molecule.structure import WATER, Floats, Mask, Structure

RADIUS = 0.17
"""Distance (nm) from a fixed atom within which the density is taken to be its own."""
LARGEST = 2.0
"""Largest density that counts, in units of the surroundings: ions do not attract."""
PER_RESIDUE = 5
"""Atoms whose mean density counts as that of one residue."""
NEIGHBOURHOOD = 2.0
"""Distance (nm) within which residues give the unit of density."""
WEAKEST = 0.5
"""Density of these residues, in standard deviations of the map, below which the map does not show the structure."""
FINEST, MAX_POINTS = 0.04, 4_000_000
"""Smallest spacing (nm) of the grid that is interpolated, and its largest number of points."""
POINTS_PER_RESOLUTION = 5


@dataclass(frozen=True, eq=False)
class DensityTerm:
    """Density around the moving atoms of a segment; build it with `DensityTerm.of`.

    Attributes
    ----------
    rows : (w,) int
        Local rows of the moving heavy atoms.
    grid : (1, 1, nz, ny, nx) float
        Density in units of the surroundings.
    origin, extent : (3,) float
        First corner and size of the grid (nm).
    """

    rows: Tensor
    grid: Tensor
    origin: Tensor
    extent: Tensor

    @classmethod
    def of(cls, structure: Structure, decoder: TorsionDecoder, density: DensityMap) -> DensityTerm:
        """Build the term of the segment that a decoder moves.

        Raises
        ------
        InputFileError
            If the map does not show the residues around.
        """
        tree, local = decoder.tree, decoder.kinematics.atoms.cpu().numpy()
        heavy = ~np.isin(structure.element, ("H", "D"))
        rows = np.flatnonzero(np.isin(local, tree.atoms) & (heavy & tree.conformer)[local])
        length = tree.last - tree.first + 1
        reach = 0.5 + (0.19 if tree.closed else 0.38) * (length + 1)
        present = structure.xyz[tree.atoms] if len(tree.atoms) else structure.xyz
        ends = np.concatenate([present[:1], present[-1:]])
        low, high = ends.min(0) - reach, ends.max(0) + reach
        spacing = max(FINEST, 0.1 * density.resolution / POINTS_PER_RESOLUTION)
        spacing = max(spacing, float(np.prod(high - low) / MAX_POINTS) ** (1 / 3))
        count = np.ceil((high - low) / spacing).astype(int) + 1
        axes = [low[k] + spacing * np.arange(count[k]) for k in range(3)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
        fixed = heavy & tree.conformer & ~np.isin(structure.resname, list(WATER))
        fixed[tree.atoms] = False
        values = density.values(points) / _unit(structure, fixed, density, low, high)
        values = np.clip(values, -LARGEST, LARGEST).reshape(count)
        _erase(values, structure.xyz[fixed], low, spacing)

        def tensor(array: Floats) -> Tensor:
            return torch.as_tensor(array).to(decoder.weight)

        grid = tensor(np.ascontiguousarray(values.transpose(2, 1, 0)))[None, None]
        extent = tensor(spacing * (count - 1))
        return cls(torch.as_tensor(rows, device=grid.device), grid, tensor(low), extent)

    def cost(self, xyz: Tensor) -> Tensor:
        """Evaluate the term (B,) at local coordinates (B, m, 3) in nm: minus one for each residue in full density."""
        place = 2 * (xyz[:, self.rows] - self.origin) / self.extent - 1
        density = grid_sample(
            self.grid.expand(len(xyz), -1, -1, -1, -1),
            place[:, None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return -density.sum((1, 2, 3, 4)) / PER_RESIDUE


def _unit(structure: Structure, fixed: Mask, density: DensityMap, low: Floats, high: Floats) -> float:
    """Median density at the backbone of the residues around a box, from `low` to `high` (nm)."""
    near = (np.abs(structure.xyz - (low + high) / 2) < (high - low) / 2 + NEIGHBOURHOOD).all(1)
    backbone = fixed & np.isin(structure.name, BACKBONE) & near
    unit = float(np.median(density.values(structure.xyz[backbone]))) if backbone.any() else 0.0
    if unit < WEAKEST * float(np.array(density.grid, copy=False).std()):
        raise InputFileError(
            f"{density.source} has no density at the residues around the loop",
            f"a map of {structure.source}, in the same frame",
            "check the map and its origin",
        )
    return unit


def _erase(values: Floats, atoms: Floats, low: Floats, spacing: float) -> None:
    """Set the grid points (nx, ny, nz) within `RADIUS` of atoms (n, 3) to zero, in place."""
    reach = int(np.ceil(RADIUS / spacing))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    shape = np.array(values.shape)
    place = np.round((atoms - low) / spacing).astype(int)
    atoms, place = (a[((place > -reach) & (place < shape + reach)).all(1)] for a in (atoms, place))
    cells = place[:, None] + offsets
    near = np.linalg.norm(low + spacing * cells - atoms[:, None], axis=-1) < RADIUS
    inside = near & ((cells >= 0) & (cells < shape)).all(-1)
    values[tuple(cells[inside].T)] = 0.0
