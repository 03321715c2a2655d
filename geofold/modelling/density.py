"""Density maps in the modelling of loops: a term in the stream and in the ranking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geofold.modelling.options import RunOptions
from geofold.molecule.density.maps import DensityMap, read_map
from geofold.molecule.density.term import DensityTerm
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.loop.state import LoopGoal
from geofold.molecule.structure import Floats, Structure

DENSITY_WEIGHT = 3.0
"""Weight of a residue in full density in the loss of a stream, in severe overlaps, as in `scoring.Weights`."""


def map_of(options: RunOptions) -> DensityMap | None:
    """Return the map of a run, if it has one."""
    return None if options.map is None else read_map(options.map, options.resolution)


def with_density(domain: LoopDomain, structure: Structure, density: DensityMap | None) -> LoopDomain:
    """Domain of a loop of a structure that follows a map; unchanged without one."""
    if density is None:
        return domain
    term = DensityTerm.of(structure, domain.decoder, density)
    return replace(domain, density=term, goal=replace(domain.goal, density=DENSITY_WEIGHT))


def with_density_weight(goal: LoopGoal, domain: LoopDomain) -> LoopGoal:
    """Goal that follows the map of a domain, if it has one."""
    return goal if domain.density is None else replace(goal, density=DENSITY_WEIGHT)


@torch.no_grad()
def density_of_rows(domain: LoopDomain, structure: Structure, rows: Floats) -> Floats:
    """Density term (K,) of conformations (K, m, 3) of all atoms of the loop, in structure order; zero without a map."""
    if domain.density is None or not len(rows):
        return np.zeros(len(rows))
    return np.asarray(domain.density.cost(state_of_rows(domain, structure, rows).conformation.xyz).cpu().numpy())
