"""Audit of a result, measured on the coordinates as they are written to the file.

Each check compares a number with its limit. A result that fails a check is still written, with exit status 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.energies import infinite
from geofold.app.report.measure import backbone
from geofold.app.report.metrics import METRICS
from geofold.geometry import wrap
from geofold.molecule.analysis.chirality import chiral_volumes
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree

Floats = NDArray[np.float64]
CLOSURE, BOND, ANGLE, OMEGA = 0.01, 0.01, 1.0, 2.0
"""Limits (A, A, degrees, degrees); rounding to 0.001 A changes an omega by up to 0.1 degrees."""


@dataclass(frozen=True)
class Check:
    """One check of the audit.

    Attributes
    ----------
    name : str
        Name, with the unit.
    value : float
        The measured value.
    limit : float
        The largest value that passes.
    """

    name: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the value is finite and within the limit."""
        return bool(np.isfinite(self.value) and self.value <= self.limit)

    def as_dict(self) -> dict[str, Any]:
        """Return the check as an entry of the report."""
        return {"name": self.name, "value": self.value, "limit": self.limit, "passed": self.passed}


def audit(
    structure: Structure,
    trees: list[TorsionTree],
    before: Floats,
    after: Floats,
    numbers: tuple[dict, dict],
    altloc: str | None = None,
    *,
    repacked: NDArray[np.int64] | None = None,
) -> list[Check]:
    """Check that geometry is conserved and that nothing got worse.

    Parameters
    ----------
    structure : Structure
        The initial structure.
    trees : list of TorsionTree
        Torsion tree of each moving segment.
    before, after : (n_atoms, 3)
        Coordinates (nm) as in the files.
    numbers : (dict, dict)
        `measure` of both.
    altloc : str, optional
        The conformer that moves.
    repacked : (m,), optional
        Indices of neighbours' atoms that may move too.

    Returns
    -------
    list of Check
    """
    moving = np.zeros(len(before), dtype=bool)
    if repacked is not None:
        moving[repacked] = True
    for tree in trees:
        moving[tree.atoms] = True
    fixed_shift = float(np.abs(after - before)[~moving].max(initial=0.0) * 10)
    bond, angle = _covalent(trees, before, after)
    omegas = [backbone(structure, xyz, altloc).omega for xyz in (before, after)]
    omega = np.degrees(np.abs(wrap(omegas[1] - omegas[0])))
    conformer = structure.conformer(altloc)
    flipped = chiral_volumes(structure, before, conformer) * chiral_volumes(structure, after, conformer) < 0
    start, end = numbers
    checks = [
        Check("other_atoms_moved_angstrom", round(fixed_shift, 4), 0.0),
        Check("closure_error_angstrom", round(_closure(structure, trees, before, after), 4), CLOSURE),
        Check("bond_change_angstrom", round(bond, 4), BOND),
        Check("angle_change_degrees", round(angle, 3), ANGLE),
        Check("omega_change_degrees", round(float(np.nanmax(omega, initial=0.0)), 3), OMEGA),
        Check("chiralities_changed", float(flipped.sum()), 0.0),
    ]
    for metric in METRICS:
        first, last = metric.value(start), metric.value(end)
        if metric.may_not_grow and first is not None and last is not None:
            checks.append(Check(metric.may_not_grow, round(float(last - first), 2), 0.0))
    if infinite(end) and not infinite(start):  # from infinite to finite is an improvement
        checks.append(Check("energy_infinite", 1.0, 0.0))
    return checks


def _closure(structure: Structure, trees: list[TorsionTree], before: Floats, after: Floats) -> float:
    """Largest shift (A) of closed loops' anchor atoms: N and CA of the first, CA, C and O of the last residue."""
    worst = 0.0
    for tree in trees:
        if not tree.closed:
            continue
        named = [(tree.first, "N"), (tree.first, "CA"), (tree.last, "CA"), (tree.last, "C"), (tree.last, "O")]
        atoms = [a for k, name in named if (a := structure.atom(k, name, tree.conformer)) is not None]
        worst = max(worst, float(10 * np.linalg.norm(after[atoms] - before[atoms], axis=-1).max()))
    return worst


def _covalent(trees: list[TorsionTree], before: Floats, after: Floats) -> tuple[float, float]:
    """Largest change of a bond length (A) and of a bond angle (degrees) that involves a moving atom."""
    bonds: set[tuple[int, int]] = set()
    angles: set[tuple[int, int, int]] = set()
    for tree in trees:
        touched = set(tree.atoms.tolist())
        for atom in list(touched) + [b for a in touched for b in tree.adjacency[a]]:
            around = tree.adjacency[atom]
            bonds.update((min(atom, b), max(atom, b)) for b in around if atom in touched or b in touched)
            angles.update((b, atom, c) for b in around for c in around if b < c and touched & {b, atom, c})
    pairs = np.array(sorted(bonds), dtype=np.int64).reshape(-1, 2)
    triples = np.array(sorted(angles), dtype=np.int64).reshape(-1, 3)
    length = [np.linalg.norm(x[pairs[:, 0]] - x[pairs[:, 1]], axis=-1) for x in (before, after)]
    turn = [_angle(x[triples]) for x in (before, after)]
    bond = float(10 * np.abs(length[1] - length[0]).max(initial=0.0))
    return bond, float(np.degrees(np.abs(turn[1] - turn[0])).max(initial=0.0))


def _angle(points: Floats) -> Floats:
    """Angles (n,) in radian at the middle ones of points (n, 3, 3)."""
    left, right = points[:, 0] - points[:, 1], points[:, 2] - points[:, 1]
    cosine = (left * right).sum(-1) / (np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1))
    return np.arccos(np.clip(cosine, -1.0, 1.0))
