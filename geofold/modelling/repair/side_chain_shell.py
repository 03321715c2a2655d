"""Loops among side chains that may be wrong: searched for without them, packed together with them, then settled.

The side chains that a loop could touch are taken away before it is searched for. Each end is then packed anew, its own
side chains and those of its shell together, and settled among them; what lies outside the shell of the end that is
kept never moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from geofold.modelling.force_field_stage import REGION
from geofold.modelling.options import TORSION_CAP, RunOptions
from geofold.modelling.outcome import Model
from geofold.modelling.repair.refinement import Path, judged, ranked, settle
from geofold.modelling.search.candidates import LoopCandidates
from geofold.molecule.energy.all_atom import region
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.loop.domain import LoopDomain
from geofold.molecule.sidechains.repacking import Turned, near, repackable, repacked, without_side_chains
from geofold.molecule.sidechains.rotamer_library import side_chain
from geofold.molecule.structure import Floats, Structure

TRIED, OFTEN, EVER = 48, 0.1, 0.01
"""Draws by which it is found out where a loop may go, and the share of them that have to come near a side chain: often,
or so that one of them does."""
ANGSTROM = 0.1


@dataclass(frozen=True, eq=False)
class Shell:
    """What surrounds residues `first` to `last` of a structure within a radius (nm), side chains that may turn.

    Energies are those of the residues of a region, where there is one, else of all.
    """

    structure: Structure
    first: int
    last: int
    radius: float
    region: frozenset[int] | None = None

    def seeing(self, places: Floats) -> Shell:
        """With energies of the residues alone that are around places (p, 3) of the loop's ends: what is further away is
        the same in all of them."""
        return replace(self, region=region(self.structure, places.reshape(-1, 3), REGION))

    @cached_property
    def turning(self) -> list[int]:
        """Residues whose side chains may turn at all."""
        return repackable(self.structure, self.structure.steering_mask)

    @property
    def loop(self) -> list[int]:
        """The loop's own."""
        return [k for k in self.turning if self.first <= k <= self.last]

    def around(self, places: Floats) -> list[int]:
        """Side chains beside the loop near places (p, 3)."""
        close = near(self.structure, places, self.radius, self.structure.steering_mask)
        return [k for k in self.turning if close[k] and not self.first <= k <= self.last]

    def packed(self, xyz: Floats, seed: int) -> Turned:
        """Side chains of a loop that stands somewhere in coordinates (n_atoms, 3), and of those around it."""
        residue = self.structure.residue_of
        own = xyz[(residue >= self.first) & (residue <= self.last) & self.structure.steering_mask]
        return repacked(replace(self.structure, xyz=xyz), self.loop, self.around(own), seed=seed)

    def settled(self, xyz: Floats, before: Sequence[Floats], options: RunOptions) -> Model:
        """A loop that stands somewhere in coordinates (n_atoms, 3), packed with its surroundings and settled.

        Parameters
        ----------
        before
            Frames (n_atoms, 3) that led there.
        """
        turned = self.packed(xyz, options.seed)
        here = replace(self.structure, xyz=turned.apply(xyz))
        domain = LoopDomain.of(here, self.first, self.last, cap=TORSION_CAP, altloc=options.altloc,
                               device=options.device)  # fmt: skip
        move = settle(here, domain, domain.start(here.xyz), Path(), options)
        (model,) = ranked(here, [move], judged(here, domain, [move]), options, self.region)
        frames = [frame[move.atoms] for frame in before]
        beside = ~np.isin(turned.atoms, domain.tree.atoms)
        whole = replace(
            move, frames=np.concatenate([np.array(frames).reshape(-1, *move.frames.shape[1:]), move.frames]),
            beside=Turned(turned.atoms[beside], turned.xyz[beside]),
        )  # fmt: skip
        return replace(model, move=whole)


def touched(
    structure: Structure, build: Build, radius: float, options: RunOptions, often: float = OFTEN
) -> list[int]:  # fmt: skip
    """Residues of the twenty amino acids that a loop to be built could come near, its own apart.

    Parameters
    ----------
    radius
        nm.
    often
        Share of draws that come near one.

    Raises
    ------
    BuildError
        If its residues cannot reach from one anchor to the other.
    """
    steering = structure.steering_mask
    loop = LoopCandidates.of(structure, build, altloc=options.altloc, seed=options.seed, sighted=False)
    rows = loop.drawn(TRIED, np.random.default_rng([options.seed, 3]))
    close = near(structure, rows, radius, steering).mean(0) >= often
    kept = set(range(len(structure.residues))) - set(build.removed)
    return [k for k in sorted(kept) if close[k] and side_chain(structure.residues[k].resname) is not None]


def room_for(structure: Structure, build: Build, options: RunOptions) -> tuple[Structure, np.ndarray]:
    """A structure without the side chains that a loop to be built could touch, and which of its atoms that keeps."""
    radius = ANGSTROM * options.repack_shell
    turning = set(repackable(structure, structure.steering_mask))
    cut = turning & set(touched(structure, build, radius, options))
    if build.removed:
        shell = Shell(structure, build.removed[0], build.removed[-1], radius)
        own = np.isin(structure.residue_of, build.removed) & structure.steering_mask
        cut |= set(shell.around(structure.xyz[own]))
    return without_side_chains(structure, sorted(cut))
