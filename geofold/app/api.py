"""The Python interface: `repair`, `constrain`, `check`.

A source is a path, the content of a PDB or mmCIF file (bytes, text, an open file), an mdtraj.Trajectory, a Bio.PDB
Structure, Model or Chain, an MDAnalysis Universe or AtomGroup, a biotite AtomArray, a gemmi or ParmEd Structure, a
ProDy AtomGroup or Selection, an OpenMM object with ``topology`` and ``positions`` (PDBFile, Modeller, PDBFixer), or a
pair of the two; `Result.like` returns the result as the same kind of object.
The fourth function, `steer`, is in `geofold.app.steering.steering`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from geofold.app.density import require_map
from geofold.app.finalise import finish
from geofold.app.repair_runs import Requests, run_repair
from geofold.app.report.chain_breaks import expand_builds
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.app.start import load_or_build
from geofold.errors import ContactError
from geofold.modelling.option_table import AUTO, find_option
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.peptide.streaming import constrain_peptide
from geofold.modelling.preconditions import chain_of, require_honoured, with_missing_atoms
from geofold.modelling.progress import Progress, ProgressCallback
from geofold.modelling.threads import one_thread
from geofold.molecule.energy.amber import AMBER14, FORCE_FIELDS
from geofold.molecule.peptide.contacts import parse_contact
from geofold.molecule.structure import Structure
from geofold.molecule.topology.given_sequences import with_given_sequences


def repair(
    source: Any,
    loop: str | Sequence[str] = (),
    *,
    auto: bool = False,
    build: str | Sequence[str] = (),
    fasta: str | Path | None = None,
    seed: int = 0,
    altloc: str | None = None,
    energy: bool = True,
    streams: int = 12,
    rounds: int = 6,
    device: str = "cpu",
    predictor: str = PREDICTORS[0],
    models: int = 1,
    budget: float | None = None,
    repack_shell: float | str | None = None,
    allow_cis_pro: bool = False,
    force_field: str = AMBER14.name,
    candidate: str | Sequence[str] = (),
    cap: str | None = None,
    copies: bool = False,
    map: str | Path | None = None,
    resolution: float | None = None,
    confidence_in_b: bool = False,
    name: str | None = None,
    progress: ProgressCallback | None = None,
) -> Result:
    """Repair one or several loops, or build missing ones; nothing else moves, except side chains by `repack_shell`.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        The structure; the module lists the accepted types.
    loop : str or sequence of str
        Residues to repair, numbered as in the file: A:45-56. An insertion code follows the number (``"A:45A-56"``);
        ``":45-56"`` has a blank chain id.
    auto : bool
        Find the loops to repair, in addition to those given. If there is none, the structure is returned unchanged.
    build : str or sequence of str
        Missing residues to build: A:45-56=SEQUENCE, or A:45-56 if the file contains the sequence (check lists
        them); all: every gap whose sequence the file contains; ends: every chain end of up to 15 residues whose
        sequence it contains; existing residues within the range are rebuilt.
    fasta : path or str, optional
        Sequences of the chains, in FASTA or UniProt text, in place of those in the file: a file, or the text itself.
        They are aligned to the chains, and disagreements are in the report's notes.
    seed, altloc, energy, streams, rounds, device, predictor, models, budget, repack_shell, allow_cis_pro, force_field
        See `RunOptions`; with several models, those after the first are in the result's `others`.
    candidate : str or sequence of str
        Also consider the loop of this model, a file: it is fitted between the anchors, and judged like all others.
    cap : str, optional
        Cap chain ends that are not built with ACE and NME: gaps, ends (of chains) or all. Without loops, nothing else
        happens.
    copies : bool
        Also model the same loops in every other chain that has the residues around them.
    map : path or str, optional
        Fit the loops into this density map: .ccp4, .mrc, .map, or map coefficients in .mtz.
    resolution : float, optional
        Resolution of the map (A); map coefficients have one.
    confidence_in_b : bool
        Write the expected error (A) of each residue that was modelled as its B-factor, and name these residues in the
        file; a residue without an estimate keeps its B-factors.
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
        repack_shell=AUTO if repack_shell is None and (auto or build) else repack_shell,
        allow_cis_pro=allow_cis_pro,
        force_field=force_field,
        confidence_in_b=confidence_in_b,
        candidate=(candidate,) if isinstance(candidate, str) else tuple(candidate),
        cap=cap,
        copies=copies,
        map=None if map is None else str(map),
        resolution=resolution,
    )
    require_map(options)
    structure = with_given_sequences(load(source, name), fasta)
    texts = [loop] if isinstance(loop, str) else list(loop)
    detected = list[str]()
    if auto:
        from geofold.modelling.repair.detection import detect_further_ranges

        with one_thread():
            detected = detect_further_ranges(structure, texts, altloc)
    given = [build] if isinstance(build, str) else list(build or ())
    wanted = expand_builds(structure, given) if given else []
    if set(wanted) - set(given):
        from geofold.app.closable_builds import closable_builds

        with one_thread():
            wanted = closable_builds(structure, wanted, options, fixed=given)
    return run_repair(structure, Requests(wanted, texts, detected, auto), options, began, progress)


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
    step_budget: float | None = None,
    device: str = "cpu",
    predictor: str = PREDICTORS[0],
    force_field: str = AMBER14.name,
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
        Start from a peptide with this sequence instead. It is given as one-letter codes.
    start : 'extended' or 'prior'
        Start of a sequence: extended, or prior (torsions sampled from the torsion prior).
    seed, altloc, energy, steps, step_budget, device, predictor, force_field
        See `RunOptions`.
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
    options = RunOptions(
        seed=seed,
        altloc=altloc,
        energy=energy,
        steps=steps,
        step_budget=step_budget,
        device=device,
        predictor=predictor,
        force_field=force_field,
    )
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


def check(
    source: Any,
    *,
    energy: bool = True,
    altloc: str | None = None,
    force_field: str = AMBER14.name,
    fasta: str | Path | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Measure a structure without changing it: clashes, Ramachandran, cis bonds, chain breaks, energy.

    Parameters
    ----------
    source : path, bytes, str, file or toolkit object
        The structure; the module lists the accepted types.
    energy : bool
        Evaluate the energy with the force field.
    altloc : str, optional
        Conformer to measure if the backbone has several.
    force_field : str
        Force field: amber14, amber19 or amber99sbildn, each with implicit solvent (OBC2).
    fasta : path or str, optional
        Sequences of the chains, in FASTA or UniProt text, in place of those in the file: a file, or the text itself.
        They are aligned to the chains, and disagreements are in the report's notes.
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
    from geofold.app.report.energies import NumbersAndNotes, as_it_is

    find_option("force_field").require(force_field)

    def evaluate(structure: Structure) -> NumbersAndNotes:
        return as_it_is(structure, altloc, FORCE_FIELDS[force_field])

    with one_thread():
        structure = with_given_sequences(load(source, name), fasta)
        return inspect(structure, energy=evaluate if energy else None, altloc=altloc)
