"""Starts of a loop that is not there: its backbone searched for, side chains packed onto the best ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from geofold.errors import BuildError
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.repair.side_chain_shell import ANGSTROM, Shell, room_for
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.consensus import Searched, agreed
from geofold.modelling.search.evolutionary import WORTH, Ranked, effort_of, joined, searched
from geofold.modelling.time_budget import Clock
from geofold.molecule.io.edit import NewResidue, with_residues
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.sidechains.packing import pack, placed
from geofold.molecule.structure import Floats, Structure

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class Started:
    """Where a loop begins.

    Attributes
    ----------
    build : Build
    structure : Structure
        With the new residues in the best of the conformations.
    rows : (R, m, 3)
        Conformations of their atoms in the order of the structure, best first, nm.
    value : (R,)
        What they are worth: the potential, with what clashes and outliers add; lower is better.
    tried : int
        Conformations that were drawn.
    found : Searched or None
        All that the search led.
    """

    build: Build
    structure: Structure
    rows: Floats
    value: Floats
    tried: int
    found: Searched | None = None

    @property
    def span(self) -> tuple[int, int]:
        """First and last of the new residues in `structure`."""
        return self.build.before + 1, self.build.before + len(self.build.names)


def started(
    structure: Structure, build: Build, options: RunOptions, progress: Progress | None = None,
    clock: Clock | None = None,
) -> Started:  # fmt: skip
    """Conformations of a loop, as many as there are streams.

    Raises
    ------
    BuildError
        If its residues cannot reach from one anchor to the other.
    """
    sighted = options.predictor == PREDICTORS[0]
    bare = room_for(structure, build, options)[0] if options.repack_shell else structure
    loop = LoopCandidates.of(bare, build, altloc=options.altloc, seed=options.seed, sighted=sighted)
    effort, loops = effort_of(options, len(build.names), alone=True), [loop]
    if options.allow_cis_pro:
        for plan in build.cis_prolines():
            with suppress(BuildError):  # one that does not close is no candidate
                loops.append(LoopCandidates.of(bare, plan, altloc=options.altloc, seed=options.seed, sighted=sighted))
    pools = [agreed(one, searched(one, effort, seed=options.seed, told=progress, clock=clock)) for one in loops]
    pool = joined(pools)
    best, tried = pool.finalists(options.streams, options), len(loops) * effort.tried
    packed = _with_side_chains(structure, build, best, loop.structure, tried, options)
    return replace(packed, found=Searched.of(loop, pool))


def _with_side_chains(
    structure: Structure, build: Build, found: Ranked, bare: Structure, tried: int, options: RunOptions
) -> Started:
    """Backbones packed, in the order of what they are worth then."""
    first, last = build.before + 1, build.before + len(build.names)
    full = [_packed(bare, first, last, row, options) for row in found.rows]
    # as a file holds them, so that every row starts at what would be written
    every = np.array([np.concatenate([residue.xyz for residue in own]) for own in full]).round(4)
    ends = np.cumsum([len(residue.atoms) for residue in full[0]])[:-1]

    def whole(row: Floats) -> Structure:
        new = [replace(residue, xyz=xyz) for residue, xyz in zip(full[0], np.split(row, ends), strict=True)]
        return with_residues(structure, build.before, build.removed, new)

    worth = _worth(whole(every[0]), first, last, every, options)
    value = found.value + WORTH * worth
    order = np.argsort(value, kind="stable")
    return Started(build, whole(every[order[0]]), every[order], value[order], tried)


@torch.no_grad()
def _worth(structure: Structure, first: int, last: int, rows: Floats, options: RunOptions) -> Floats:
    """Clashes and outliers (R,) of conformations (R, m, 3); packed with the side chains around first, with a shell."""
    if not options.repack_shell:
        domain = LoopDomain.of(structure, first, last, altloc=options.altloc, device=options.device)
        return np.asarray(domain.worth(state_of_rows(domain, structure, rows)).cpu().numpy())
    shell = Shell(structure, first, last, ANGSTROM * options.repack_shell)
    own, worth = np.flatnonzero((structure.residue_of >= first) & (structure.residue_of <= last)), []
    for row in rows:
        xyz = structure.xyz.copy()
        xyz[own] = row
        here = replace(structure, xyz=shell.packed(xyz, options.seed).apply(xyz))
        domain = LoopDomain.of(here, first, last, altloc=options.altloc, device=options.device)
        worth.append(float(domain.worth(domain.start(here.xyz))[0]))
    return np.array(worth)


def _packed(structure: Structure, first: int, last: int, row: Floats, options: RunOptions) -> list[NewResidue]:
    """New residues with side chains packed onto a backbone."""
    own = np.flatnonzero((structure.residue_of >= first) & (structure.residue_of <= last))
    xyz = structure.xyz.copy()
    xyz[own] = row
    here = replace(structure, xyz=xyz)
    _, added, _ = placed(here, pack(here, list(range(first, last + 1)), seed=options.seed))
    found = []
    for k in range(first, last + 1):
        residue, more = structure.residues[k], [atom for atom in added if atom.residue == k]
        names = (*structure.name[residue.atoms].tolist(), *(atom.name for atom in more))
        elements = (*structure.element[residue.atoms].tolist(), *(atom.element for atom in more))
        places = np.concatenate([xyz[residue.atoms], *[atom.xyz[None] for atom in more]])
        found.append(NewResidue(residue.resname, (residue.resnum, residue.icode), names, elements, places))
    return found
