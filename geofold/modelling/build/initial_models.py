"""Initial models of a missing loop: backbones found by a search, with side chains packed onto the best of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import torch

from geofold.errors import BuildError
from geofold.modelling.density import map_of
from geofold.modelling.options import PREDICTORS, RunOptions
from geofold.modelling.progress import Progress
from geofold.modelling.repair.side_chain_shell import ANGSTROM, SideChainShell, without_reachable_side_chains
from geofold.modelling.scoring import FOUND, Scores
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.chain_end import search_chain_end
from geofold.modelling.search.effort import choose_effort
from geofold.modelling.search.ensemble import Ensemble
from geofold.modelling.search.evolutionary import Candidates, merge, search_loop
from geofold.modelling.search.external import external_candidates
from geofold.modelling.time_budget import TimeBudget
from geofold.molecule.io.edit import with_residues
from geofold.molecule.loop.batch_states import state_of_rows
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.records import NewResidue
from geofold.molecule.sidechains.packing import pack, place_side_chains
from geofold.molecule.structure import Floats, Structure


@dataclass(frozen=True, eq=False)
class InitialModels:
    """Conformations of a missing loop with all their atoms.

    Attributes
    ----------
    build : BuildPlan
    structure : Structure
        Structure with the new residues in the conformation of lowest cost.
    rows : (R, m, 3)
        Conformations of the new atoms in the order of the structure (nm), lowest cost first.
    scores : Scores, (R,)
    cost : (R,)
    tried : int
        Number of conformations that were drawn or recombined.
    ensemble : Ensemble or None
        Candidates of the search.
    end_ensemble : (K, n, 4, 3) or None
        Backbones (nm) of a chain end that nothing excludes.
    """

    build: BuildPlan
    structure: Structure
    rows: Floats
    scores: Scores
    cost: Floats
    tried: int
    ensemble: Ensemble | None = None
    end_ensemble: Floats | None = None

    @property
    def span(self) -> tuple[int, int]:
        """First and last of the new residues in `structure`, inclusive."""
        return self.build.before + 1, self.build.before + len(self.build.names)


def initial_models(
    structure: Structure,
    build: BuildPlan,
    options: RunOptions,
    progress: Progress | None = None,
    budget: TimeBudget | None = None,
) -> InitialModels:
    """Search for conformations of a missing loop or chain end, as many as there are streams.

    Parameters
    ----------
    structure : Structure
    build : BuildPlan
        Residues to build.
    options : RunOptions
    progress : Progress, optional
    budget : TimeBudget, optional

    Raises
    ------
    BuildError
        If its residues cannot reach from one anchor to the other.
    """
    predicts = options.predictor == PREDICTORS[0]
    bare = without_reachable_side_chains(structure, build, options)[0] if options.shell else structure
    if build.is_chain_end:
        end, pool, ensemble = search_chain_end(bare, build, options)
        models = with_side_chains(structure, build, pool.finalists(options.streams, options), end.structure, options)
        return replace(models, tried=pool.tried, end_ensemble=ensemble)

    def candidates(plan: BuildPlan) -> LoopCandidates:
        return LoopCandidates.of(
            bare, plan, altloc=options.altloc, seed=options.seed, predicts=predicts, density=map_of(options)
        )

    loops = [candidates(build)]
    if options.allow_cis_pro:
        for plan in build.cis_prolines():
            with suppress(BuildError):  # a plan that does not close gives no candidate
                loops.append(candidates(plan))
    effort = choose_effort(options, len(build.names), only_source=True)
    external = [external_candidates(loop, options.candidate) for loop in loops]
    pool = merge(
        [
            search_loop(loop, effort, seed=options.seed, progress=progress, budget=budget, external=rows)
            for loop, rows in zip(loops, external, strict=True)
        ]
    )
    best = pool.finalists(options.streams, options)
    models = with_side_chains(structure, build, best, loops[0].structure, options)
    return replace(models, tried=pool.tried, ensemble=Ensemble.of(loops[0], pool, external[0]))


def with_side_chains(
    structure: Structure, build: BuildPlan, backbones: Candidates, bare: Structure, options: RunOptions
) -> InitialModels:
    """Return initial models with packed side chains, ranked with the clashes that these have.

    Parameters
    ----------
    structure : Structure
    build : BuildPlan
    backbones : Candidates
        Backbones of the loop.
    bare : Structure
        Structure with the backbone of the loop, in the surroundings that side chains are packed in.
    options : RunOptions
    """
    first, last = build.before + 1, build.before + len(build.names)
    residues = [_pack_row(bare, first, last, row, options) for row in backbones.rows]
    # rounded as in a file, so that every stream starts from what would be written
    rows = np.array([np.concatenate([residue.xyz for residue in row]) for row in residues]).round(4)
    ends = np.cumsum([len(residue.atoms) for residue in residues[0]])[:-1]

    def with_row(row: Floats) -> Structure:
        new = [replace(residue, xyz=xyz) for residue, xyz in zip(residues[0], np.split(row, ends), strict=True)]
        return with_residues(structure, build.anchor, build.removed, new, build.side)

    clash = _clash_cost(with_row(rows[0]), first, last, rows, options)
    # the clashes of the packed loop include those of its backbone
    scores = replace(backbones.scores, clash=clash)
    cost = scores.total(FOUND)
    order = np.argsort(cost, kind="stable")
    return InitialModels(build, with_row(rows[order[0]]), rows[order], scores.take(order), cost[order], 0)


@torch.no_grad()
def _clash_cost(structure: Structure, first: int, last: int, rows: Floats, options: RunOptions) -> Floats:
    """Cost (R,) of clashes and outliers of conformations (R, m, 3); with a shell, packed with it first."""
    if not options.shell:
        domain = LoopDomain.of(structure, first, last, altloc=options.altloc, device=options.device)
        return np.asarray(domain.cost(state_of_rows(domain, structure, rows)).cpu().numpy())
    shell = SideChainShell(structure, first, last, ANGSTROM * options.shell, options)
    atoms, cost = np.flatnonzero(structure.atoms_within(first, last)), []
    for row in rows:
        xyz = structure.xyz.copy()
        xyz[atoms] = row
        packed = replace(structure, xyz=shell.repack(xyz).apply(xyz))
        domain = LoopDomain.of(packed, first, last, altloc=options.altloc, device=options.device)
        cost.append(float(domain.cost(domain.start(packed.xyz))[0]))
    return np.array(cost)


def _pack_row(structure: Structure, first: int, last: int, row: Floats, options: RunOptions) -> list[NewResidue]:
    """Return new residues with side chains packed onto the backbone (m, 3) of one conformation."""
    atoms = np.flatnonzero(structure.atoms_within(first, last))
    xyz = structure.xyz.copy()
    xyz[atoms] = row
    with_row = replace(structure, xyz=xyz)
    _, added, _ = place_side_chains(with_row, pack(with_row, list(range(first, last + 1)), seed=options.seed))
    new = []
    for k in range(first, last + 1):
        residue, side_chain = structure.residues[k], [atom for atom in added if atom.residue == k]
        names = (*structure.name[residue.atoms].tolist(), *(atom.name for atom in side_chain))
        elements = (*structure.element[residue.atoms].tolist(), *(atom.element for atom in side_chain))
        points = np.concatenate([xyz[residue.atoms], *[atom.xyz[None] for atom in side_chain]])
        new.append(NewResidue(residue.resname, (residue.resnum, residue.icode), names, elements, points))
    return new
