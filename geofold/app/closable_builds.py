"""Ranges that close the gaps of a structure: a short gap is built with its neighbours if it does not fit alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from geofold.errors import BuildError, GeofoldError
from geofold.modelling.options import RunOptions
from geofold.modelling.search.candidates import LoopCandidates
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.build_request import plan_build, plan_builds
from geofold.molecule.selection import ResidueRange
from geofold.molecule.structure import Structure

SHORT = 7
"""Number of residues up to which a gap may have no conformation that closes it without clashes: their torsions barely
exceed the six conditions of closure."""
MAX_NEIGHBOURS = 2
"""How many residues on each side are rebuilt at most."""
DRAWS = 512
"""Conformations that are drawn to see whether a range fits."""
FITS, GAIN = 10.0, 0.5
"""Cost of a drawn conformation up to which a range fits, since some severe overlaps, which cost one each, are removed
later; and to what part the lowest cost has to fall for a wider range to be taken. Of seventeen gaps of 3-7 residues cut
out of shipped structures fifteen cost at most 6; of twelve short gaps of three deposited structures eleven cost at
least 16, and end with clashes unless they are widened."""


def closable_builds(
    structure: Structure, texts: Sequence[str], options: RunOptions, fixed: Sequence[str] = ()
) -> list[str]:
    """Return ranges to build, each widened by residues on both sides until it can be closed without clashes.

    A range stays as it is if it fits, or no wider one fits better and can be built together with the others.

    Parameters
    ----------
    structure : Structure
    texts : sequence of str
        Ranges of gaps and chain ends whose sequences the structure contains.
    options : RunOptions
        With the seed and the conformer of the run.
    fixed : sequence of str
        Those of the ranges that stay as they are.
    """
    chosen = list(texts)
    for number, text in enumerate(texts):
        lowest, plans = np.inf, list(_wider_plans(structure, text)) if text not in fixed else []
        if plans and (plans[0][0].is_chain_end or len(plans[0][0].names) > SHORT):
            continue
        for plan, label in plans:
            trial = [*chosen[:number], label, *chosen[number + 1 :]]
            cost = _lowest_cost(structure, plan, options)
            better = cost <= GAIN * lowest if np.isfinite(lowest) else np.isfinite(cost)
            if better and (label == text or _go_together(structure, trial)):
                chosen, lowest = trial, cost
            if lowest <= FITS:
                break
    return chosen


def _wider_plans(structure: Structure, text: str) -> Iterator[tuple[BuildPlan, str]]:
    """Yield the plan of a range, then of ranges with one more residue on both sides, as long as there are any."""
    label = text
    for _ in range(MAX_NEIGHBOURS + 1):
        try:
            plan = plan_build(structure, label)
        except GeofoldError:
            return
        yield plan, label
        if plan.is_chain_end:
            return
        ends = (structure.residues[k] for k in (plan.before, plan.after))
        label = str(ResidueRange(plan.chain, *((residue.resnum, residue.icode) for residue in ends)))


def _lowest_cost(structure: Structure, plan: BuildPlan, options: RunOptions) -> float:
    """Lowest cost of clashes and outliers of drawn conformations of a plan; infinite if none closes it."""
    try:
        loop = LoopCandidates.of(structure, plan, altloc=options.altloc, seed=options.seed, predicts=False)
    except BuildError:
        return np.inf
    rows = loop.draw(DRAWS, np.random.default_rng([options.seed, 5]))
    return float((loop.cost(rows) + loop.outlier_after(rows)).min())


def _go_together(structure: Structure, texts: Sequence[str]) -> bool:
    """Whether ranges can be built in one run."""
    try:
        plan_builds(structure, texts)
    except GeofoldError:
        return False
    return True
