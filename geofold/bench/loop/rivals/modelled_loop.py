"""What a rival builds: a structure with the loop in it, and what that took."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from geofold.errors import BuildError
from geofold.molecule.io.edit import NewResidue, with_residues
from geofold.molecule.loop.build_plan import Build
from geofold.molecule.selection import BACKBONE
from geofold.molecule.structure import Floats, Structure

Atoms = Sequence[tuple[str, str, Floats]]
"""Name, element and place (3,) in nm of the atoms of a residue."""


class ModelledLoop(NamedTuple):
    """A loop that was not there.

    Attributes
    ----------
    structure : Structure
        All else is where it was, to the last bit.
    first, last : int
        Residues of the loop in it.
    seconds : float
        Wall time.
    cpu_seconds : float
        Of this process and of those it waited for.
    """

    structure: Structure
    first: int
    last: int
    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Wall and CPU seconds from when it is made."""

    def __init__(self) -> None:
        self._began, self._spent = time.perf_counter(), _spent()

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds so far; those of other processes count once they were waited for."""
        return time.perf_counter() - self._began, _spent() - self._spent


def inserted(structure: Structure, build: Build, residues: Sequence[Atoms], watch: Stopwatch, who: str) -> ModelledLoop:
    """The loop put into its structure.

    Raises
    ------
    BuildError
        If `who` left out residues or backbone atoms.
    """
    whole = len(residues) == len(build.names) and all(
        set(BACKBONE) <= {name for name, _, _ in atoms} for atoms in residues
    )
    if not whole or not all(np.isfinite(xyz).all() for atoms in residues for _, _, xyz in atoms):
        raise BuildError(
            f"{who} gives {build.label} without some of its residues or backbone atoms", "all of them",
            "try another seed, or another program",
        )  # fmt: skip
    new = []
    for name, number, atoms in zip(build.names, build.numbers, residues, strict=True):
        names, elements, places = zip(*atoms, strict=True)
        new.append(NewResidue(name, number, names, elements, np.array(places)))
    made = with_residues(structure, build.before, build.removed, new)
    return ModelledLoop(made, build.before + 1, build.before + len(new), *watch.read())


def _spent() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system
