"""Side-chain rotamers: a backbone-dependent library, and coordinates of rotamers on a backbone.

Glossary: ``R`` residues, ``K`` rotamers of a residue, ``m`` side-chain atoms beyond CB, ``L`` chi torsions.

The library is ProMod3's (Studer et al., PLoS Comput. Biol. 17:e1008667, 2021; see `geofold/data/README.md`): rotamers
on a grid of ten degrees in phi and psi, with means, standard deviations and probabilities. Bond lengths and angles
are those of Biopython's ideal residues.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from geofold import resources
from geofold.errors import InputFileError
from geofold.geometry import dihedral, frames
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.residues import BACKBONE, STANDARD_PARENT, one_letter_codes
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import templates
from geofold.molecule.topology.torsion_tree import CHI_ATOMS

Floats = NDArray[np.float64]
Atom = TypeVar("Atom", int, str)

GRID_STEP = 10.0
"""Spacing of the grid, degrees."""
PROLINE_CHI_ATOMS = ("CA", "CB", "CG")
"""Axis atoms of proline's chi1 and chi2, which determine the pucker of its ring."""
PROLINE_CHI2_RATIO = -1.33
"""Ratio chi2 / chi1 of a closed proline ring; the library contains chi1 only."""
SELENIUM_NAMES = {("MSE", "SD"): "SE", ("SEC", "SG"): "SE"}
SYMMETRIC_RESIDUES = frozenset({"PHE", "TYR", "ASP"})
"""Residues whose last chi has a period of 180 degrees."""


@dataclass(frozen=True)
class SideChain:
    """The side chain of one residue type on an ideal backbone.

    Attributes
    ----------
    names, elements : tuple of str
        Atoms beyond CB (m).
    xyz : (m, 3)
        Their coordinates in the frame of `backbone_frames`, nm.
    n, cb : (3,)
        N and CB in the same frame, nm.
    axes : (L, 2) int
        Axis atoms of each chi, as indices into N, CA, CB and the atoms beyond CB.
    moved_atoms : (L, m) bool
        Atoms that each chi moves.
    chi : (L,)
        Torsions of the template, radian.
    quartets : tuple
        Names of the four atoms of each chi.
    """

    names: tuple[str, ...]
    elements: tuple[str, ...]
    xyz: Floats
    n: Floats
    cb: Floats
    axes: NDArray[np.int64]
    moved_atoms: NDArray[np.bool_]
    chi: Floats
    quartets: tuple[tuple[str, ...], ...]


