"""The Python interface: `repair`, `constrain`, `check`.

A source is a path, bytes, an mdtraj.Trajectory, a Bio.PDB Structure, an OpenMM object with ``topology`` and
``positions`` (PDBFile, Modeller), or a pair of the two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from geofold.app.constrain_peptide import constrain_peptide
from geofold.app.finish import finish
from geofold.app.moves import Model, Move
from geofold.app.options import PREDICTORS, STARTS, RunOptions
from geofold.app.repair_loop import repair_loop
from geofold.app.reporting import models_told
from geofold.app.result import Result
from geofold.app.sources import load
from geofold.errors import ContactError, CovalentLinkError, OptionError, OverlappingLoopsError
from geofold.molecule.builder import peptide
from geofold.molecule.completion import missing_atoms
from geofold.molecule.contacts import Contact, parse_contact
from geofold.molecule.residue_range import find_range
from geofold.molecule.structure import AddedAtom, Structure, read

Progress = Callable[[str, int, int, float], None]
"""Called with what is being done, steps done, steps at most, and the loss."""


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread for a while: small tensors gain nothing from more, and sums keep their order, so bits repeat."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def repair(
    source: Any, loop: str | Sequence[str] = (), *, auto: bool = False, build: str | Sequence[str] = (), seed: int = 0,
    altloc: str | None = None, energy: bool = True, streams: int = 12, rounds: int = 6, device: str = "cpu",
    predictor: str = PREDICTORS[0], models: int = 1, budget: float | None = None, repack_shell: float = 0.0,
    name: str | None = None, progress: Progress | None = None,
) -> Result:  # fmt: skip
    """Repair one or several loops, or build missing ones; nothing else moves.

    Parameters
    ----------
    source
        See the module.
    loop : str or sequence of str
        Ranges as in the file: ``"A:45-56"``, ``"A:45A-56"``, ``":45-56"`` for a blank chain id.
    auto : bool
        Find the loops in trouble instead; where none is, the structure comes back as it is.
    build : str or sequence of str
        Missing loops to build instead, ``"A:45-56=SEQUENCE"``, or ``"A:45-56"`` where the file tells the sequence.
        Neighbours within the range are built anew.
    seed, altloc, energy, streams, rounds, device, predictor, models, budget, repack_shell
        See `RunOptions`; with several models, the others are the result's `others`.
    name
        What the report calls the input.
    progress
        Called along the way.

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
        seed=seed, altloc=altloc, energy=energy, streams=streams, rounds=rounds, device=device, predictor=predictor,
        models=models, budget=budget, repack_shell=repack_shell,
    )  # fmt: skip
    structure = load(source, name)
    texts = [loop] if isinstance(loop, str) else list(loop)
    if build:
        if texts or auto:
            raise OptionError(f"loops to build and {'auto' if auto else 'loops to repair'}", "one of them",
                              "build first, then repair what comes out")  # fmt: skip
        return _built(structure, [build] if isinstance(build, str) else list(build), options, began, progress)
    if auto:
        if texts:
            raise OptionError(f"loops ({', '.join(texts)}) and auto", "one of them", "leave one out")
        with one_thread():
            texts = _found(structure, altloc)
        if not texts:
            return finish("repair", structure, structure, [], [], options, began)
    ranges = _separate(structure, [find_range(structure, text) for text in texts])
    _require_one(texts, options)
    structure, added, original = _with_missing_atoms(structure, ranges, options)
    now, chosen = structure, list[Model]()
    for first, last in ranges:
        tell = (
            None
            if progress is None
            else _named(progress, f"{structure.residues[first].label}-{structure.residues[last].resnum}")
        )
        with one_thread():
            found = repair_loop(now, first, last, replace(options, budget=_share(budget, len(ranges))), tell)
        _require_honoured(structure, found[0].move)
        chosen.append(found[0])
        now = replace(now, xyz=found[0].move.apply(now.xyz))
    several = [[model] for model in found] if len(ranges) == 1 else [chosen]
    return _of_models([
        finish(
            "repair", structure, original, added, [model.move for model in own], options, began, loops=texts,
            scores=[model.score for model in own],
        ) for own in several
    ])  # fmt: skip


