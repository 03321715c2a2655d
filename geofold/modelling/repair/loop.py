"""Repair of one loop: refined from the input, from where the loop model leads it, and from a search without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from geofold.errors import GeofoldError
from geofold.geometry import rmsd
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import backbone_of_end, evaluate_model, rank_models, sort_models
from geofold.modelling.options import AUTO_SHELL, RunOptions
from geofold.modelling.outcome import LOOP_SEARCH, LoopModel, RepackedAlternative, embed_fragment
from geofold.modelling.progress import Progress
from geofold.modelling.repair.candidate_models import FINALISTS, candidate_models
from geofold.modelling.repair.refinement import MIN_IMPROVEMENT, loop_domain, refine
from geofold.modelling.repair.side_chain_shell import (
    ANGSTROM,
    SHELL_MARGIN,
    SideChainShell,
    without_reachable_side_chains,
)
from geofold.modelling.search.diversity import distinct_models
from geofold.modelling.search.ensemble import Ensemble, with_confidence, with_external_rmsd
from geofold.modelling.time_budget import TimeBudget
from geofold.modelling.trajectory import NO_PREDICTOR, no_motion
from geofold.molecule.loop.build_plan import rebuild_plan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.structure import Structure

KEEP_MARGIN, CLEAN_MARGIN = 2.0, 5.0
"""By how much the cost of a model has to be lower than that of the input's loop, refined in place, to replace it; the
second if the input is nearly clean. Among twenty native loops of validation proteins the largest gain of a model, 6 A
away from a native with two overlaps, is 2.7; models of two wrong loops among side chains that fit them gain 18 and 33.
With 5 for all, three of six bent loops of the tuning set stay 1.2 to 1.6 A off instead of 0.1 to 0.2 A."""
NEARLY_CLEAN = 5.0
"""Geometric cost of an input below which it counts as nearly clean: a few severe overlaps or outliers."""
WORTHWHILE_SHARE = 0.5
"""Share of the cost of an input that a model refined from it may keep if it removes no overlap and no outlier: where
less is gained, such as at an overlap that no torsion can remove, a native loop is left alone."""
UNCERTAIN = 3.0
"""Expected RMSD (A) of a model above which the side chains around the loop are called into question."""
STRICT_WEIGHT = 1.0
"""Energy weight (per kJ/mol) large enough that the energy alone decides."""


class ShellModels(NamedTuple):
    """Models packed with the side chains around them, lowest cost first."""

    models: list[LoopModel]
    ensemble: Ensemble | None
    energies: EnergySource | None


@dataclass(frozen=True, eq=False)
class LoopRepair:
    """The repair of residues `first` to `last` of a structure.

    Attributes
    ----------
    structure : Structure
    first, last : int
        Residues, inclusive.
    options : RunOptions
    energies : EnergySource or None
    budget : TimeBudget
    progress : Progress
    """

    structure: Structure
    first: int
    last: int
    options: RunOptions
    energies: EnergySource | None
    budget: TimeBudget
    progress: Progress

    def run(self) -> list[LoopModel]:
        """Models of the loop, best first, at most `options.models`."""
        if self.options.shell and not self.options.decides_shell:
            return self._run()
        staying = replace(self, options=replace(self.options, repack_shell=0.0))._run()
        if not self._may_be_held(staying[0]):
            return staying
        packed = replace(self, options=replace(self.options, repack_shell=AUTO_SHELL))._models_in_shell(staying[0])
        if not (packed.models and _surely_better(packed.models[0], staying[0])):
            return staying
        if self.options.decides_shell:
            return self._finish(packed.models, packed.ensemble)
        return [replace(staying[0], alternative=self._compare(staying[0], packed)), *staying[1:]]

    def _may_be_held(self, model: LoopModel) -> bool:
        """Whether the side chains around may hold the loop in a wrong place.

        They fit the input's loop, leave no clean model, or leave an uncertain one.
        """
        if self.options.predictor == NO_PREDICTOR or model.outcome.status == "rigid" or self.budget.exhausted():
            return False
        uncertain = model.confidence is not None and model.confidence[0] > UNCERTAIN
        return model.outcome.status == "stuck" or uncertain or self._nearly_clean

    def _compare(self, staying: LoopModel, packed: ShellModels) -> RepackedAlternative:
        """Compare a model among the present side chains with the best among repacked ones."""
        here, there = (backbone_of_end(self.structure, model) for model in (staying, packed.models[0]))
        before, after = (
            model.confidence or with_confidence(self.structure, model, packed.ensemble).confidence
            for model in (staying, packed.models[0])
        )
        moved = packed.models[0].outcome.repacked.atoms
        return RepackedAlternative(
            len(np.unique(self.structure.residue_of[moved])),
            10 * float(rmsd(here, there)),
            None if before is None or after is None else (before[0], after[0]),
        )

    def _run(self) -> list[LoopModel]:
        """Models with or without a shell."""
        packed = self._models_in_shell() if self.options.shell else ShellModels([], None, None)
        if packed.models and not self._input_still_best(packed):
            return self._finish(packed.models, packed.ensemble)
        domain = self._input
        # with a shell, the search has already been run
        search = candidate_models(
            self.structure, domain, self.options, self.energies, self.budget, self.progress, search=not packed.models
        )
        if not search.outcomes:
            return [LoopModel(no_motion(domain, self.structure.xyz), {})]
        models = rank_models(self.structure, search.outcomes, search.scores, self.energies)
        near = next(model for model in models if model.outcome is search.outcomes[0])
        nearly_clean = self._nearly_clean
        # a nearly clean input gives way to clean models only
        rivals = [model for model in models if model.outcome.status == "done" or not nearly_clean]
        if not rivals or rivals[0].cost > near.cost - (CLEAN_MARGIN if nearly_clean else KEEP_MARGIN):
            # the input, refined in place, is preferred to a model that is hardly better
            improved = self._improves(domain, near)
            best = near if improved else replace(near, outcome=no_motion(domain, self.structure.xyz, "kept"))
        else:
            best = rivals[0]
        if self.energies is not None and best.outcome.status != "kept":
            best = self._no_worse_than_input(domain, best, near, self.energies)
        ensemble = packed.ensemble if search.ensemble is None else search.ensemble
        return self._finish([best, *models, *packed.models], ensemble)

    def _improves(self, domain: LoopDomain, near: LoopModel) -> bool:
        """Whether a model refined from the input has fewer overlaps and outliers, or far smaller ones."""
        states = [domain.start(xyz) for xyz in (self.structure.xyz, near.outcome.apply(self.structure.xyz))]
        before, after = (domain.count_defects(state)[0] for state in states)
        cost, refined = (float(domain.cost(state)[0]) for state in states)
        if not before or refined > cost - MIN_IMPROVEMENT:
            return False
        return after < before or refined < WORTHWHILE_SHARE * cost

    @cached_property
    def _nearly_clean(self) -> bool:
        """Whether the input has a few severe overlaps or outliers at most."""
        return float(self._input.cost(self._input.start(self.structure.xyz))[0]) < NEARLY_CLEAN

    @cached_property
    def _input(self) -> LoopDomain:
        """The loop of the input as a domain."""
        return self._domain(self.structure)

    def _domain(self, structure: Structure) -> LoopDomain:
        return loop_domain(structure, self.first, self.last, self.options)

    def _finish(self, models: list[LoopModel], ensemble: Ensemble | None) -> list[LoopModel]:
        """Distinct models with their confidence, where they were found by a search."""
        chosen = [
            with_external_rmsd(self.structure, model, ensemble)
            for model in distinct_models(self.structure, models, self.options)
        ]
        return [
            with_confidence(self.structure, model, ensemble) if model.outcome.predictor == LOOP_SEARCH else model
            for model in chosen
        ]

    def _no_worse_than_input(
        self, domain: LoopDomain, best: LoopModel, near: LoopModel, energies: EnergySource
    ) -> LoopModel:
        """Return the best model if its energy is below the input's, else one nearer to the input: refined in place."""
        before = energies.energy(self.structure.xyz)
        if best.energy is None or best.energy < before or not np.isfinite(before):
            return best
        # A loop that was nearly right is better refined in place than traded for a clean one of higher energy.
        if near.energy is not None and near.energy < before:
            return near
        # An outlier that the force field does not allow is not removed either: then the energy alone decides.
        start = domain.start(self.structure.xyz)
        outcome = refine(self.structure, domain, start, self.options, energies, weight=STRICT_WEIGHT)
        strict = evaluate_model(self.structure, domain, outcome, energies)
        return min((strict, near, best), key=lambda model: model.energy or 0.0)

    def _models_in_shell(self, rival: LoopModel | None = None) -> ShellModels:
        """Models found without the side chains around, packed with them and refined.

        Parameters
        ----------
        rival : LoopModel, optional
            Model among the side chains as they are. There are no models if none is surely better than it, even
            without the clashes that packing will add.
        """
        options = self.options
        if not self._input.tree.closed:
            return ShellModels([], None, None)  # a chain end is refined from the input only
        try:
            plan = rebuild_plan(self.structure, self.first, self.last)
            bare, kept = without_reachable_side_chains(self.structure, plan, options)
        except GeofoldError:
            return ShellModels([], None, None)  # this loop cannot be rebuilt
        search = candidate_models(
            bare, self._domain(bare), options, None, self.budget, self.progress, only_source=rival is None
        )
        if not search.outcomes:
            return ShellModels([], None, None)
        unpacked = rank_models(bare, search.outcomes, search.scores, None)
        if rival is not None and not _surely_better(unpacked[0], rival):
            return ShellModels([], None, None)
        chosen = distinct_models(bare, unpacked, options, max(FINALISTS, options.models))
        shell = SideChainShell(self.structure, self.first, self.last, ANGSTROM * options.shell, options)
        shell = shell.restricted_to(np.array([model.outcome.frames[-1] for model in chosen]))
        progress, atoms = self.progress.begin("pack and refine"), np.flatnonzero(kept)
        models: list[LoopModel] = []
        for model in chosen:
            outcome = model.outcome
            frames = [embed_fragment(self.structure.xyz, atoms, outcome, frame) for frame in outcome.frames]
            packed = shell.refine(frames[-1], frames[:-1])
            models.append(replace(packed, outcome=replace(packed.outcome, predictor=outcome.predictor)))
            progress.update(len(models), len(chosen), models[-1].cost)
            if self.budget.exhausted():
                break
        ranked = sort_models(models)
        return ShellModels(ranked, search.ensemble, shell.energies)

    def _input_still_best(self, packed: ShellModels) -> bool:
        """Whether the best model was refined from the input and repacking did not lower its energy.

        A loop that was found by a search is not compared with side chains that fit another one.
        """
        best = packed.models[0]
        if packed.energies is None or best.energy is None or best.outcome.predictor == LOOP_SEARCH:
            return False
        return best.energy >= packed.energies.energy(self.structure.xyz)


def _surely_better(packed: LoopModel, staying: LoopModel) -> bool:
    """Whether a model among repacked side chains is surely better than one among the present ones.

    The energies of different surroundings are not comparable and do not count.
    """
    return packed.cost_without_energy < staying.cost_without_energy - SHELL_MARGIN


def repair_loop(
    structure: Structure,
    first: int,
    last: int,
    options: RunOptions,
    energies: EnergySource | None,
    progress: Progress | None = None,
) -> list[LoopModel]:
    """Repair residues `first` to `last` of a structure until they have neither clashes nor outliers.

    Parameters
    ----------
    structure : Structure
    first, last : int
        Residues, inclusive.
    options : RunOptions
    energies : EnergySource or None
        Of structures with the same atoms, by which models are refined and ranked.
    progress : Progress, optional

    Returns
    -------
    list of LoopModel
        Best first, at most `options.models`; one with status 'rigid' and no motion where closure leaves no freedom.
    """
    progress = Progress() if progress is None else progress
    return LoopRepair(structure, first, last, options, energies, TimeBudget(options.budget), progress).run()
