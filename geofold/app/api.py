"""The Python interface: `repair`, `constrain`, `check`.

A source is a path, the content of a PDB or mmCIF file (bytes, text, an open file), an mdtraj.Trajectory, a Bio.PDB
Structure, Model or Chain, an MDAnalysis Universe or AtomGroup, an OpenMM object with ``topology`` and ``positions``
(PDBFile, Modeller), or a pair of the two; `Result.like` returns the result as the same kind of object.
The fourth function, `steer`, is in `geofold.app.steering.steering`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from geofold.app.finalise import compare_models, energy_model, finish
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.app.start import load_or_build
from geofold.errors import ContactError, OptionError
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.peptide.streaming import constrain_peptide
from geofold.modelling.preconditions import chain_of, require_honoured, require_one, separate, with_missing_atoms
from geofold.modelling.progress import Progress, ProgressCallback
from geofold.modelling.repair.loop import repair_loop
from geofold.modelling.repair.multiple_loops import repair_loops
from geofold.modelling.threads import one_thread
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.selection import find_range
from geofold.molecule.structure import Structure


def repair(
    source: Any,
    loop: str | Sequence[str] = (),
    *,
    auto: bool = False,
    build: str | Sequence[str] = (),
    seed: int = 0,
    altloc: str | None = None,
    energy: bool = True,
    streams: int = 12,
    rounds: int = 6,
    device: str = "cpu",
    predictor: str = PREDICTORS[0],
    models: int = 1,
    budget: float | None = None,
    repack_shell: float = 0.0,
    allow_cis_pro: bool = False,
    name: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Repair one or several loops, or build missing ones; nothing else moves.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        The structure; the module lists the accepted types.
    loop : str or sequence of str
        Residue ranges as numbered in the file: ``"A:45-56"``, ``"A:45A-56"``, ``":45-56"`` for a blank chain id.
    auto : bool
        Detect the loops to repair instead; without any, the structure is returned unchanged.
    build : str or sequence of str
        Missing loops to build instead, ``"A:45-56=SEQUENCE"``, or ``"A:45-56"`` if the file contains the sequence.
        Existing residues within the range are rebuilt.
    seed, altloc, energy, streams, rounds, device, predictor, models, budget, repack_shell, allow_cis_pro
        See `RunOptions`; with several models, those after the first are in the result's `others`.
    name : str, optional
        Name of the input in the report.
    progress : callable, optional
        Called with the segment's name, the steps done, the maximum and the loss.

    Returns
    -------
    Result

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    began = time.perf_counter()
    options = RunOptions(
        seed=seed,
        altloc=altloc,
        energy=energy,
        streams=streams,
        rounds=rounds,
        device=device,
        predictor=predictor,
        models=models,
        budget=budget,
        repack_shell=repack_shell,
        allow_cis_pro=allow_cis_pro,
    )
    structure = load(source, name)
    texts = [loop] if isinstance(loop, str) else list(loop)
    if build:
        if texts or auto:
            raise OptionError(
                f"loops to build and {'auto' if auto else 'loops to repair'}",
                "one of them",
                "build first, then repair what comes out",
            )
        return _built(structure, [build] if isinstance(build, str) else list(build), options, began, progress)
    if auto:
        if texts:
            raise OptionError(f"loops ({', '.join(texts)}) and auto", "one of them", "leave one out")
        with one_thread():
            texts = _detect_ranges(structure, altloc)
        if not texts:
            return finish("repair", structure, structure, [], [], options, began)
    return _repaired(structure, texts, options, began, progress)


def _repaired(
    structure: Structure, texts: list[str], options: RunOptions, began: float, progress: ProgressCallback | None
) -> Result:
    ranges = separate(structure, [find_range(structure, text) for text in texts])
    require_one(texts, options)
    structure, added, original = with_missing_atoms(structure, ranges, options)
    shared = replace(options, budget=_share(options.budget, len(ranges)))

    def begin(first: int, last: int) -> Progress:
        return Progress(progress, f"{structure.residues[first].label}-{structure.residues[last].resnum}")

    start_model = energy_model(structure, structure.xyz, options)  # before the search, so that a refusal comes early
    with one_thread():
        if len(ranges) == 1:
            several = [[model] for model in repair_loop(structure, *ranges[0], shared, begin(*ranges[0]))]
        else:
            several = [repair_loops(structure, ranges, shared, begin)]
    for model in several[0]:
        require_honoured(structure, model.outcome)
    return _of_models(
        [
            finish(
                "repair",
                structure,
                original,
                added,
                [model.outcome for model in own],
                options,
                began,
                loops=texts,
                models=own,
                start_model=start_model,
            )
            for own in several
        ]
    )


def _share(budget: float | None, count: int) -> float | None:
    return None if budget is None else max(budget / count, 1.0)


def _of_models(results: list[Result]) -> Result:
    """Return the first result with the others attached and a comparison of all in its report."""
    if len(results) == 1:
        return results[0]
    best = results[0]
    return replace(best, others=tuple(results[1:]), report=best.report | {"models": compare_models(results)})


def _built(
    structure: Structure, texts: list[str], options: RunOptions, began: float, progress: ProgressCallback | None
) -> Result:
    from geofold.modelling.build.missing_loops import build_loops

    with one_thread():
        require_one(texts, options)
        shared = replace(options, budget=_share(options.budget, len(texts)))
        several = build_loops(structure, texts, shared, Progress(progress))
    return _of_models(
        [
            finish(
                "repair",
                done.structure,
                structure,
                done.added,
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


def constrain(
    source: Any = None,
    contacts: Sequence[str] = (),
    *,
    sequence: str | None = None,
    start: str = "extended",
    seed: int = 0,
    altloc: str | None = None,
    energy: bool = True,
    steps: int = 128,
    device: str = "cpu",
    predictor: str = PREDICTORS[0],
    name: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Bring residues of a peptide together (or keep them apart) by its torsions.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object, optional
        The structure; the module lists the accepted types. Alternatively, give `sequence`.
    contacts : sequence of str
        ``"A:3-A:10<6.0"`` (CB atoms within 6.0 A; CA for glycine), ``"A:3@CA-A:10@CA>8.0"``. The chain of the
        first residue named moves; the other end of a contact may be in the same chain or in the fixed part.
    sequence : str, optional
        One-letter codes of a peptide to start from.
    start : 'extended' or 'prior'
        Start conformation of a sequence: an extended chain, or torsions sampled from the torsion prior.
    seed, altloc, energy, device
        See `RunOptions`.
    steps : int
        Maximum number of streaming steps.
    predictor : 'trained' or 'hold-still'
        Whether the shipped peptide policy proposes moves, or the chain moves by corrections only.
    name : str, optional
        Name of the input in the report.
    progress : callable, optional
        As for `repair`.

    Returns
    -------
    Result

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    began = time.perf_counter()
    options = RunOptions(seed=seed, altloc=altloc, energy=energy, steps=steps, device=device, predictor=predictor)
    structure = load_or_build(source, sequence, start, seed, name)
    if not contacts:
        raise ContactError("no contact", "at least one contact such as A:3-A:10<6.0", "add one with --contact")
    wanted = tuple(parse_contact(structure, text, altloc) for text in contacts)
    first, last = chain_of(structure, wanted)
    structure, added, original = with_missing_atoms(structure, [(first, last)], options)
    if added:
        wanted = tuple(parse_contact(structure, text, altloc) for text in contacts)
    stage = Progress(progress, "peptide")
    with one_thread():
        outcome = constrain_peptide(structure, first, last, wanted, options, stage)
        if outcome.status == "stuck" and options.predictor != PREDICTORS[-1]:
            # on cases unlike its training data the policy may fail where corrections alone succeed
            alone = constrain_peptide(structure, first, last, wanted, replace(options, predictor=PREDICTORS[-1]), stage)
            outcome = alone if alone.status == "done" else outcome
    require_honoured(structure, outcome)
    return finish("constrain", structure, original, added, [outcome], options, began, contacts=wanted)


def _detect_ranges(structure: Structure, altloc: str | None) -> list[str]:
    from geofold.modelling.repair.detection import find_loops, format_range

    return [format_range(structure, first, last) for first, last in find_loops(structure, altloc)[0]]


def check(source: Any, *, energy: bool = True, altloc: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Measure a structure without changing it: clashes, Ramachandran, cis bonds, chain breaks, energy.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        The structure; the module lists the accepted types.
    energy : bool
        Evaluate amber14 + OBC2.
    altloc : str, optional
        Conformer to measure if the backbone has several.
    name : str, optional
        Name of the input in the report.

    Returns
    -------
    dict
        Report of schema ``geofold-report/1`` with ``before`` (there is no ``after``) and ``chain_breaks``.

    Raises
    ------
    GeofoldError
        For input that cannot be used; the message says what to do.
    """
    from geofold.app.report.check import inspect
    from geofold.app.report.energies import as_it_is

    with one_thread():
        return inspect(
            load(source, name), energy=(lambda model: as_it_is(model, altloc)) if energy else None, altloc=altloc
        )
