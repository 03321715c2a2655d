"""Ramachandran classes, percentiles and categories after MolProbity.

The percentile of a (phi, psi) pair is the fraction of well-ordered Top8000 residues of its class that lie in less
populated regions; the contours are those of Lovell et al. (Proteins 50:437, 2003), derived again from the Top8000
(Hintze et al., Proteins 84:1177, 2016; Williams et al., Protein Sci. 27:293, 2018). `percentile` and `classify` give
MolProbity's results exactly; the differentiable penalty is in `ramachandran_density`.

Angles are in radians. Shapes: T frames, L residues, C = 6 classes; maps are indexed [class, phi, psi].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geofold.resources import find

if TYPE_CHECKING:
    import mdtraj

CLASSES = ("general", "ile_val", "pre_pro", "gly", "trans_pro", "cis_pro")
GENERAL, ILE_VAL, PRE_PRO, GLY, TRANS_PRO, CIS_PRO = range(len(CLASSES))

FAVOURED, ALLOWED, OUTLIER, UNDEFINED = 0, 1, 2, -1
FAVOURED_PERCENTILE = 0.02
ALLOWED_PERCENTILE = np.array([0.0005, 0.001, 0.001, 0.001, 0.001, 0.002])
"""Percentile from which a residue is allowed, by class (MolProbity, as in cctbx's rama_eval)."""

BINS = 180
STEP = 2.0 * np.pi / BINS
ORIGIN = np.deg2rad(-179.0)
_MAX_CN = 0.2
"""Longest C-N distance (nm) of a peptide bond; 0.133 nm is ideal, and a longer distance is a gap in the chain."""


def ramachandran_class(resname: str, next_resname: str | None, omega: float | None) -> int:
    """Find the class of a residue by MolProbity's rules, as an index into ``CLASSES``.

    Glycine and proline come first, then residues before a proline, then isoleucine and valine; all others, modified
    residues included, are general. A proline is cis if the peptide bond before it has ``|omega|`` below 90 degrees:
    MolProbity's limit was 30 degrees (ramalyze's ``is_cis_peptide``), and its present rule assigns twisted bonds to the
    nearer class (``is_cislike_peptide``). An omega that is None or NaN counts as trans, as in MolProbity.
    """
    name = resname.strip().upper()
    if name == "GLY":
        return GLY
    if name == "PRO":
        return CIS_PRO if omega is not None and np.cos(omega) > 0.0 else TRANS_PRO
    if next_resname is not None and next_resname.strip().upper() == "PRO":
        return PRE_PRO
    return ILE_VAL if name in ("ILE", "VAL") else GENERAL


def ramachandran_classes(topology: mdtraj.Topology, omega: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Find the classes (L,) of all residues of a topology from the `omega` (L,) of one frame (`phi_psi_omega`)."""
    names = [[residue.name for residue in chain.residues] for chain in topology.chains]
    pairs = [pair for chain in names for pair in zip(chain, [*chain[1:], None], strict=True)]
    return np.array(
        [ramachandran_class(name, after, float(w)) for (name, after), w in zip(pairs, omega, strict=True)], dtype=int
    )


@cache
def load_percentiles() -> NDArray[np.float64]:
    """Load the percentile maps of the six classes, (6, 180, 180), with bins centred at odd degrees."""
    with np.load(find("ramachandran_top8000.npz"), allow_pickle=False) as data:
        if tuple(data["classes"]) != CLASSES:
            raise ValueError(f"ramachandran_top8000.npz holds the classes {data['classes']}, expected {CLASSES}")
        table: NDArray[np.float64] = data["percentile"].astype(np.float64)
    table.flags.writeable = False
    return table


def percentile(phi: ArrayLike, psi: ArrayLike, cls: ArrayLike) -> NDArray[np.float64]:
    """Interpolate the Top8000 percentile, from 0 to 1, bilinearly and periodically (cctbx's `RamachandranEval`).

    Parameters
    ----------
    phi, psi : array, radians
        Any shapes that broadcast; any period. NaN gives NaN.
    cls : int array
        Indices into ``CLASSES``, broadcast against the angles.
    """
    x, y = ((np.asarray(angle, dtype=np.float64) - ORIGIN) / STEP for angle in (phi, psi))
    known = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(known, x, 0.0), np.where(known, y, 0.0)
    i, j = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    u, v = x - i, y - j
    table, kind = load_percentiles(), np.asarray(cls)

    def corner(di: int, dj: int) -> NDArray[np.float64]:
        return np.asarray(table[kind, (i + di) % BINS, (j + dj) % BINS])

    low = (1.0 - u) * corner(0, 0) + u * corner(1, 0)
    high = (1.0 - u) * corner(0, 1) + u * corner(1, 1)
    return np.where(known, (1.0 - v) * low + v * high, np.nan)


def classify(score: ArrayLike, cls: ArrayLike) -> NDArray[np.int64]:
    """Classify percentiles as favoured (0), allowed (1) or outlier (2); -1 for NaN, as at the ends of a chain."""
    value = np.asarray(score, dtype=np.float64)
    allowed = value >= ALLOWED_PERCENTILE[np.asarray(cls)]
    category = np.where(value >= FAVOURED_PERCENTILE, FAVOURED, np.where(allowed, ALLOWED, OUTLIER))
    return np.where(np.isnan(value), UNDEFINED, category)


class BackboneDihedrals(NamedTuple):
    """Backbone dihedrals (T, L) in radians, NaN where undefined; omega is that of the bond before the residue."""

    phi: NDArray[np.float64]
    psi: NDArray[np.float64]
    omega: NDArray[np.float64]


def phi_psi_omega(trajectory: mdtraj.Trajectory) -> BackboneDihedrals:
    """Compute phi, psi and omega of every residue of every frame by mdtraj.

    They are NaN at chain ends, for residues that are not amino acids, and across gaps: mdtraj links consecutive
    residues of a chain at any distance, so a dihedral whose C-N distance exceeds 0.2 nm in a frame is removed.
    Minimum images are not taken. ``omega`` of a residue is CA(i-1)-C(i-1)-N(i)-CA(i),
    the bond that makes a proline cis or trans.
    """
    import mdtraj as md

    owner = np.array([atom.residue.index for atom in trajectory.topology.atoms], dtype=int)

    # `member`, `carbon`, `nitrogen`: positions among the four atoms of an atom of the residue and of the peptide bond
    def aligned(compute: str, member: int, carbon: int, nitrogen: int) -> NDArray[np.float64]:
        result = np.full((trajectory.n_frames, trajectory.n_residues), np.nan)
        atoms, angles = getattr(md, compute)(trajectory, periodic=False)
        if len(atoms):
            bond = trajectory.xyz[:, atoms[:, carbon]] - trajectory.xyz[:, atoms[:, nitrogen]]
            linked = np.linalg.norm(bond, axis=-1) <= _MAX_CN
            result[:, owner[atoms[:, member]]] = np.where(linked, angles, np.nan)
        return result

    return BackboneDihedrals(
        phi=aligned("compute_phi", 1, 0, 1),
        psi=aligned("compute_psi", 0, 2, 3),
        omega=aligned("compute_omega", 2, 1, 2),
    )
