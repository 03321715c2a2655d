"""Selection of conformations that differ from one another, greedily by cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geofold.geometry import rmsd
from geofold.modelling.evaluation import backbone_of_end
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.molecule.structure import Floats, Structure

MIN_RMSD_CANDIDATES = 0.05
"""RMSD (nm) below which two candidates count as one."""
MIN_RMSD_MODELS = 0.1
"""RMSD (nm) between parents, so that offspring do not come from one family, and between several models of a loop."""


def min_rmsd(options: RunOptions) -> float:
    """RMSD (nm) between models that are returned: families if several are asked for, else distinct candidates."""
    return MIN_RMSD_MODELS if options.models > 1 else MIN_RMSD_CANDIDATES


def select_distinct(rows: Floats, cost: Floats, count: int, radius: float = MIN_RMSD_CANDIDATES) -> list[int]:
    """Return indices of the lowest rows by cost, each further than a radius from those before it.

    Parameters
    ----------
    rows : (K, m, 3)
        Coordinates (nm).
    cost : (K,)
    count : int
        Number of rows at most.
    radius : float
        RMSD (nm).
    """
    chosen: list[int] = []
    for k in np.argsort(cost, kind="stable").tolist():
        if not chosen or rmsd(rows[chosen], rows[k], -1).min() > radius:
            chosen.append(k)
            if len(chosen) == count:
                break
    return chosen


def select_diverse(rows: Floats, cost: Floats, count: int, options: RunOptions) -> list[int]:
    """Choose up to `count` rows (K, m, 3) by cost (K,): representatives of families first, then further members.

    Parameters
    ----------
    rows : (K, m, 3)
        Coordinates (nm).
    cost : (K,)
        Cost of each row; lower is better.
    count : int
        Largest number of rows.
    options : RunOptions
        Options of the run, which set the smallest RMSD between representatives.

    Returns
    -------
    list of int
        Indices of the rows.
    """
    chosen = select_distinct(rows, cost, count, min_rmsd(options))
    members = [k for k in select_distinct(rows, cost, len(rows)) if k not in chosen]
    return chosen + members[: count - len(chosen)]


def distinct_models(
    structure: Structure, models: Sequence[LoopModel], options: RunOptions, count: int | None = None
) -> list[LoopModel]:
    """Return the first model and the best of the others whose backbones differ from those before; see `min_rmsd`.

    Parameters
    ----------
    structure : Structure
    models : sequence of LoopModel
        In the order of preference.
    options : RunOptions
    count : int, optional
        Number of models at most; `options.models` if not given.
    """
    ends = np.nan_to_num([backbone_of_end(structure, model).reshape(-1, 3) for model in models])
    count = options.models if count is None else count
    order = np.arange(len(models), dtype=float)
    return [models[k] for k in select_distinct(ends, order, count, min_rmsd(options))]
