"""Missing loops built: starts for each, then one stream after the other, and what a report says of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from geofold.app.build_loop import Started, started
from geofold.app.build_stream import stream_built
from geofold.app.moves import Move
from geofold.app.options import RunOptions
from geofold.molecule.build_request import find_builds
from geofold.molecule.structure import Structure

Told = Callable[[str], Callable[[int, int, float], None] | None]
"""What to call along the way, by the name of a loop."""


@dataclass(frozen=True, eq=False)
class Built:
    """Loops that were built.

    Attributes
    ----------
    original : Structure
        As it came.
    structure : Structure
        With the new residues where their streams began.
    starts : list of Started
        In the order of the file.
    spans : list of (int, int)
        First and last residue of each in `structure`.
    moves : list of Move
    """

    original: Structure
    structure: Structure
    starts: list[Started]
    spans: list[tuple[int, int]]
    moves: list[Move]

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
        return float(10 * np.abs(xyz[~self.atoms] - self.original.xyz[~self._removed]).max())

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


def build(structure: Structure, texts: Sequence[str], options: RunOptions, told: Told) -> Built:
    """Build what the texts ask for (``A:45-56=SEQUENCE``).

    Raises
    ------
    GeofoldError
        One of the kinds of `find_builds` and `started`.
    """
    now, starts = structure, list[Started]()
    for wanted in reversed(find_builds(structure, texts)):  # from the last to the first: earlier indices hold
        starts.insert(0, started(now, wanted, options, told(f"{wanted.label} backbone")))
        now = starts[0].structure
    spans, shift = list[tuple[int, int]](), 0
    for start in starts:
        first, last = start.span
        spans.append((first + shift, last + shift))
        shift += len(start.build.names) - len(start.build.removed)
    begin, moves = now.xyz.copy(), []
    for start, (first, last) in zip(starts, spans, strict=True):
        moves.append(stream_built(now, first, last, start.rows, start.value, options, told(start.build.label)))
        now = replace(now, xyz=moves[-1].apply(now.xyz))
        carried = np.isin(moves[-1].atoms, moves[-1].tree.atoms)
        begin[moves[-1].atoms[carried]] = moves[-1].frames[0][carried]
    return Built(structure, replace(now, xyz=begin), starts, spans, moves)
