"""The result of a rival that builds a loop: a structure with the loop, and the time it took."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from geofold.errors import BuildError
from geofold.molecule.io.edit import with_residues
from geofold.molecule.loop.build_plan import BuildPlan
from geofold.molecule.records import NewResidue
from geofold.molecule.residues import BACKBONE
from geofold.molecule.structure import Floats, Structure

Atoms = Sequence[tuple[str, str, Floats]]
"""Name, element and coordinates (3,) in nm of the atoms of a residue."""


class ModelledLoop(NamedTuple):
    """A loop that was built.

    Attributes
    ----------
    structure : Structure
        All other atoms are unchanged to the last bit.
    first, last : int
        Indices of the first and last residue of the loop.
    seconds : float
        Wall time.
    cpu_seconds : float
        CPU time of this process and of the child processes that have ended.
    """

    structure: Structure
    first: int
    last: int
    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Measures wall and CPU seconds from its construction."""

    def __init__(self) -> None:
        self._began, self._spent = time.perf_counter(), _cpu_seconds()

    def read(self) -> tuple[float, float]:
        """Wall and CPU seconds so far; child processes are included once they have ended."""
        return time.perf_counter() - self._began, _cpu_seconds() - self._spent


def insert_loop(
    structure: Structure, build: BuildPlan, residues: Sequence[Atoms], stopwatch: Stopwatch, program: str
) -> ModelledLoop:
    """Insert a loop into its structure.

    Parameters
    ----------
    structure : Structure
        Lacks the loop, or has residues that it replaces.
    build : BuildPlan
        Anchors, numbers and names of the loop's residues.
    residues : sequence of Atoms
        Atoms of each residue.
    stopwatch : Stopwatch
        Is read for the result.
    program : str
        Name of the rival, for the message.

    Raises
    ------
    BuildError
        If residues or backbone atoms are missing.
    """
    is_complete = len(residues) == len(build.names) and all(
        set(BACKBONE) <= {name for name, _, _ in atoms} for atoms in residues
    )
    if not is_complete or not all(np.isfinite(xyz).all() for atoms in residues for _, _, xyz in atoms):
        raise BuildError(
            f"{program} did not return all residues and backbone atoms of {build.label}",
            "all of them",
            "try another seed, or another program",
        )
    residues_added = []
    for name, number, atoms in zip(build.names, build.numbers, residues, strict=True):
        names, elements, places = zip(*atoms, strict=True)
        residues_added.append(NewResidue(name, number, names, elements, np.array(places)))
    result = with_residues(structure, build.before, build.removed, residues_added)
    return ModelledLoop(result, build.before + 1, build.before + len(residues_added), *stopwatch.read())


def _cpu_seconds() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system
