"""Side chains around a loop that may be wrong: searched without them, packed together with the loop's, refined.

The side chains that a loop could reach are removed before it is searched for. Each model is then packed, its own side
chains and those of its shell together, and refined among them; atoms outside the shell of the model that is chosen
never move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from geofold.modelling.energy_source import EnergySource
from geofold.modelling.evaluation import evaluate_model
from geofold.modelling.force_field_stage import REGION
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import LoopModel
from geofold.modelling.repair.refinement import loop_domain, refine
from geofold.modelling.search.candidates import LoopCandidates
from geofold.modelling.search.chain_end import ChainEndCandidates
from geofold.molecule.energy.all_atom import region
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.sidechains.repacking import (
    RepackedSideChains,
    find_repackable,
    mark_near_residues,
    repack,
    without_side_chains,
)
from geofold.molecule.sidechains.rotamer_library import side_chain
from geofold.molecule.structure import Floats, Structure

REACH_SAMPLES = 48
"""Conformations drawn to estimate the region that a loop can reach."""
OFTEN_REACHED, EVER_REACHED = 0.1, 0.01
"""Share of these that has to come near a side chain for it to count as reached: often, or at least once."""
ANGSTROM = 0.1
SHELL_MARGIN = 1.0
"""By how much the cost of a model among repacked side chains, without its energy, has to be lower than that of a model
among the present ones to be preferred. Of six bent validation loops among repacked neighbours, five gain 1.6 to 8.2 and
one 0.4; of fourteen native loops, one gains 2.1 and all others less than 0.9."""


@dataclass(frozen=True, eq=False)
class SideChainShell:
    """Side chains within a radius of residues `first` to `last` of a structure.

    Attributes
    ----------
    structure : Structure
    first, last : int
        Residues of the loop, inclusive.
    radius : float
        Distance (nm) from the loop within which side chains are repacked.
    options : RunOptions
    region : frozenset of int or None
        Residues whose energy ranks models; all if None.
    """

    structure: Structure
    first: int
    last: int
    radius: float
    options: RunOptions
    region: frozenset[int] | None = None

    def restricted_to(self, points: Floats) -> SideChainShell:
        """Return the shell with energies of residues near points (..., 3) in nm; others are equal in all models."""
        return replace(self, region=region(self.structure, points.reshape(-1, 3), REGION))

    @cached_property
    def energies(self) -> EnergySource | None:
        """Force field of the region, by which models are refined and ranked."""
        return EnergySource.of(self.structure, self.options, self.region)

    @cached_property
    def repackable(self) -> list[int]:
        """Residues of the structure whose side chains can be repacked."""
        return find_repackable(self.structure, self.structure.conformer_mask)

    @property
    def loop(self) -> list[int]:
        """Residues of the loop whose side chains can be repacked."""
        return [k for k in self.repackable if self.first <= k <= self.last]

    def neighbours(self, points: Floats) -> list[int]:
        """Residues outside the loop whose side chains are near points (p, 3) in nm and can be repacked."""
        close = mark_near_residues(self.structure, points, self.radius, self.structure.conformer_mask)
        return [k for k in self.repackable if close[k] and not self.first <= k <= self.last]

    def repack(self, xyz: Floats) -> RepackedSideChains:
        """Pack the loop's side chains and those around it for coordinates (n_atoms, 3) in nm."""
        loop = xyz[self.structure.atoms_within(self.first, self.last) & self.structure.conformer_mask]
        return repack(replace(self.structure, xyz=xyz), self.loop, self.neighbours(loop), seed=self.options.seed)

    def refine(self, xyz: Floats, before: Sequence[Floats]) -> LoopModel:
        """Pack a loop with its surroundings and refine it.

        Parameters
        ----------
        xyz : (n_atoms, 3)
            Coordinates (nm).
        before : sequence of (n_atoms, 3)
            Frames that led to them; they precede the frames of the refinement.
        """
        side_chains = self.repack(xyz)
        structure = replace(self.structure, xyz=side_chains.apply(xyz))
        domain = loop_domain(structure, self.first, self.last, self.options)
        outcome = refine(structure, domain, domain.start(structure.xyz), self.options, self.energies)
        model = evaluate_model(structure, domain, outcome, self.energies)
        frames = np.array([frame[outcome.atoms] for frame in before]).reshape(-1, *outcome.frames.shape[1:])
        outside = ~np.isin(side_chains.atoms, domain.tree.atoms)
        neighbours = RepackedSideChains(side_chains.atoms[outside], side_chains.xyz[outside])
        whole = replace(outcome, frames=np.concatenate([frames, outcome.frames]), repacked=neighbours)
        return replace(model, outcome=whole)


def reachable_residues(
    structure: Structure, build: BuildPlan, radius: float, options: RunOptions, share: float = OFTEN_REACHED
) -> list[int]:
    """Residues of the twenty amino acids that a loop to be built could come near, excluding its own.

    Parameters
    ----------
    structure : Structure
    build : BuildPlan
    radius : float
        Distance (nm) from the loop's atoms to CB.
    options : RunOptions
    share : float
        Share of sampled conformations that has to come near a residue.

    Raises
    ------
    BuildError
        If the loop's residues cannot reach from one anchor to the other.
    """
    loop: LoopCandidates | ChainEndCandidates
    if build.is_chain_end:
        loop = ChainEndCandidates.of(structure, build, altloc=options.altloc, seed=options.seed)
    else:
        loop = LoopCandidates.of(structure, build, altloc=options.altloc, seed=options.seed, predicts=False)
    rows = loop.draw(REACH_SAMPLES, np.random.default_rng([options.seed, 3]))
    close = mark_near_residues(structure, rows, radius, structure.conformer_mask).mean(0) >= share
    remaining = set(range(len(structure.residues))) - set(build.removed)
    return [k for k in sorted(remaining) if close[k] and side_chain(structure.residues[k].resname) is not None]


def without_reachable_side_chains(
    structure: Structure, build: BuildPlan, options: RunOptions
) -> tuple[Structure, np.ndarray]:
    """Remove the side chains that a loop could reach; return also which atoms remain, (n_atoms,) bool."""
    radius = ANGSTROM * options.shell
    removed = set(find_repackable(structure, structure.conformer_mask))
    removed &= set(reachable_residues(structure, build, radius, options))
    if build.removed:
        shell = SideChainShell(structure, build.removed[0], build.removed[-1], radius, options)
        loop = np.isin(structure.residue_of, build.removed) & structure.conformer_mask
        removed |= set(shell.neighbours(structure.xyz[loop]))
    return without_side_chains(structure, sorted(removed))