def backbone_frames(n: Floats, ca: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Compute rotations (..., 3, 3), whose rows are the axes, and origins (..., 3) from N, CA and C (..., 3)."""
    return frames(c - ca, n - ca), ca


@cache
def side_chain_names(name: str) -> tuple[str, ...]:
    """Names of the side-chain atoms of a residue type, CB included, hydrogens not; none for unknown types."""
    standard = STANDARD_PARENT.get(name, name)
    if standard not in one_letter_codes():
        return ()
    names = dict.fromkeys(atom for bond in templates()[standard] for atom in bond if not atom.startswith("H"))
    return tuple(_final_name(name, atom) for atom in names if atom not in (*BACKBONE, "OXT"))


@cache
def side_chain(name: str) -> SideChain | None:
    """Return the template of a residue type; None if it has no atoms beyond CB."""
    standard = STANDARD_PARENT.get(name, name)
    if standard not in one_letter_codes() or standard in ("GLY", "ALA"):
        return None
    built = peptide("A" + one_letter_codes()[standard] + "A")
    conformer = built.conformer_mask
    positions = {str(built.name[a]): built.xyz[a] for a in built.residues[1].atoms if conformer[a]}
    axis, origin = backbone_frames(*(positions[k] for k in ("N", "CA", "C")))
    positions = {atom: (xyz - origin) @ axis.T for atom, xyz in positions.items()}
    names = tuple(atom for atom in positions if atom not in ("N", "CA", "C", "O", "CB"))
    atoms = ("N", "CA", "CB", *names)
    axis_atoms = PROLINE_CHI_ATOMS if standard == "PRO" else CHI_ATOMS[standard]
    bonded: dict[str, set[str]] = {atom: set() for atom in atoms}
    for first, second in templates()[standard]:
        if first in bonded and second in bonded and {first, second} != {"N", "CD"}:
            bonded[first].add(second)
            bonded[second].add(first)
    moved, chi, axes, quartets = [], [], [], []
    for level in range(1, len(axis_atoms)):
        near, far = axis_atoms[level - 1], axis_atoms[level]
        beyond = atoms_beyond(bonded.__getitem__, near, far)
        moved.append([atom in beyond for atom in names])
        before = "N" if level == 1 else axis_atoms[level - 2]
        after = axis_atoms[level + 1] if level + 1 < len(axis_atoms) else sorted(bonded[far] - {near}, key=_rank)[0]
        chi.append(float(dihedral(*(positions[k] for k in (before, near, far, after)))))
        quartets.append(tuple(_final_name(name, atom) for atom in (before, near, far, after)))
        axes.append([atoms.index(near), atoms.index(far)])
    final_names = tuple(_final_name(name, atom) for atom in names)
    return SideChain(
        final_names,
        tuple("SE" if atom == "SE" else atom[0] for atom in final_names),
        np.array([positions[atom] for atom in names]),
        positions["N"],
        positions["CB"],
        np.array(axes),
        np.array(moved),
        np.array(chi),
        tuple(quartets),
    )


def build_rotamers(chain: SideChain, chi: Floats, rotation: Floats, origin: Floats) -> Floats:
    """Build the atoms of rotamers on backbones.

    Parameters
    ----------
    chain : SideChain
        Template.
    chi : (K, L)
        Torsions, radian.
    rotation, origin : (K, 3, 3) and (K, 3), or (3, 3) and (3,)
        Frames of the backbones, or one for all rotamers.

    Returns
    -------
    (K, m, 3)
        Atoms beyond CB, nm.
    """
    count = len(chi)
    fixed = np.stack([np.zeros(3), np.zeros(3), chain.cb])
    xyz = np.broadcast_to(np.concatenate([fixed, chain.xyz]), (count, 3 + len(chain.xyz), 3)).copy()
    for level, (near, far) in enumerate(chain.axes):
        turn = chi[:, level] - chain.chi[level]
        moved = 3 + np.flatnonzero(chain.moved_atoms[level])
        start = xyz[:, far]
        axis = start - xyz[:, near]
        axis = (axis / np.linalg.norm(axis, axis=-1, keepdims=True))[:, None]
        arm = xyz[:, moved] - start[:, None]
        cosine, sine = np.cos(turn)[:, None, None], np.sin(turn)[:, None, None]
        along = (arm * axis).sum(-1, keepdims=True) * axis
        xyz[:, moved] = start[:, None] + along + cosine * (arm - along) + sine * np.cross(axis, arm)
    return xyz[:, 3:] @ rotation + (origin if origin.ndim == 1 else origin[:, None])


class RotamerLibrary:
    """Backbone-dependent rotamer library. Build with `load_library`."""

    def __init__(self, path: str) -> None:
        try:
            with np.load(path) as file:
                self._tables = {name: file[name] for name in file.files}
        except RuntimeError as error:  # of zipfile
            raise InputFileError(
                f"{path} cannot be unpacked ({error})",
                "a Python with the module lzma",
                "install another Python, or build this one again where liblzma is installed",
            ) from None
        self.types = tuple(str(name) for name in self._tables["types"])

    def rotamers(self, kind: str, phi: float, psi: float) -> tuple[Floats, Floats, Floats]:
        """Look up the rotamers of a residue type.

        Parameters
        ----------
        kind : str
            One of `types`.
        phi, psi : float
            Backbone torsions, radian; if one is NaN (chain ends), it is taken from an extended strand.

        Returns
        -------
        (K,), (K, L), (K, L)
            Probabilities in descending order, chi and their standard deviations, radian.
        """
        if not (math.isfinite(phi) and math.isfinite(psi)):
            # an extended strand has room for all rotamers
            phi, psi = (v if math.isfinite(v) else w for v, w in ((phi, -2.1), (psi, 2.4)))
        i, j = (round((math.degrees(v) + 180) / GRID_STEP) % 36 for v in (phi, psi))
        count = int(self._tables[f"{kind}_n"][i, j])
        p = self._tables[f"{kind}_p"][i, j][:count].astype(float)
        chi = np.radians(self._tables[f"{kind}_chi"][i, j][:count] / 50.0)
        sigma = np.radians(np.maximum(self._tables[f"{kind}_sig"][i, j][:count] / 50.0, 1.0))
        if kind in ("TPR", "CPR"):
            chi = np.concatenate([chi[:, :1], PROLINE_CHI2_RATIO * chi[:, :1]], -1)
            sigma = np.repeat(sigma[:, :1], 2, -1)
        return p / p.sum(), chi, sigma


@cache
def load_library() -> RotamerLibrary:
    """Load the library of the package."""
    return RotamerLibrary(str(resources.find("rotamers.npz")))


def library_type(name: str, omega: float) -> str:
    """Return the library type of a residue; that of proline depends on the omega before it (radian)."""
    standard = STANDARD_PARENT.get(name, name)
    if standard == "PRO":
        return "CPR" if math.isfinite(omega) and abs(omega) < math.pi / 2 else "TPR"
    return standard


def chi_angles(structure: Structure, k: int, conformer: NDArray[np.bool_]) -> Floats:
    """Measure the chi torsions (L,) of residue k, radian; NaN if an atom is missing."""
    chain = side_chain(structure.residues[k].resname)
    if chain is None:
        return np.zeros(0)
    angles = []
    for names in chain.quartets:
        atoms = [structure.atom(k, atom, conformer) for atom in names]
        angles.append(
            math.nan if None in atoms else float(dihedral(*(structure.xyz[a] for a in atoms if a is not None)))
        )
    return np.array(angles)


def _final_name(residue: str, atom: str) -> str:
    return SELENIUM_NAMES.get((residue, atom), atom)


def atoms_beyond(bonded: Callable[[Atom], Iterable[Atom]], near: Atom, far: Atom) -> set[Atom]:
    """Find the atoms that a rotation about the bond near-far moves, without `far`; `bonded` lists neighbours."""
    visited, front = {near, far}, [far]
    while front:
        front = [b for a in front for b in bonded(a) if b not in visited]
        visited.update(front)
    return visited - {near, far}


def _rank(name: str) -> tuple[str, str]:
    """Sort key of the fourth atom of the last chi in IUPAC order: OD1 before ND2, CD1 before CD2, SG, OG1, CG1."""
    return (name[2:], name)
