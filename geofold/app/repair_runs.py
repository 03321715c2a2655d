"""Runs of `geofold.app.api.repair`: loops that are in the structure, and loops that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from geofold.app.caps import with_caps_reported
from geofold.app.copies import with_copies_reported
from geofold.app.density import with_density_reported
from geofold.app.finalise import compare_models, finish
from geofold.app.result import Result
from geofold.modelling.cut_out import CutOut, is_large
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.preconditions import require_honoured, require_one, separate, with_missing_atoms
from geofold.modelling.progress import Progress, ProgressCallback
from geofold.modelling.repair.detection import format_range, report_plddt
from geofold.modelling.repair.loop import repair_loop
from geofold.modelling.repair.multiple_loops import repair_loops
from geofold.modelling.threads import one_thread
from geofold.molecule.caps.capping import cap_chains
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.build_request import join_loops, plan_builds
from geofold.molecule.loop.copies import CopyPair, LoopsWithCopies, add_copies
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure


@dataclass(frozen=True)
class Requests:
    """Loops of a run.

    Attributes
    ----------
    build, repair, detected : list of str
        Ranges to build, to repair, and those found by the loop model, to repair too.
    auto : bool
        Whether the loop model looked for loops, so that there may be none.
    """

    build: list[str] = field(default_factory=list)
    repair: list[str] = field(default_factory=list)
    detected: list[str] = field(default_factory=list)
    auto: bool = False


def run_repair(
    structure: Structure, requests: Requests, options: RunOptions, began: float, progress: ProgressCallback | None
) -> Result:
    """Cap chain ends if asked, then build and repair loops.

    Parameters
    ----------
    structure : Structure
        The input.
    requests : Requests
    options : RunOptions
    began : float
        Start of the run on `time.perf_counter` (s).
    progress : callable or None
        As for `repair`.

    Raises
    ------
    GeofoldError
        For ranges that cannot be used.
    """
    loops = [*requests.repair, *requests.detected]
    original, capped = structure, None
    if options.cap is not None:
        built = [(build.before, build.after) for build in plan_builds(structure, requests.build)]
        moving = [find_range(structure, text) for text in loops]
        capped = cap_chains(structure, options.cap, altloc=options.altloc, built=built, moving=moving)
        structure = capped.structure
    if requests.build:
        result = build_missing(structure, requests, options, began, progress)
    elif loops or (options.cap is None and not requests.auto):
        result = repair_existing(structure, loops, options, began, progress)
    else:
        result = finish("repair", structure, structure, [], [], options, began)
    result = with_density_reported(result, options)
    result = result if capped is None else with_caps_reported(result, original, capped)
    plddt = report_plddt(original) if requests.auto else None
    return result if plddt is None else replace(result, report=result.report | {"plddt": plddt})


def repair_existing(
    structure: Structure, texts: list[str], options: RunOptions, began: float, progress: ProgressCallback | None
) -> Result:
    """Repair loops of the structure together; with several models of one loop, all are returned.

    Parameters
    ----------
    structure : Structure
        The input.
    texts : list of str
        Ranges of residues.
    options : RunOptions
    began : float
        Start of the run on `time.perf_counter` (s).
    progress : callable or None
        As for `repair`.

    Raises
    ------
    GeofoldError
        For ranges that cannot be used.
    """
    given = separate(structure, [find_range(structure, text) for text in texts])
    copies = _with_copies(structure, [], given, options)
    ranges = separate(structure, copies.ranges)
    texts = [*texts, *(format_range(structure, *pair.copy) for pair in copies.repaired)]
    require_one(texts, options)
    structure, added, original = with_missing_atoms(structure, ranges, options)
    shared = replace(options, budget=_share(options.budget, len(ranges)))

    def begin(first: int, last: int) -> Progress:
        return Progress(progress, f"{structure.residues[first].label}-{structure.residues[last].resnum}")

    cut = CutOut.around(structure, ranges) if is_large(structure) else None
    energies = EnergySource.of(structure, options, None if cut is None else frozenset(cut.residues.tolist()))
    if energies is not None:
        energies.prepare()  # before the search, so that a refusal comes early
    with one_thread():
        if cut is None:
            several = _models(structure, ranges, shared, energies, begin, copies.repaired)
        else:
            several = _models_in(cut, ranges, shared, begin, copies.repaired)
            note = f"the loops were repaired, and energies evaluated, among {len(cut.residues)} residues around them"
            structure = replace(structure, notes=(*structure.notes, note))
    for model in several[0]:
        require_honoured(structure, model.outcome)
    result = _of_models(
        [
            finish(
                "repair",
                structure,
                original,
                added,
                [model.outcome for model in models],
                options,
                began,
                loops=texts,
                models=models,
                energies=energies,
            )
            for models in several
        ]
    )
    return with_copies_reported(result, copies.repaired, copies.left) if options.copies else result


def _models(
    structure: Structure,
    ranges: list[tuple[int, int]],
    options: RunOptions,
    energies: EnergySource | None,
    begin: Callable[[int, int], Progress],
    copies: Sequence[CopyPair],
) -> list[list[LoopModel]]:
    """Models of one loop, each by itself, or one model of each of several loops.

    Parameters
    ----------
    structure : Structure
    ranges : list of (int, int)
        First and last residue of each loop.
    options : RunOptions
    energies : EnergySource or None
        Of the structure.
    begin : callable
        Gives the progress of a loop by its first and last residue.
    copies : sequence of CopyPair
        Loops among `ranges` that are copies of others.
    """
    if len(ranges) == 1:
        (first, last) = ranges[0]
        return [[model] for model in repair_loop(structure, first, last, options, energies, begin(first, last))]
    return [repair_loops(structure, ranges, options, energies, begin, copies)]


def _models_in(
    cut: CutOut,
    ranges: list[tuple[int, int]],
    options: RunOptions,
    begin: Callable[[int, int], Progress],
    copies: Sequence[CopyPair],
) -> list[list[LoopModel]]:
    """Models as by `_models`, made in a part of the structure.

    Parameters
    ----------
    cut : CutOut
    ranges : list of (int, int)
        First and last residue of each loop in the structure, as in `copies`.
    options : RunOptions
    begin : callable
        Gives the progress of a loop by its first and last residue in the structure.
    copies : sequence of CopyPair
    """
    inside = {cut.inside(residues): residues for residues in ranges}
    # an alternate location that is absent near the loops cannot be chosen there
    altloc = options.altloc if options.altloc in cut.part.altloc else None
    shared = replace(options, altloc=altloc)
    pairs = [CopyPair(cut.inside(pair.reference), cut.inside(pair.copy)) for pair in copies]
    models = _models(
        cut.part, list(inside), shared, EnergySource.of(cut.part, shared), lambda *loop: begin(*inside[loop]), pairs
    )
    return [[cut.embed(model, options.altloc) for model in several] for several in models]


def _with_copies(
    structure: Structure, builds: list[BuildPlan], ranges: list[tuple[int, int]], options: RunOptions
) -> LoopsWithCopies:
    """Loops to build and to repair, with their copies in other chains if these are asked for."""
    return add_copies(structure, builds, ranges) if options.copies else LoopsWithCopies(builds, {}, ranges, [], [])


def _share(budget: float | None, count: int) -> float | None:
    return None if budget is None else max(budget / count, 1.0)


def _of_models(results: list[Result]) -> Result:
    """Return the first result with the others attached and a comparison of all in its report."""
    if len(results) == 1:
        return results[0]
    best = results[0]
    return replace(best, others=tuple(results[1:]), report=best.report | {"models": compare_models(results)})


def build_missing(
    structure: Structure, requests: Requests, options: RunOptions, began: float, progress: ProgressCallback | None
) -> Result:
    """Build missing loops, and repair present ones in the same run; those that meet a gap are built with it.

    Parameters
    ----------
    structure : Structure
        The input.
    requests : Requests
    options : RunOptions
    began : float
        Start of the run on `time.perf_counter` (s).
    progress : callable or None
        As for `repair`.

    Raises
    ------
    GeofoldError
        For ranges that cannot be used.
    """
    from geofold.modelling.build.gaps_and_loops import build_and_repair
    from geofold.modelling.build.missing_loops import build_loops

    builds, left = join_loops(structure, requests.build, requests.repair, requests.detected)
    given = [find_range(structure, text) for text in left]
    copies = _with_copies(structure, builds, given, options)
    builds, ranges = copies.builds, separate(structure, copies.ranges) if copies.ranges else []
    completed, added, _ = with_missing_atoms(structure, ranges, options)
    with one_thread():
        ends = sum(build.is_chain_end for build in builds)
        require_one([*(build.label for build in builds), *left], options, chain_ends=ends)
        shared = replace(options, budget=_share(options.budget, len(builds) + len(ranges)))
        if ranges:
            several = [build_and_repair(completed, builds, ranges, shared, Progress(progress), copies)]
        else:
            several = build_loops(completed, builds, shared, Progress(progress), copies.built)
    result = _of_models(
        [
            finish(
                "repair",
                done.structure,
                structure,
                [*added, *done.added],
                done.outcomes,
                options,
                began,
                loops=done.loops,
                built=done,
                models=done.models,
            )
            for done in several
        ]
    )
    return with_copies_reported(result, several[0].copies, copies.left) if options.copies else result
