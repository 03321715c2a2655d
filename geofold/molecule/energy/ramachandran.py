"""Ramachandran classes, percentiles and verdicts after MolProbity.

The percentile of a (phi, psi) pair is the share of well-ordered Top8000 residues of its class that lie in sparser
territory; the contours are those of Lovell et al. (Proteins 50:437, 2003), re-made from the Top8000 (Hintze et al.,
Proteins 84:1177, 2016; Williams et al., Protein Sci. 27:293, 2018). ``percentile`` and ``classify`` judge, exactly as
MolProbity does; what steers is ``ramachandran_density``.

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
"""Percentile at which a class becomes allowed, in the order of ``CLASSES`` (MolProbity, as in cctbx's rama_eval)."""

BINS = 180
STEP = 2.0 * np.pi / BINS
ORIGIN = np.deg2rad(-179.0)
_MAX_CN = 0.2
"""Longest C-N distance of a peptide bond, nm: 0.133 nm is ideal, anything above 0.2 nm is a gap in the chain."""


def ramachandran_class(resname: str, next_resname: str | None, omega: float | None) -> int:
    """Class of a residue by MolProbity's rules, as an index into ``CLASSES``.

    Glycine and proline come first, then whatever precedes a proline, then isoleucine and valine; everything else,
    modified residues included, is general. A proline is cis when the peptide bond before it has ``|omega|`` below
    90 degrees: MolProbity once asked for 30 (ramalyze's ``is_cis_peptide``) and now sends twisted bonds to
    the nearer class (``is_cislike_peptide``). An omega that is None or NaN counts as trans, as it does there.
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
    """Classes (L,) of all residues of a topology; ``omega`` (L,) as ``phi_psi_omega`` gives it, for one frame."""
    names = [[residue.name for residue in chain.residues] for chain in topology.chains]
    pairs = [pair for chain in names for pair in zip(chain, [*chain[1:], None], strict=True)]
    return np.array(
        [ramachandran_class(name, after, float(w)) for (name, after), w in zip(pairs, omega, strict=True)], dtype=int
    )


@cache
def load_percentiles() -> NDArray[np.float64]:
    """The six maps (6, 180, 180), bins centred at odd degrees."""
    with np.load(find("ramachandran_top8000.npz"), allow_pickle=False) as data:
        if tuple(data["classes"]) != CLASSES:
            raise ValueError(f"ramachandran_top8000.npz holds the classes {data['classes']}, expected {CLASSES}")
        table: NDArray[np.float64] = data["percentile"].astype(np.float64)
    table.flags.writeable = False
    return table


def percentile(phi: ArrayLike, psi: ArrayLike, cls: ArrayLike) -> NDArray[np.float64]:
    """Top8000 percentile, from 0 to 1, by bilinear periodic interpolation (cctbx's ``RamachandranEval.evaluate``).

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
    """Favoured (0), allowed (1) or outlier (2) for each percentile; -1 where it is NaN, as at the ends of a chain."""
    value = np.asarray(score, dtype=np.float64)
    allowed = value >= ALLOWED_PERCENTILE[np.asarray(cls)]
    judged = np.where(value >= FAVOURED_PERCENTILE, FAVOURED, np.where(allowed, ALLOWED, OUTLIER))
    return np.where(np.isnan(value), UNDEFINED, judged)


class BackboneDihedrals(NamedTuple):
    """Backbone dihedrals (T, L) in radians, NaN where undefined; omega is that of the bond before the residue."""

    phi: NDArray[np.float64]
    psi: NDArray[np.float64]
    omega: NDArray[np.float64]


def phi_psi_omega(trajectory: mdtraj.Trajectory) -> BackboneDihedrals:
    """Phi, psi and omega of every residue of every frame, by mdtraj.

    NaN at chain ends, for what is no amino acid, and across gaps: mdtraj links consecutive residues of a chain
    however far apart they are, so a dihedral whose C-N distance exceeds 0.2 nm in a frame is taken out there.
    Coordinates are taken as they are, without minimum images. ``omega`` of a residue is CA(i-1)-C(i-1)-N(i)-CA(i),
    the bond that makes a proline cis or trans.
    """
    import mdtraj as md

    owner = np.array([atom.residue.index for atom in trajectory.topology.atoms], dtype=int)

    # Position, in the four atoms, of one atom of the residue itself, then of the C and the N of the peptide bond.
    def aligned(compute: str, own: int, carbon: int, nitrogen: int) -> NDArray[np.float64]:
        result = np.full((trajectory.n_frames, trajectory.n_residues), np.nan)
        atoms, angles = getattr(md, compute)(trajectory, periodic=False)
        if len(atoms):
            bond = trajectory.xyz[:, atoms[:, carbon]] - trajectory.xyz[:, atoms[:, nitrogen]]
            linked = np.linalg.norm(bond, axis=-1) <= _MAX_CN
            result[:, owner[atoms[:, own]]] = np.where(linked, angles, np.nan)
        return result

    return BackboneDihedrals(
        phi=aligned("compute_phi", 1, 0, 1),
        psi=aligned("compute_psi", 0, 2, 3),
        omega=aligned("compute_omega", 2, 1, 2),
    )
