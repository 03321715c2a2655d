"""The forty bent loops: chosen by a seed from the proteins of `structures/`, loops of 6 to 14 residues.

A candidate is a segment of which mdtraj's DSSP assigns at least half to coil, with a complete backbone and without
alternate locations. A start must have at least five severe overlaps and at least one Ramachandran outlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from geofold import resources
from geofold.app.report.metrics import measure
from geofold.bench.common.data import PROTEINS
from geofold.errors import GeofoldError
from geofold.molecule.io.read import read
from geofold.molecule.loop.perturbation import perturb_loop
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import torsion_tree
from geofold.plugins.mdtraj import trajectory_from

CASE_COUNT = 40
LENGTH_RANGE = (6, 14)
RMSD_RANGE = (1.0, 4.0)
MIN_OVERLAPS, MIN_OUTLIERS = 5, 1
MAX_TRIES = 300
TUNING_SEED, TEST_SEED = 1000, 2001
"""Seeds of the tuning split and of the test split."""


@dataclass(frozen=True)
class Case:
    """A bent loop: file of `structures/`, residue range, seed and requested RMSD (A)."""

    file: str
    loop: str
    seed: int
    target: float

    @property
    def name(self) -> str:
        """Name in records and file names."""
        return f"{self.file.split('.')[0]}_{self.loop.replace(':', '').replace('-', '_')}"


def make_cases(count: int = CASE_COUNT, *, seed: int = TEST_SEED) -> Iterator[tuple[Case, Structure, np.ndarray]]:
    """Yield cases with native structure and bent coordinates (n_atoms, 3), the same for the same seed."""
    rng = np.random.default_rng(seed)
    structures = [read(resources.find("structures", file)) for file in PROTEINS]
    coil = [_find_coil(s) for s in structures]
    case_count = next_protein = 0
    used: set[tuple[int, int]] = set()
    while case_count < count:
        protein, next_protein = next_protein % len(PROTEINS), next_protein + 1
        draw = _draw_case(structures[protein], coil[protein], rng, {k for file, k in used if file == protein})
        if draw is None:  # a small protein may have no further loop
            continue
        (first, last), bend_seed, target, bent = draw
        used.update((protein, k) for k in range(first, last + 1))
        first_residue, last_residue = structures[protein].residues[first], structures[protein].residues[last]
        case = Case(
            PROTEINS[protein], f"{first_residue.label}-{last_residue.resnum}{last_residue.icode}", bend_seed, target
        )
        yield case, structures[protein], bent
        case_count += 1


def _draw_case(
    structure: Structure, coil: np.ndarray, rng: np.random.Generator, used: set[int]
) -> tuple[tuple[int, int], int, float, np.ndarray] | None:
    """Draw a loop: (first, last), seed, requested RMSD (A), coordinates; None after too many attempts."""
    for _ in range(MAX_TRIES):
        length = int(rng.integers(LENGTH_RANGE[0], LENGTH_RANGE[1] + 1))
        first = int(rng.integers(1, len(structure.residues) - length))
        last, target, seed = first + length - 1, float(rng.uniform(*RMSD_RANGE)), int(rng.integers(2**31))
        if used & set(range(first, last + 1)) or not _is_suitable(structure, coil, first, last):
            continue
        try:
            bent = perturb_loop(structure, first, last, seed=seed, target=target)
            numbers = measure(structure, [torsion_tree(structure, first, last)], bent, None)
        except GeofoldError:
            continue
        if numbers["severe_overlaps"] >= MIN_OVERLAPS and numbers["ramachandran"]["outliers"] >= MIN_OUTLIERS:
            return (first, last), seed, target, bent
    return None


def _find_coil(structure: Structure) -> np.ndarray:
    """Mask (n_residues,) of the residues that DSSP assigns to coil."""
    import mdtraj

    letters = mdtraj.compute_dssp(trajectory_from(structure, structure.xyz[None]), simplified=True)[0]
    return letters == "C"


def _is_suitable(structure: Structure, coil: np.ndarray, first: int, last: int) -> bool:
    if last + 1 >= len(structure.residues) or coil[first : last + 1].mean() < 0.5:
        return False
    for k in range(first - 1, last + 2):
        names = {str(structure.name[a]) for a in structure.residues[k].atoms}
        if not {"N", "CA", "C", "O"} <= names or (k <= last and not structure.bonded(k, k + 1)):
            return False
        if first <= k <= last and any(structure.altloc[a] for a in structure.residues[k].atoms):
            return False
    return True
