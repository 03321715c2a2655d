"""The forty bent loops: chosen by a seed from the proteins of `structures/`, loops of 6 to 14 residues.

A candidate is a stretch between regular secondary structure (mdtraj's DSSP says coil for at least half of it),
with a complete backbone without alternate locations. A start counts if it has at least five severe overlaps
and at least one Ramachandran outlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geofold import resources
from geofold.app.report.measure import measure
from geofold.bench.common.data import PROTEINS
from geofold.errors import GeofoldError
from geofold.molecule.loop.perturbation import bend
from geofold.molecule.structure import Structure, read
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.plugins.mdtraj import trajectory_from

COUNT = 40
LENGTHS = (6, 14)
RMSD = (1.0, 4.0)
OVERLAPS, OUTLIERS = 5, 1
TRIES = 300
TUNING_SEED, TEST_SEED = 1000, 2001
"""The tuning split is drawn with another seed: other loops, other bends."""


@dataclass(frozen=True)
class Case:
    """One bent loop of the benchmark: file of `structures/`, loop, seed and the aimed RMSD in A."""

    file: str
    loop: str
    seed: int
    target: float

    @property
    def name(self) -> str:
        """For records and file names."""
        return f"{self.file.split('.')[0]}_{self.loop.replace(':', '').replace('-', '_')}"


def cases(count: int = COUNT, *, seed: int = TEST_SEED) -> Iterator[tuple[Case, Structure, np.ndarray]]:
    """Cases with their native structure and bent coordinates (n_atoms, 3), the same for the same seed."""
    noise = np.random.default_rng(seed)
    structures = [read(resources.find("structures", file)) for file in PROTEINS]
    coil = [_coil(s) for s in structures]
    made = turn = 0
    used: set[tuple[int, int]] = set()
    while made < count:
        which, turn = turn % len(PROTEINS), turn + 1
        found = _draw(structures[which], coil[which], noise, {k for file, k in used if file == which})
        if found is None:  # a small protein has no more room: on to the next
            continue
        (first, last), bend_seed, target, bent = found
        used.update((which, k) for k in range(first, last + 1))
        one, other = structures[which].residues[first], structures[which].residues[last]
        case = Case(PROTEINS[which], f"{one.label}-{other.resnum}{other.icode}", bend_seed, target)
        yield case, structures[which], bent
        made += 1


def _draw(
    structure: Structure, coil: np.ndarray, noise: np.random.Generator, used: set[int]
) -> tuple[tuple[int, int], int, float, np.ndarray] | None:
    """A loop and its bend: (first, last), seed, aimed RMSD, coordinates; None after too many tries."""
    for _ in range(TRIES):
        length = int(noise.integers(LENGTHS[0], LENGTHS[1] + 1))
        first = int(noise.integers(1, len(structure.residues) - length))
        last, target, seed = first + length - 1, float(noise.uniform(*RMSD)), int(noise.integers(2**31))
        if used & set(range(first, last + 1)) or not _suits(structure, coil, first, last):
            continue
        try:
            bent = bend(structure, first, last, seed=seed, target=target)
            numbers = measure(structure, [torsion_tree(structure, first, last)], bent, None)
        except GeofoldError:
            continue
        if numbers["severe_overlaps"] >= OVERLAPS and numbers["ramachandran"]["outliers"] >= OUTLIERS:
            return (first, last), seed, target, bent
    return None


def _coil(structure: Structure) -> np.ndarray:
    """(n_residues,) bool: amino acids that DSSP calls coil."""
    import mdtraj

    letters = mdtraj.compute_dssp(trajectory_from(structure, structure.xyz[None]), simplified=True)[0]
    return letters == "C"


def _suits(structure: Structure, coil: np.ndarray, first: int, last: int) -> bool:
    if last + 1 >= len(structure.residues) or coil[first : last + 1].mean() < 0.5:
        return False
    for k in range(first - 1, last + 2):
        names = {str(structure.name[a]) for a in structure.residues[k].atoms}
        if not {"N", "CA", "C", "O"} <= names or (k <= last and not structure.bonded(k, k + 1)):
            return False
        if first <= k <= last and any(structure.altloc[a] for a in structure.residues[k].atoms):
            return False
    return True
