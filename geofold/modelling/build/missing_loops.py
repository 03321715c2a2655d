"""Building of missing loops: initial models of each, then their refinement in sequence, and the report of the build.

Several loops are built in the order of their certainty: the one with the least room to vary comes first, and the
others are searched for in its presence. Those that touch a loop that was refined later are refined once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from geofold.modelling.build.copied_models import copied_initial_models
from geofold.modelling.build.initial_models import InitialModels, initial_models
from geofold.modelling.build.refine_models import refine_models
from geofold.modelling.build.several_loops import refine_touching, room_to_vary, shifted, spans_of
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, StreamOutcome
from geofold.modelling.preconditions import require_parameters
from geofold.modelling.progress import Progress
from geofold.modelling.repair.copies import model_copies
from geofold.modelling.repair.side_chain_shell import ANGSTROM, EVER_REACHED, SHELL_MARGIN, reachable_residues
from geofold.modelling.search.chain_end import with_ensemble_confidence
from geofold.modelling.search.ensemble import with_confidence, with_external_rmsd
from geofold.modelling.time_budget import TimeBudget
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.copies import CopyPair
from geofold.molecule.selection import ResidueRange, atom_label
from geofold.molecule.sidechains.repacking import complete_side_chains
from geofold.molecule.structure import AddedAtom, Structure

LONGEST_SIDE_CHAIN = 8.0
"""Distance (A) from CB to the end of a side chain, with a contact distance."""


@dataclass(frozen=True, eq=False)
class BuiltLoops:
    """Loops that were built.

    Attributes
    ----------
    original : Structure
        The input, with completed side chains around the loops if they are repacked.
    structure : Structure
        Structure with the new residues where their streams began.
    initial : list of InitialModels
        One for each loop, in the order of the file.
    spans : list of (int, int)
        First and last residue of each loop in `structure`.
    models : list of LoopModel
        One for each loop that was built, then one for each of `repaired`.
    added : list of AddedAtom
        Atoms that side chains around the loops lacked.
    repaired : list of (int, int)
        First and last residue in `original` of each loop that was repaired in the same run.
    copies : list of CopyPair
        Loops of `structure` that are copies of others.
    """

    original: Structure
    structure: Structure
    initial: list[InitialModels]
    spans: list[tuple[int, int]]
    models: list[LoopModel]
    added: list[AddedAtom]
    repaired: list[tuple[int, int]] = field(default_factory=list)
    copies: list[CopyPair] = field(default_factory=list)

    @property
    def outcomes(self) -> list[StreamOutcome]:
        """Outcome of each loop's stream."""
        return [model.outcome for model in self.models]

    @property
    def atoms(self) -> np.ndarray:
        """New atoms of `structure`, (n_atoms,) bool."""
        residues = [k for first, last in self.spans for k in range(first, last + 1)]
        return np.isin(self.structure.residue_of, residues)

    @property
    def loops(self) -> list[str]:
        """Ranges as users write them, in the order of `models`."""
        residues = self.original.residues
        ends = [(residues[first], residues[last]) for first, last in self.repaired]
        spans = [ResidueRange(a.chain, (a.resnum, a.icode), (b.resnum, b.icode)) for a, b in ends]
        return [*(models.build.label for models in self.initial), *map(str, spans)]

    def others_moved(self, xyz: np.ndarray) -> float:
        """Largest coordinate difference (A) of atoms that were to stay, between input and end (n_atoms, 3)."""
        moving = np.concatenate([outcome.moved_atoms for outcome in self.outcomes])
        staying = ~np.isin(np.arange(len(xyz)), moving)[~self.atoms]
        shift = np.abs(xyz[~self.atoms] - self.original.xyz[~self._removed])
        return float(10 * shift[staying].max())

    @property
    def _removed(self) -> np.ndarray:
        """Atoms of `original` that were removed, (n_atoms,) bool."""
        return np.isin(self.original.residue_of, [k for models in self.initial for k in models.build.removed])

    @property
    def missing(self) -> int:
        """Number of residues that the input lacked."""
        return sum(len(models.build.names) - self._replaced(models.build) for models in self.initial)

    def _replaced(self, build: BuildPlan) -> int:
        """Count the amino acids that a loop replaces, without caps."""
        return sum(self.original.is_amino_acid(k) for k in build.removed)

    def report(self) -> list[dict[str, Any]]:
        """Entry of each loop in the report."""
        return [
            {
                "residues": models.build.label,
                "sequence": models.build.sequence,
                "sequence_from": models.build.source,
                "atoms": int(models.rows.shape[1]),
                "residues_replaced": self._replaced(models.build),
                "conformations": {"tried": models.tried, "kept": len(models.rows)},
            }
            for models in self.initial
        ]

    def notes(self) -> list[str]:
        """Limitations of the built structure that its user should know."""
        notes = [note for models in self.initial for note in models.build.notes]
        if np.isin(self.original.element, ("H", "D"))[~self.original.hetatm].any():
            notes.append("the built residues have no hydrogens")
        lost = [link for link in self.original.links if self._removed[[link.i, link.j]].sum() == 1]
        if lost:
            links = ", ".join(
                f"{atom_label(self.original, link.i)} - {atom_label(self.original, link.j)}" for link in lost
            )
            notes.append(f"links to residues that were rebuilt are not kept: {links}")
        if any("CYS" in models.build.names for models in self.initial):
            notes.append("disulfides of built residues are not made")
        return notes


