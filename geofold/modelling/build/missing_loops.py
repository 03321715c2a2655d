"""Missing loops built: starts for each, then one stream after the other, and what a report says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofold.modelling.build.initial_models import Started, started
from geofold.modelling.build.refine_models import stream_built
from geofold.modelling.options import RunOptions
from geofold.modelling.outcome import Model, Move
from geofold.modelling.preconditions import require_parameters
from geofold.modelling.repair.loop import Told
from geofold.modelling.repair.side_chain_shell import ANGSTROM, EVER, touched
from geofold.modelling.search.consensus import sure
from geofold.modelling.time_budget import Clock
from geofold.molecule.loop.build_request import find_builds
from geofold.molecule.sidechains.repacking import completed
from geofold.molecule.structure import AddedAtom, Structure

LONGEST = 8.0
"""A: from a CB to the end of a side chain, and what keeps it from another atom."""


@dataclass(frozen=True, eq=False)
class Built:
    """Loops that were built.

    Attributes
    ----------
    original : Structure
        As it came, side chains around completed where they are packed anew.
    structure : Structure
        With the new residues where their streams began.
    starts : list of Started
        In the order of the file.
    spans : list of (int, int)
        First and last residue of each in `structure`.
    models : list of Model
        One for each.
    added : list of AddedAtom
        Atoms that side chains around lacked.
    """

    original: Structure
    structure: Structure
    starts: list[Started]
    spans: list[tuple[int, int]]
    models: list[Model]
    added: list[AddedAtom]

    @property
    def moves(self) -> list[Move]:
        """What moved."""
        return [model.move for model in self.models]

    @property
    def atoms(self) -> np.ndarray:
        """New atoms of `structure`, (n_atoms,) bool."""
        inside = [k for first, last in self.spans for k in range(first, last + 1)]
        return np.isin(self.structure.residue_of, inside)

    @property
    def loops(self) -> list[str]:
        """Ranges as users write them."""
        return [start.build.label for start in self.starts]

    def others_moved(self, xyz: np.ndarray) -> float:
        """Largest difference (A) of a coordinate of what stayed, between the input and the end (n_atoms, 3)."""
        beside = np.isin(np.arange(len(xyz)), np.concatenate([move.beside.atoms for move in self.moves]))[~self.atoms]
        shift = np.abs(xyz[~self.atoms] - self.original.xyz[~self._removed])
        return float(10 * shift[~beside].max())

    @property
    def _removed(self) -> np.ndarray:
        """Atoms of `original` that made room, bool."""
        return np.isin(self.original.residue_of, [k for start in self.starts for k in start.build.removed])

    def _named(self, atom: int) -> str:
        return f"{self.original.residues[self.original.residue_of[atom]].label}@{self.original.name[atom]}"

    @property
    def missing(self) -> int:
        """Residues that the input lacked."""
        return sum(len(start.build.names) - len(start.build.removed) for start in self.starts)

    def report(self) -> list[dict[str, Any]]:
        """What was built, loop by loop."""
        return [
            {
                "residues": start.build.label, "sequence": start.build.sequence, "sequence_from": start.build.source,
                "atoms": int(start.rows.shape[1]), "residues_replaced": len(start.build.removed),
                "conformations": {"tried": start.tried, "kept": len(start.rows)},
            }
            for start in self.starts
        ]  # fmt: skip

    def notes(self) -> list[str]:
        """What a reader of the file should know."""
        notes = [note for start in self.starts for note in start.build.notes]
        if np.isin(self.original.element, ("H", "D"))[~self.original.hetatm].any():
            notes.append("the built residues have no hydrogens")
        lost = [link for link in self.original.links if self._removed[[link.i, link.j]].sum() == 1]
        if lost:
            links = ", ".join(f"{self._named(link.i)} - {self._named(link.j)}" for link in lost)
            notes.append(f"links to residues that were built anew are not kept: {links}")
        if any("CYS" in start.build.names for start in self.starts):
            notes.append("disulfides of built residues are not made")
        return notes


def build(structure: Structure, texts: Sequence[str], options: RunOptions, told: Told) -> list[Built]:
    """Build what the texts ask for (``A:45-56=SEQUENCE``).

    Returns
    -------
    list of Built
        The best first, at most `options.models`; one where there are several loops.

    Raises
    ------
    GeofoldError
        One of the kinds of `find_builds`, `require_parameters` and `started`.
    """
    wanted, added = find_builds(structure, texts), list[AddedAtom]()
    require_parameters(structure, options, {k for one in wanted for k in one.removed})
    if options.repack_shell:
        # and what is further away, but could touch the loop: an energy would complete it without a look at the loop
        radius = ANGSTROM * (options.repack_shell + LONGEST)
        near = [k for one in wanted for k in touched(structure, one, radius, options, EVER)]
        structure, added = completed(structure, sorted(set(near)), seed=options.seed)
    now, starts, budgets = structure, list[Started](), list[float | None]()
    for one in reversed(wanted):  # from the last to the first: earlier indices hold
        clock = Clock(options.budget)
        starts.insert(0, started(now, one, options, told(f"{one.label} backbone"), clock))
        budgets.insert(0, clock.left)
        now = starts[0].structure
    spans, shift = list[tuple[int, int]](), 0
    for start in starts:
        first, last = start.span
        spans.append((first + shift, last + shift))
        shift += len(start.build.names) - len(start.build.removed)
    whole, chosen = now, list[Model]()
    for start, (first, last), left in zip(starts, spans, budgets, strict=True):
        models = stream_built(
            now, first, last, start.rows, start.value, options, told(start.build.label), Clock(left),
            found=start.found,
        )  # fmt: skip
        models = sure(now, models, start.found)
        chosen.append(models[0])
        now = replace(now, xyz=models[0].move.apply(now.xyz))
    several = [[model] for model in models] if len(starts) == 1 else [chosen]
    return [Built(structure, _begun(whole, own), starts, spans, own, added) for own in several]


def _begun(structure: Structure, models: list[Model]) -> Structure:
    """The structure with its new residues where their streams began."""
    begin = structure.xyz.copy()
    for move in (model.move for model in models):
        carried = np.isin(move.atoms, move.tree.atoms)
        begin[move.atoms[carried]] = move.frames[0][carried]
    return replace(structure, xyz=begin)
