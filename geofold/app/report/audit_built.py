"""Audit of built loops, measured on the coordinates as they are written to the file.

The input has no coordinates to compare with: geometry, joints to the flanking residues included, has to be ideal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.report.audit import Check, audit
from geofold.app.report.measure import CIS, backbone
from geofold.modelling.build.missing_loops import BuiltLoops
from geofold.molecule.energy.ramachandran import OUTLIER
from geofold.molecule.structure import Structure

Floats = NDArray[np.float64]
PEPTIDE_BOND = 1.331
"""Length (A) of C-N in built residues."""
JOINT_ANGLES = ((("CA", "C"), ("N",), 116.6), (("O", "C"), ("N",), 122.7), (("C",), ("N", "CA"), 121.4))
"""Atoms before the joint, atoms after it, ideal angle (degrees) at the middle one of the three."""
JOINT_BOND, JOINT_ANGLE, TRANS = 0.02, 5.0, 5.0
"""Limits (A, degrees, degrees)."""
COMPARED = frozenset(
    {
        "closure_error_angstrom",
        "bond_change_angstrom",
        "angle_change_degrees",
        "omega_change_degrees",
        "chiralities_changed",
    }
)
"""Checks of a repair that also apply to a built loop, relative to the closed conformation its stream started from."""


def audit_built(
    structure: Structure,
    built: BuiltLoops,
    xyz: Floats,
    numbers: tuple[dict[str, Any], dict[str, Any]],
    altloc: str | None,
    *,
    cis_pro: bool = False,
) -> list[Check]:
    """Check the geometry of built residues and of their joints.

    Parameters
    ----------
    structure : Structure
        The structure with the built residues.
    built : BuiltLoops
        The built loops.
    xyz : (n_atoms, 3)
        Coordinates (nm) as in the file.
    numbers : (dict, dict)
        `measure` of the loops of the input that were repaired (without overlaps if there are none), and of all loops
        in the coordinates.
    altloc : str or None
        The conformer that the loops belong to.
    cis_pro : bool
        Whether prolines of the built loops may be cis.

    Returns
    -------
    list of Check
    """
    spans, trees, (before, after) = built.spans, [outcome.tree for outcome in built.outcomes], numbers
    compared = audit(structure, trees, structure.xyz, xyz, (after, after), altloc)
    conformer = structure.conformer(altloc)
    angles = backbone(structure, xyz, altloc)
    cis = cis_prolines(built, angles.omega) if cis_pro else []

    def place(k: int, name: str) -> Floats:
        return np.asarray(xyz[structure.atom(k, name, conformer)])

    def is_d(k: int) -> bool:
        arms = [place(k, name) - place(k, "CA") for name in ("N", "C", "CB")]
        return float(np.linalg.det(np.stack(arms))) < 0

    sides = [models.build.side for models in built.initial]
    joints = [
        joint
        for (first, last), side in zip(spans, sides, strict=True)
        for joint, is_made in (((first - 1, first), side != "before"), ((last, last + 1), side != "after"))
        if is_made
    ]
    bond = max(abs(10 * float(np.linalg.norm(place(i, "C") - place(j, "N"))) - PEPTIDE_BOND) for i, j in joints)
    angle = max(
        abs(_angle(*(place(i, name) for name in one), *(place(j, name) for name in two)) - ideal)
        for i, j in joints
        for one, two, ideal in JOINT_ANGLES
    )
    bent = [
        180 - abs(np.degrees(angles.omega[k])) if k not in cis else abs(np.degrees(angles.omega[k]))
        for (first, last), side in zip(spans, sides, strict=True)
        for k in range(first + (side == "before"), last + 1 + (side != "after"))
    ]
    inside = [k for first, last in spans for k in range(first, last + 1)]
    chiral = [k for k in inside if structure.atom(k, "CB", conformer) is not None]
    # the loop determines phi of the residue after it, too
    repaired = [k for tree in trees[len(spans) :] for k in range(tree.first, tree.last + 1)]
    after_loops = {j for _, j in joints} - set(inside)
    checked = sorted({*inside, *after_loops, *repaired})
    return [
        Check("other_atoms_moved_angstrom", round(built.others_moved(xyz), 4), 0.0),
        *(check for check in compared if check.name in COMPARED),
        Check("joint_bond_error_angstrom", round(bond, 4), JOINT_BOND),
        Check("joint_angle_error_degrees", round(angle, 2), JOINT_ANGLE),
        Check("omega_from_trans_degrees", round(float(max(bent)), 2), TRANS),
        Check(
            "d_amino_acids_built",
            float(sum(is_d(k) for k in chiral)),
            0.0,
        ),
        Check("severe_overlaps", float(after["severe_overlaps"]), float(before.get("severe_overlaps", 0))),
        Check(
            "ramachandran_outliers",
            float((angles.verdict[checked] == OUTLIER).sum()),
            float(before.get("ramachandran", {}).get("outliers", 0)),
        ),
    ]


def cis_prolines(built: BuiltLoops, omega: Floats) -> list[int]:
    """Return indices of the cis prolines of built loops, by their omega (n_residues,) in radian."""
    inside = [k for first, last in built.spans for k in range(first, last + 1)]
    return [k for k in inside if built.structure.residues[k].resname == "PRO" and abs(omega[k]) < CIS]


def _angle(*corner: Floats) -> float:
    """Angle (degrees) at the second of three points."""
    left, right = corner[0] - corner[1], corner[2] - corner[1]
    return float(np.degrees(np.arccos(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))))