def _share(budget: float | None, count: int) -> float | None:
    return None if budget is None else max(budget / count, 1.0)


def _require_one(texts: list[str], options: RunOptions) -> None:
    if options.models > 1 and len(texts) > 1:
        raise OptionError(f"{options.models} models of {len(texts)} loops", "several models of one loop, or one of all",
                          "take one loop after the other")  # fmt: skip


def _of_models(results: list[Result]) -> Result:
    """The first, the others with it, and in its report how they compare."""
    if len(results) == 1:
        return results[0]
    best = results[0]
    return replace(best, others=tuple(results[1:]), report=best.report | {"models": models_told(results)})


def _built(
    structure: Structure, texts: list[str], options: RunOptions, began: float, progress: Progress | None
) -> Result:
    from geofold.app.build import build

    with one_thread():
        _require_one(texts, options)
        shared = replace(options, budget=_share(options.budget, len(texts)))
        several = build(structure, texts, shared, lambda name: None if progress is None else _named(progress, name))
    return _of_models([
        finish(
            "repair", done.structure, structure, done.added, done.moves, options, began, loops=done.loops, built=done,
            scores=[model.score for model in done.models],
        ) for done in several
    ])  # fmt: skip


def constrain(
    source: Any = None, contacts: Sequence[str] = (), *, sequence: str | None = None, start: str = "extended",
    seed: int = 0, altloc: str | None = None, energy: bool = True, steps: int = 128, device: str = "cpu",
    predictor: str = PREDICTORS[0], name: str | None = None, progress: Progress | None = None,
) -> Result:  # fmt: skip
    """Bring residues of a peptide together (or keep them apart) by its torsions.

    Parameters
    ----------
    source
        See the module; or give `sequence` and start from an extended chain.
    contacts : sequence of str
        ``"A:3-A:10<6.0"`` (CB atoms within 6.0 A; CA for glycine), ``"A:3@CA-A:10@CA>8.0"``. The chain of the
        first residue named moves; the other end of a contact may lie in it or in what stays.
    start : 'extended' or 'prior'
        What a sequence starts from: an extended chain, or torsions drawn from the torsion prior.
    steps
        Streaming steps at most.
    predictor : 'trained' or 'hold-still'
        Whether the peptide policy that ships leads, or nothing moves but by corrections.

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
    if (source is None) == (sequence is None):
        raise OptionError("both a structure and a sequence" if sequence else "neither a structure nor a sequence",
                          "one of them", "give a file, or --sequence")  # fmt: skip
    if start not in STARTS or (start == "prior" and sequence is None):
        raise OptionError(f"start {start}{'' if sequence else ' without a sequence'}", " or ".join(STARTS),
                          "choose one of them, with --sequence")  # fmt: skip
    if sequence is None:
        structure = load(source, name)
    else:
        structure = _drawn(sequence, seed) if start == "prior" else peptide(sequence)
    if not contacts:
        raise ContactError("no contact", "at least one contact such as A:3-A:10<6.0", "add one with --contact")
    wanted = tuple(parse_contact(structure, text, altloc) for text in contacts)
    first, last = _chain_of(structure, wanted)
    structure, added, original = _with_missing_atoms(structure, [(first, last)], options)
    if added:
        wanted = tuple(parse_contact(structure, text, altloc) for text in contacts)
    tell = None if progress is None else _named(progress, "peptide")
    with one_thread():
        move = constrain_peptide(structure, first, last, wanted, options, tell)
        if move.status == "stuck" and options.predictor != PREDICTORS[-1]:
            # the policy has not seen everything: corrections alone may still get there
            alone = constrain_peptide(structure, first, last, wanted, replace(options, predictor=PREDICTORS[-1]), tell)
            move = alone if alone.status == "done" else move
    _require_honoured(structure, move)
    return finish("constrain", structure, original, added, [move], options, began, contacts=wanted)


def _found(structure: Structure, altloc: str | None) -> list[str]:
    from geofold.app.find_loops import find_loops, named

    return [named(structure, first, last) for first, last in find_loops(structure, altloc)[0]]


def _drawn(sequence: str, seed: int) -> Structure:
    from geofold.app.prior_start import drawn_peptide

    with one_thread():
        return drawn_peptide(sequence, seed)


def check(source: Any, *, energy: bool = True, altloc: str | None = None, name: str | None = None) -> dict[str, Any]:
    """Numbers of a structure as it is: clashes, Ramachandran, cis bonds, chain breaks, energy.

    Returns
    -------
    dict
        Report of schema ``geofold-report/1`` with the key ``before`` only, and ``chain_breaks``.
    """
    from geofold.app.inspection import inspect

    return inspect(load(source, name), energy=energy, altloc=altloc)


def _separate(structure: Structure, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if not ranges:
        raise OptionError("no loop", "at least one range such as A:45-56, or --auto", "add one with --loop")
    for (_, end), (start, _) in zip(sorted(ranges), sorted(ranges)[1:], strict=False):
        if start <= end + 1:
            raise OverlappingLoopsError(
                f"loops that meet at {structure.residues[start].label}",
                "loops with at least one residue between them that stays", "join them into one range, or shorten one",
            )  # fmt: skip
    return ranges


def _with_missing_atoms(
    structure: Structure, ranges: list[tuple[int, int]], options: RunOptions
) -> tuple[Structure, list[AddedAtom], Structure]:
    """The structure with side-chain atoms that its moving residues lack; what was added; the structure as given."""
    if all(_complete(structure, k, options.altloc) for first, last in ranges for k in range(first, last + 1)):
        return structure, [], structure
    added = [
        a
        for first, last in ranges
        for a in missing_atoms(structure, first, last, altloc=options.altloc, seed=options.seed)
    ]
    if not added:
        return structure, [], structure
    nothing = np.zeros(len(structure), dtype=bool)
    whole = read(structure.render(structure.xyz, nothing, added), name=structure.source)
    return (
        replace(whole, notes=(*structure.notes, f"{len(added)} missing side-chain atoms were built")),
        added,
        structure,
    )


def _complete(structure: Structure, k: int, altloc: str | None) -> bool:
    from geofold.molecule.bonds import templates

    known = templates().get(structure.residues[k].resname)
    if known is None:
        return True
    heavy = {name for bond in known for name in bond if not name.startswith("H") and name != "OXT"}
    steering = structure.steering(altloc)
    there = {str(structure.name[a]) for a in structure.residues[k].atoms if steering[a]}
    if structure.residues[k].resname == "ILE" and "CD" in there:  # CHARMM's name
        there.add("CD1")
    return heavy <= there


def _chain_of(structure: Structure, contacts: tuple[Contact, ...]) -> tuple[int, int]:
    """The unbroken chain that the first contact's first atom belongs to, whole."""
    first = last = int(structure.residue_of[contacts[0].i])
    while first > 0 and structure.is_amino_acid(first - 1) and structure.bonded(first - 1, first):
        first -= 1
    end = len(structure.residues)
    while last + 1 < end and structure.is_amino_acid(last + 1) and structure.bonded(last, last + 1):
        last += 1
    for contact in contacts:
        ends = [int(structure.residue_of[a]) for a in (contact.i, contact.j)]
        if not any(first <= k <= last for k in ends):
            raise ContactError(
                f"contact {contact.text} between residues of other chains",
                f"at least one residue of the chain that moves, {structure.residues[first].label} to "
                f"{structure.residues[last].label}", "constrain one chain after the other",
            )  # fmt: skip
    return first, last


def _require_honoured(structure: Structure, move: Move) -> None:
    """A link that takes the last freedom away is named, instead of a loop that silently stays."""
    if move.status != "rigid" or not move.tree.links:
        return
    i, j = move.tree.links[0]

    def told(atom: int) -> str:
        return f"{structure.residues[structure.residue_of[atom]].label}@{structure.name[atom]}"

    raise CovalentLinkError(
        f"the covalent link {told(i)} - {told(j)} leaves the moving residues no freedom",
        "torsions that can still turn",
        "take a longer range, or remove the link's record if it is not real",
    )


def _named(progress: Progress, name: str) -> Callable[[int, int, float], None]:
    return lambda done, most, loss: progress(name, done, most, loss)
