"""Missing loops that are built, and present loops that are repaired, in one structure.

What may touch is modelled together. A loop that is surer than the gaps around it is repaired before these are built;
any other loop that a gap could touch is left out while the gap is built, since it may be in the way, and repaired after
that. Everything that was modelled without a neighbour is refined once more among all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from geofold.modelling.build.missing_loops import BuiltLoops, at_start, build_loops
from geofold.modelling.build.several_loops import room_to_vary, spans_of, with_final_side_chains
from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, embed_fragment
from geofold.modelling.progress import Progress
from geofold.modelling.repair.multiple_loops import TOUCHING_DISTANCE, Range, refine_among_others, repair_loops
from geofold.modelling.repair.side_chain_shell import reachable_residues
from geofold.molecule.io.edit import with_atoms, with_residues, without_atoms
from geofold.molecule.loop.build_plan import BuildPlan, rebuild_plan
from geofold.molecule.loop.copies import CopyPair, LoopsWithCopies
from geofold.molecule.records import NewResidue
from geofold.molecule.sidechains.repacking import RepackedSideChains
from geofold.molecule.structure import Floats, Structure

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Embedding:
    """A structure as a part of another one.

    Attributes
    ----------
    part, target : Structure
    residues : (n_residues of part,) int
        Residue of the target that each residue of the part is; -1 if it is not in the target.
    """

    part: Structure
    target: Structure
    residues: Indices

    @property
    def atoms(self) -> Indices:
        """Atom of the target that each atom of the part is; -1 if its residue is not in the target."""
        atoms = np.full(len(self.part), -1, dtype=np.int64)
        for residue, k in zip(self.part.residues, self.residues.tolist(), strict=True):
            if k >= 0:  # atoms that were added follow those that the residue had
                atoms[residue.atoms] = self.target.residues[k].atoms[: len(residue.atoms)]
        return atoms

    def embed(self, xyz: Floats) -> Floats:
        """Coordinates of the target with those of the part, `xyz` (n_atoms of part, 3)."""
        atoms, embedded = self.atoms, self.target.xyz.copy()
        embedded[atoms[atoms >= 0]] = xyz[atoms >= 0]
        return embedded

    def refine(self, model: LoopModel, loop: Range, options: RunOptions, energies: EnergySource | None) -> LoopModel:
        """Return a model of the part after its refinement in the target.

        Parameters
        ----------
        model : LoopModel
        loop : (int, int)
            Its first and last residue in the target.
        options : RunOptions
        energies : EnergySource or None
            Of the target.
        """
        atoms, outcome = self.atoms, model.outcome
        kept = atoms[outcome.repacked.atoms] >= 0
        repacked = RepackedSideChains(outcome.repacked.atoms[kept], outcome.repacked.xyz[kept])
        outcome = replace(outcome, repacked=repacked)
        frames = [embed_fragment(self.target.xyz, atoms, outcome, frame) for frame in outcome.frames]
        moved = replace(outcome, repacked=replace(repacked, atoms=atoms[repacked.atoms]))
        return refine_among_others(self.target, loop, replace(model, outcome=moved), frames, options, energies)


def build_and_repair(
    structure: Structure,
    builds: Sequence[BuildPlan],
    ranges: Sequence[Range],
    options: RunOptions,
    progress: Progress,
    copies: LoopsWithCopies | None = None,
) -> BuiltLoops:
    """Build missing loops and repair present ones.

    Parameters
    ----------
    structure : Structure
    builds : sequence of BuildPlan
        Loops to build, in the order of the file.
    ranges : sequence of (int, int)
        First and last residue of each loop to repair, none of which a plan removes.
    options : RunOptions
    progress : Progress
    copies : LoopsWithCopies, optional
        Says which of these loops are copies of others.

    Returns
    -------
    BuiltLoops

    Raises
    ------
    GeofoldError
        As `build_loops` and `repair_loops`.
    """
    pairs = [] if copies is None else copies.repaired
    early, absent = _split_by_certainty(structure, builds, ranges, options, {pair.copy for pair in pairs})
    models, present = _repair(structure, early, early, options, progress)
    gone = {k for first, last in absent for k in range(first, last + 1)}
    part = without_atoms(present, np.isin(present.residue_of, list(gone))) if gone else present
    kept = np.array([k for k in range(len(structure.residues)) if k not in gone])
    of_builds = {} if copies is None else copies.built
    built = build_loops(part, [_within(build, kept) for build in builds], options, progress, of_builds)[0]
    added = [replace(atom, residue=int(kept[atom.residue])) for atom in built.added]
    original, present = (with_atoms(one, added) if added else one for one in (structure, present))
    place, spans = _places(len(structure.residues), builds), spans_of(builds)
    of_part = _places_of_part(built, place[kept], spans)
    whole = _with_built(present, builds, built, of_part)
    late = [span for span in ranges if span not in early]
    placed = [CopyPair(_placed(pair.reference, place), _placed(pair.copy, place)) for pair in pairs]
    found, whole = _repair(whole, late, [_placed(span, place) for span in late], options, progress, placed)
    models |= found
    chosen, energies = list(built.models), EnergySource.of(whole, options)
    for number, span in enumerate(spans if gone else ()):
        chosen[number] = Embedding(built.structure, whole, of_part).refine(chosen[number], span, options, energies)
        whole = replace(whole, xyz=chosen[number].outcome.apply(whole.xyz))
    for span in early:
        embedding = Embedding(structure, whole, place)
        models[span] = embedding.refine(models[span], _placed(span, place), options, energies)
        whole = replace(whole, xyz=models[span].outcome.apply(whole.xyz))
    start = replace(whole, xyz=Embedding(original, whole, place).embed(original.xyz))
    initial = [replace(one, build=build) for one, build in zip(built.initial, builds, strict=True)]
    ordered = with_final_side_chains([*chosen, *(models[span] for span in ranges)], whole.xyz)
    of_gaps = [CopyPair(spans[reference], spans[k]) for k, reference in of_builds.items()]
    return BuiltLoops(
        original, at_start(start, chosen), initial, spans, ordered, added, list(ranges), [*of_gaps, *placed]
    )


def _split_by_certainty(
    structure: Structure,
    builds: Sequence[BuildPlan],
    ranges: Sequence[Range],
    options: RunOptions,
    copied: Collection[Range],
) -> tuple[list[Range], list[Range]]:
    """Loops to repair before the gaps are built, and loops that are left out while these are built."""
    early, absent = list[Range](), list[Range]()
    reached = [set(reachable_residues(structure, build, TOUCHING_DISTANCE, options)) for build in builds]
    for first, last in ranges:
        closed = first and last + 1 < len(structure.residues)
        closed = closed and structure.bonded(first - 1, first) and structure.bonded(last, last + 1)
        room = room_to_vary(structure, rebuild_plan(structure, first, last)) if closed else np.inf
        touched = [
            room_to_vary(structure, build)
            for build, residues in zip(builds, reached, strict=True)
            if residues & set(range(first, last + 1))
        ]
        if touched:
            (early if room < min(touched) and (first, last) not in copied else absent).append((first, last))
    return early, absent


def _repair(
    structure: Structure,
    ranges: Sequence[Range],
    spans: Sequence[Range],
    options: RunOptions,
    progress: Progress,
    copies: Sequence[CopyPair] = (),
) -> tuple[dict[Range, LoopModel], Structure]:
    """Repair loops `spans` of a structure; models by their names `ranges`, and the repaired structure."""
    if not spans:
        return {}, structure

    def begin(first: int, last: int) -> Progress:
        return progress.begin(f"{structure.residues[first].label}-{structure.residues[last].resnum}")

    models = repair_loops(structure, list(spans), options, EnergySource.of(structure, options), begin, copies)
    for model in models:
        structure = replace(structure, xyz=model.outcome.apply(structure.xyz))
    return dict(zip(ranges, models, strict=True)), structure


def _within(build: BuildPlan, remaining: Indices) -> BuildPlan:
    """Plan with the residue indices of a part that has the residues `remaining`."""
    before, after, *removed = np.searchsorted(remaining, [build.before, build.after, *build.removed]).tolist()
    if build.is_chain_end:  # the index next to the anchor may be that of a residue that is left out, or of none
        before, after = (after - 1, after) if build.side == "before" else (before, before + 1)
    return replace(build, before=before, after=after, removed=tuple(removed))


def _places(count: int, builds: Sequence[BuildPlan]) -> Indices:
    """Index (count,) of each residue once all loops are built; -1 for those that are replaced."""
    place = np.arange(count)
    for build in builds:
        place[build.after :] += len(build.names) - len(build.removed)
    place[[k for build in builds for k in build.removed]] = -1
    return place


def _placed(span: Range, place: Indices) -> Range:
    return int(place[span[0]]), int(place[span[1]])


def _places_of_part(built: BuiltLoops, place: Indices, spans: Sequence[Range]) -> Indices:
    """Residue of the whole that each residue of the built part is; `place` has those that were not built."""
    inside = {k for first, last in built.spans for k in range(first, last + 1)}
    places = iter(place[place >= 0].tolist())
    new = iter([k for first, last in spans for k in range(first, last + 1)])
    return np.array([next(new) if k in inside else next(places) for k in range(len(built.structure.residues))])


def _with_built(structure: Structure, builds: Sequence[BuildPlan], built: BuiltLoops, places: Indices) -> Structure:
    """Structure with the loops that were built in a part of it, and with the side chains that were repacked there."""
    part, xyz = built.structure, built.structure.xyz
    for model in built.models:
        xyz = model.outcome.apply(xyz)
    for build, (first, last) in reversed(list(zip(builds, built.spans, strict=True))):
        new = []
        for residue in part.residues[first : last + 1]:
            names, elements = (tuple(column[residue.atoms].tolist()) for column in (part.name, part.element))
            number = residue.resnum, residue.icode
            new.append(NewResidue(residue.resname, number, names, elements, xyz[residue.atoms]))
        structure = with_residues(structure, build.anchor, build.removed, new, build.side)
    return replace(structure, xyz=Embedding(part, structure, places).embed(xyz))
