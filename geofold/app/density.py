"""Density maps in the report of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app.result import Result
from geofold.errors import OptionError
from geofold.modelling.density import map_of
from geofold.modelling.options import RunOptions
from geofold.molecule.density.correlation import residue_correlations
from geofold.molecule.density.maps import DensityMap


def require_map(options: RunOptions) -> None:
    """Read the map of a run before anything else, so that a refusal comes early.

    Raises
    ------
    InputFileError, OptionError
        If it cannot be read, or there is a resolution without a map.
    """
    if options.map is None and options.resolution is not None:
        raise OptionError(f"resolution {options.resolution} without a map", "both", "add --map, or leave it out")
    map_of(options)


def with_density_reported(result: Result, options: RunOptions) -> Result:
    """Return a result whose report has the correlation of each modelled residue with the map of the run."""
    density = map_of(options)
    if density is None:
        return result
    others = tuple(replace(other, report=other.report | _section(other, density)) for other in result.others)
    return replace(result, report=result.report | _section(result, density), others=others)


def _section(result: Result, density: DensityMap) -> dict[str, Any]:
    """Section of the report."""
    structure, conformer = result.structure, result.structure.conformer(result.altloc)
    residues = [k for first, last in result.spans for k in range(first, last + 1)]
    after = residue_correlations(structure, result.xyz, density, residues, conformer)
    section: dict[str, Any] = {
        "map": density.source,
        "resolution_angstrom": density.resolution,
        "correlation": _mean(after),
        "residue_correlation": {structure.residues[k].label: round(value, 3) for k, value in after.items()},
    }
    if "built" not in result.report:
        before = residue_correlations(structure, structure.xyz, density, residues, conformer)
        section["correlation_before"] = _mean(before)
    return {"density": section}


def _mean(correlations: dict[int, float]) -> float | None:
    return round(float(np.mean(list(correlations.values()))), 3) if correlations else None
