"""Several missing loops in one structure: the order of their building, and their refinement among one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geofold.modelling.energy_source import EnergySource
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel, embed_fragment
from geofold.modelling.repair.multiple_loops import may_touch, refine_among_others
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.sidechains.repacking import RepackedSideChains
from geofold.molecule.structure import Floats, Structure

LINK = 0.38
"""Distance (nm) between CA atoms of neighbouring residues."""


def room_to_vary(structure: Structure, build: BuildPlan) -> float:
    """Variance of a freely jointed chain between the anchors, in squared lengths of a link: small for a sure loop.

    The midpoint of a chain of n links whose ends are r apart varies with n (1 - (r / n l)^2), for links of length l.
    The end of a chain comes after all loops: it is infinite.
    """
    if build.is_chain_end:
        return float("inf")
    ends = [structure.atom(k, "CA", structure.conformer_mask) for k in (build.before, build.after)]
    links = len(build.names) + 1
    distance = float(np.linalg.norm(np.subtract(*structure.xyz[np.array(ends, dtype=np.int64)])))
    return links * max(1.0 - (distance / (links * LINK)) ** 2, 0.0)


def shifted(build: BuildPlan, earlier: Sequence[BuildPlan]) -> BuildPlan:
    """Plan with the residue indices of a structure in which the loops of other plans are built."""
    shift = sum(len(other.names) - len(other.removed) for other in earlier if other.place < build.place)
    removed = tuple(k + shift for k in build.removed)
    return replace(build, before=build.before + shift, after=build.after + shift, removed=removed)


def spans_of(builds: Sequence[BuildPlan]) -> list[tuple[int, int]]:
    """First and last residue of each loop once all are built."""
    before = [shifted(build, builds).before for build in builds]
    return [(k + 1, k + len(build.names)) for k, build in zip(before, builds, strict=True)]


def refine_touching(
    structure: Structure,
    models: Sequence[LoopModel],
    spans: Sequence[tuple[int, int]],
    order: Sequence[int],
    options: RunOptions,
) -> list[LoopModel]:
    """Models of which those that touch a loop refined later were refined once more, among all others.

    Parameters
    ----------
    structure : Structure
        With all loops.
    models : sequence of LoopModel
        One for each loop.
    spans : sequence of (int, int)
        First and last residue of each loop.
    order : sequence of int
        Order in which the loops were refined.
    options : RunOptions
    """
    refined, whole = with_final_side_chains(models, structure.xyz), np.arange(len(structure))
    for number, k in enumerate(order):
        later = order[number + 1 :]
        # with a shell, the side chains of a loop may have been repacked with another
        if later and (options.shell or any(may_touch(structure, spans[k], spans[j]) for j in later)):
            outcome = refined[k].outcome
            frames = [embed_fragment(structure.xyz, whole, outcome, frame) for frame in outcome.frames]
            energies = EnergySource.of(structure, options)
            refined[k] = refine_among_others(structure, spans[k], refined[k], frames, options, energies)
            structure = replace(structure, xyz=refined[k].outcome.apply(structure.xyz))
    return refined


def with_final_side_chains(models: Sequence[LoopModel], xyz: Floats) -> list[LoopModel]:
    """Models whose repacked neighbours are as in the final coordinates (n_atoms, 3), and not atoms of other loops."""
    final = []
    for model in models:
        others = [other.outcome.tree.atoms for other in models if other is not model]
        atoms = np.setdiff1d(model.outcome.repacked.atoms, np.concatenate([np.zeros(0, dtype=np.int64), *others]))
        final.append(replace(model, outcome=replace(model.outcome, repacked=RepackedSideChains(atoms, xyz[atoms]))))
    return final
