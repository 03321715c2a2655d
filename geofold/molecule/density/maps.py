"""Density maps of crystals and of electron microscopy, read by gemmi (Wojdyr, JOSS 7:4200, 2022)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from geofold.errors import InputFileError, OptionError
from geofold.molecule.structure import Floats

MTZ_COLUMNS = (("FWT", "PHWT"), ("2FOFCWT", "PH2FOFCWT"), ("F", "PHI"))
"""Columns of map coefficients, in the order of preference."""
SAMPLING = 3.0
"""Grid points along the shortest wavelength of a map that is computed from structure factors."""
CUBIC = 3
"""Order of gemmi's interpolation."""
EXPECTED = "a map in CCP4 or MRC format (.ccp4, .mrc, .map), or map coefficients (.mtz)"


@dataclass(frozen=True, eq=False)
class DensityMap:
    """A density map.

    Attributes
    ----------
    grid : gemmi.FloatGrid
        Values in the unit cell.
    mean : float
        Mean of the map.
    resolution : float
        Resolution (A).
    source : str
        Name of the file.
    shift : (3,) float
        Position (A) of the grid's origin.
    """

    grid: Any
    mean: float
    resolution: float
    source: str
    shift: Floats = field(default_factory=lambda: np.zeros(3))

    def values(self, points: Floats) -> Floats:
        """Interpolate the density (N,), less the mean of the map, at points (N, 3) in nm."""
        positions = np.ascontiguousarray(10 * points - self.shift)
        return np.asarray(self.grid.interpolate_position_array(positions, CUBIC), dtype=float) - self.mean


def read_map(path: str, resolution: float | None) -> DensityMap:
    """Read a map.

    Parameters
    ----------
    path : str
        CCP4 or MRC map, or MTZ file with map coefficients.
    resolution : float or None
        Resolution (A); None is valid for map coefficients, which have one.

    Raises
    ------
    InputFileError
        If there is no such file, or it is not a map.
    OptionError
        If the resolution of a map is not given, or gemmi is not installed.
    """
    file = Path(path)
    if not file.is_file():
        raise InputFileError(f"{path} is not a file", EXPECTED, "check the name")
    return _read(path, resolution, file.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read(path: str, resolution: float | None, _modified: int) -> DensityMap:
    try:
        import gemmi
    except ImportError as error:
        raise OptionError("a map, which gemmi reads", "gemmi", "pip install 'geofold[density]'") from error
    try:
        if path.lower().endswith(".mtz"):
            return _from_coefficients(gemmi.read_mtz_file(path), path, resolution)
        loaded = gemmi.read_ccp4_map(path)
    except (RuntimeError, ValueError, OSError) as error:
        raise InputFileError(f"{path}: {' '.join(str(error).split())}", EXPECTED, "check the file") from error
    if resolution is None:
        raise OptionError(f"{path} without its resolution", "a number of Angstrom", "add --resolution 3.0")
    # maps of electron microscopy may have an origin in Angstrom instead of a first grid point
    starts, origin = [loaded.header_i32(k) for k in (5, 6, 7)], [loaded.header_float(k) for k in (50, 51, 52)]
    shift = np.array(origin) if not any(starts) and np.isfinite(origin).all() else np.zeros(3)
    known = np.array(loaded.grid, copy=True)
    mean = float(known[np.isfinite(known)].mean()) if np.isfinite(known).any() else math.nan
    loaded.setup(mean)  # points outside of the stored part
    return _checked(DensityMap(loaded.grid, mean, resolution, path, shift))


def _from_coefficients(mtz: Any, path: str, resolution: float | None) -> DensityMap:
    labels = set(mtz.column_labels())
    pair = next((pair for pair in MTZ_COLUMNS if set(pair) <= labels), None)
    if pair is None:
        raise InputFileError(
            f"{path} has columns {' '.join(mtz.column_labels())}",
            f"map coefficients, as {' or '.join('/'.join(pair) for pair in MTZ_COLUMNS)}",
            "compute them, for example by a refinement program",
        )
    grid = mtz.transform_f_phi_to_map(*pair, sample_rate=SAMPLING)
    found = float(mtz.resolution_high()) if resolution is None else resolution
    return _checked(DensityMap(grid, float(np.array(grid, copy=False).mean()), found, path))


def _checked(density: DensityMap) -> DensityMap:
    """Refuse a map without finite, varying values."""
    values = np.array(density.grid, copy=False)
    if not np.isfinite(values).all() or float(np.ptp(values)) == 0:
        raise InputFileError(f"{density.source} has no finite, varying density", EXPECTED, "check the file")
    return density