def build_loops(
    structure: Structure,
    builds: Sequence[BuildPlan],
    options: RunOptions,
    progress: Progress | None = None,
    copies: Mapping[int, int] | None = None,
) -> list[BuiltLoops]:
    """Build missing loops.

    Parameters
    ----------
    structure : Structure
    builds : sequence of BuildPlan
        Loops in the order of the file; see `plan_builds`.
    options : RunOptions
    progress : Progress, optional
    copies : mapping of int to int, optional
        For each of the loops that is a copy of another one, the number of that one.

    Returns
    -------
    list of BuiltLoops
        Best first, at most `options.models`; one if there are several loops, unless all are chain ends.

    Raises
    ------
    GeofoldError
        If a loop cannot be built; see `require_parameters` and `initial_models`.
    """
    progress, copies = Progress() if progress is None else progress, copies or {}
    if options.decides_shell:
        return _build_both_ways(structure, builds, options, progress, copies)
    added = list[AddedAtom]()
    require_parameters(structure, options, {k for build in builds for k in build.removed})
    if options.shell:
        structure, added = _complete_side_chains(structure, builds, options)
    order = sorted(range(len(builds)), key=lambda k: (k in copies, room_to_vary(structure, builds[k])))
    count = len(builds)
    stages = [progress.begin(f"gap {number} of {count}" if count > 1 else "") for number in range(1, count + 1)]
    start, found, remaining = structure, dict[int, InitialModels](), dict[int, float | None]()
    for number, k in enumerate(order):
        budget = TimeBudget(options.budget)
        build = shifted(builds[k], [builds[j] for j in order[:number]])
        if k in copies:
            reference = spans_of([shifted(builds[copies[k]], [builds[j] for j in order[:number]])])[0]
            found[k] = copied_initial_models(start, build, reference, options)
        else:
            found[k] = initial_models(start, build, options, stages[number].begin(f"{build.label} backbone"), budget)
        remaining[k], start = budget.remaining, found[k].structure
    initial = [replace(found[k], build=build) for k, build in enumerate(builds)]
    spans, present, found_models = spans_of(builds), start, dict[int, list[LoopModel]]()
    for number, k in enumerate(order):
        if k in copies:
            continue
        models, stage = initial[k], stages[number].begin(builds[k].label)
        found_models[k] = [
            _with_confidence(present, model, models)
            for model in refine_models(present, spans[k][0], models, options, stage, TimeBudget(remaining[k]))
        ]
        present = replace(present, xyz=found_models[k][0].outcome.apply(present.xyz))
    pairs = [CopyPair(spans[copies[k]], spans[k]) for k in order if k in copies]
    modelled = model_copies(present, pairs, options, EnergySource.of(present, options), may_keep=False)
    for k, model in zip([k for k in order if k in copies], modelled, strict=True):
        found_models[k] = [model.with_confidence_of(found_models[copies[k]][0])]
        present = replace(present, xyz=model.outcome.apply(present.xyz))
    several = _combined([found_models[k] for k in range(count)])
    if count > 1:
        several = [refine_touching(_with_models(present, models), models, spans, order, options) for models in several]
    return [
        BuiltLoops(structure, at_start(start, models), initial, spans, models, added, copies=pairs)
        for models in several
    ]


def _combined(alternatives: Sequence[Sequence[LoopModel]]) -> list[list[LoopModel]]:
    """Combine the models of several loops: the first ones, the second ones, and so on, each at least once."""
    return [[models[min(k, len(models) - 1)] for models in alternatives] for k in range(max(map(len, alternatives)))]


def _with_models(structure: Structure, models: Sequence[LoopModel]) -> Structure:
    """Structure with the ends of models applied to it."""
    for model in models:
        structure = replace(structure, xyz=model.outcome.apply(structure.xyz))
    return structure


def _with_confidence(structure: Structure, model: LoopModel, initial: InitialModels) -> LoopModel:
    """Return the model with its confidence, and its RMSD from candidates from elsewhere."""
    if initial.end_ensemble is not None:
        return with_ensemble_confidence(structure, model, initial.end_ensemble)
    return with_confidence(structure, with_external_rmsd(structure, model, initial.ensemble), initial.ensemble)


def _build_both_ways(
    structure: Structure,
    builds: Sequence[BuildPlan],
    options: RunOptions,
    progress: Progress,
    copies: Mapping[int, int],
) -> list[BuiltLoops]:
    """Build among the side chains as they are, or, if a loop is not clean there, with these where that is better."""
    staying = build_loops(structure, builds, replace(options, repack_shell=0.0), progress, copies)
    if all(model.outcome.status == "done" for model in staying[0].models):
        return staying
    packed = build_loops(structure, builds, replace(options, repack_shell=options.shell), progress, copies)
    costs = [sum(model.cost_without_energy for model in built[0].models) for built in (staying, packed)]
    return packed if costs[1] < costs[0] - SHELL_MARGIN * len(builds) else staying


def _complete_side_chains(
    structure: Structure, builds: Sequence[BuildPlan], options: RunOptions
) -> tuple[Structure, list[AddedAtom]]:
    """Return the structure with complete side chains wherever a loop could touch them.

    The force field would complete them too, but without regard to the loop.
    """
    radius = ANGSTROM * (options.shell + LONGEST_SIDE_CHAIN)
    near = {k for build in builds for k in reachable_residues(structure, build, radius, options, EVER_REACHED)}
    return complete_side_chains(structure, sorted(near), seed=options.seed)


def at_start(structure: Structure, models: list[LoopModel]) -> Structure:
    """Return the structure with its new residues where their streams began."""
    xyz = structure.xyz.copy()
    for outcome in (model.outcome for model in models):
        carried = np.isin(outcome.atoms, outcome.tree.atoms)
        xyz[outcome.atoms[carried]] = outcome.frames[0][carried]
    return replace(structure, xyz=xyz)
