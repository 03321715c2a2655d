"""Refinement of a loop that was built: the best of its initial models, ranked by their refined ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from geofold.modelling.build.initial_models import InitialModels
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import evaluate_model
from geofold.modelling.force_field_stage import REGION
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.progress import Progress
from geofold.modelling.repair.candidate_models import FINALISTS
from geofold.modelling.repair.refinement import loop_domain, refine
from geofold.modelling.repair.side_chain_shell import ANGSTROM, SideChainShell
from geofold.modelling.scoring import REFINED
from geofold.modelling.search.diversity import distinct_models, select_diverse
from geofold.modelling.time_budget import TimeBudget
from geofold.molecule.energy.all_atom import region
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.structure import Floats, Structure

RETRIES = 3
"""Multiple of the usual number of models that are refined at most, as long as none of them is clean."""


def refine_models(
    structure: Structure,
    first: int,
    initial: InitialModels,
    options: RunOptions,
    progress: Progress | None = None,
    budget: TimeBudget | None = None,
) -> list[LoopModel]:
    """Refine the best initial models of a loop.

    Parameters
    ----------
    structure : Structure
        Structure with the new residues.
    first : int
        First of the new residues in it.
    initial : InitialModels
    options : RunOptions
    progress : Progress, optional
    budget : TimeBudget, optional

    Returns
    -------
    list of LoopModel
        At most `options.models`: clean models first, then by cost.
    """
    progress = Progress() if progress is None else progress
    budget = TimeBudget() if budget is None else budget
    last = first + len(initial.build.names) - 1
    refine_row = (_in_shell if options.shell else _in_place)(structure, first, last, initial.rows, options)
    count = max(FINALISTS, options.models)
    models: list[LoopModel] = []
    for row in select_diverse(initial.rows, initial.cost, RETRIES * count, options):
        if len(models) >= count and any(model.outcome.status == "done" for model in models):
            break
        models.append(refine_row(row).with_terms(cis=REFINED.cis * float(initial.scores.cis[row])))
        progress.update(len(models), max(count, len(models)), float(initial.cost[row]))
        if budget.exhausted():
            break
    models = sorted(models, key=lambda model: (model.outcome.status != "done", model.cost))
    return distinct_models(structure, models, options)


def _in_place(
    structure: Structure, first: int, last: int, rows: Floats, options: RunOptions
) -> Callable[[int], LoopModel]:
    """Refines a row while all other residues stay."""
    domain = loop_domain(structure, first, last, options)
    # energies of the residues around rank models; those of all others are equal
    around = region(structure, rows.reshape(-1, 3), REGION)
    state, energies = state_of_rows(domain, structure, rows), EnergySource.of(structure, options, around)

    def refine_row(row: int) -> LoopModel:
        outcome = refine(structure, domain, domain.select(state, torch.tensor([row])), options, energies)
        return evaluate_model(structure, domain, outcome, energies)

    return refine_row


def _in_shell(
    structure: Structure, first: int, last: int, rows: Floats, options: RunOptions
) -> Callable[[int], LoopModel]:
    """Refines a row after the side chains around it were repacked."""
    shell = SideChainShell(structure, first, last, ANGSTROM * options.shell, options).restricted_to(rows)
    atoms = np.flatnonzero(structure.atoms_within(first, last))

    def refine_row(row: int) -> LoopModel:
        xyz = structure.xyz.copy()
        xyz[atoms] = rows[row]
        return shell.refine(xyz, ())

    return refine_row
