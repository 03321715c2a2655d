"""Side-chain rotamers: a backbone-dependent library, and the atoms that it puts on a backbone.

Glossary: ``R`` residues, ``K`` rotamers of a residue, ``m`` side-chain atoms atoms_beyond CB, ``L`` chi torsions.

The library is ProMod3's (Studer et al., PLoS Comput. Biol. 17:e1008667, 2021; see `geofold/data/README.md`): rotamers
on a grid of ten degrees in phi and psi, with means, standard deviations and probabilities. Bond lengths and angles are
those that Biopython builds residues with.
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
from geofold.geometry import dihedral, frames
from geofold.molecule.io.ideal_peptide import peptide
from geofold.molecule.residues import STANDARD_PARENT, one_letter_codes
from geofold.molecule.structure import Structure
from geofold.molecule.topology.bonds import templates
from geofold.molecule.topology.torsion_tree import CHI_ATOMS

Floats = NDArray[np.float64]
Atom = TypeVar("Atom", int, str)

GRID_STEP = 10.0
"""Degrees between the points of the grid."""
PROLINE_CHI_ATOMS = ("CA", "CB", "CG")
"""Axis atoms of proline's chi1 and chi2, which pucker its ring."""
PROLINE_CHI2_RATIO = -1.33
"""chi2 over chi1 of a proline whose ring is closed; the library has its chi1 only."""
SELENIUM_NAMES = {("MSE", "SD"): "SE", ("SEC", "SG"): "SE"}
SYMMETRIC_RESIDUES = frozenset({"PHE", "TYR", "ASP"})
"""Residues whose last chi looks the same after half a turn."""


@dataclass(frozen=True)
class SideChain:
    """The side chain of one residue type on an ideal backbone.

    Attributes
    ----------
    names, elements : tuple of str
        Atoms beyond CB (m).
    xyz : (m, 3)
        In the frame of `backbone_frames`, nm.
    cb : (3,)
    axes : (L, 2, 3)
        Two points on each chi's axis, in the template.
    moved_atoms : (L, m) bool
        What each chi turns.
    chi : (L,)
        Of the template, radian.
    quartets : tuple
        The four atoms of each chi.
    """

    names: tuple[str, ...]
    elements: tuple[str, ...]
    xyz: Floats
    cb: Floats
    axes: NDArray[np.int64]
    moved_atoms: NDArray[np.bool_]
    chi: Floats
    quartets: tuple[tuple[str, ...], ...]


def backbone_frames(n: Floats, ca: Floats, c: Floats) -> tuple[Floats, Floats]:
    """Rotations (..., 3, 3), whose rows are the axes, and origins (..., 3) of backbones N, CA, C (..., 3)."""
    return frames(c - ca, n - ca), ca


@cache
def side_chain(name: str) -> SideChain | None:
    """Template of a residue type; None where there is nothing beyond CB."""
    standard = STANDARD_PARENT.get(name, name)
    if standard not in one_letter_codes() or standard in ("GLY", "ALA"):
        return None
    built = peptide("A" + one_letter_codes()[standard] + "A")
    steering = built.steering_mask
    place = {str(built.name[a]): built.xyz[a] for a in built.residues[1].atoms if steering[a]}
    axis, origin = backbone_frames(*(place[k] for k in ("N", "CA", "C")))
    place = {atom: (xyz - origin) @ axis.T for atom, xyz in place.items()}
    names = tuple(atom for atom in place if atom not in ("N", "CA", "C", "O", "CB"))
    every = ("N", "CA", "CB", *names)
    along = PROLINE_CHI_ATOMS if standard == "PRO" else CHI_ATOMS[standard]
    table: dict[str, set[str]] = {atom: set() for atom in every}
    for one, other in templates()[standard]:
        if one in table and other in table and {one, other} != {"N", "CD"}:
            table[one].add(other)
            table[other].add(one)
    turned, chi, axes, quartets = [], [], [], []
    for level in range(1, len(along)):
        near, far = along[level - 1], along[level]
        behind = atoms_beyond(table.__getitem__, near, far)
        turned.append([atom in behind for atom in names])
        before = "N" if level == 1 else along[level - 2]
        after = along[level + 1] if level + 1 < len(along) else sorted(table[far] - {near}, key=_rank)[0]
        chi.append(float(dihedral(*(place[k] for k in (before, near, far, after)))))
        quartets.append(tuple(_renamed(name, atom) for atom in (before, near, far, after)))
        axes.append([every.index(near), every.index(far)])
    own = tuple(_renamed(name, atom) for atom in names)
    return SideChain(
        own,
        tuple("SE" if atom == "SE" else atom[0] for atom in own),
        np.array([place[atom] for atom in names]),
        place["CB"],
        np.array(axes),
        np.array(turned),
        np.array(chi),
        tuple(quartets),
    )


def build_rotamers(chain: SideChain, chi: Floats, rotation: Floats, origin: Floats) -> Floats:
    """Atoms (K, m, 3) of rotamers chi (K, L), radian, on backbones (K, 3, 3) and (K, 3), or one for all."""
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
    """The rotamer library. Build with `load_library()`."""

    def __init__(self, path: str) -> None:
        with np.load(path) as file:
            self._tables = {name: file[name] for name in file.files}
        self.types = tuple(str(name) for name in self._tables["types"])

    def rotamers(self, kind: str, phi: float, psi: float) -> tuple[Floats, Floats, Floats]:
        """Probabilities (K,), best first, chi (K, L) and standard deviations (K, L), radian.

        Parameters
        ----------
        kind : str
            One of `types`.
        phi, psi : float
            Radian; where one is not there (chain ends) the probabilities are averaged over it.
        """
        if not (math.isfinite(phi) and math.isfinite(psi)):
            # at the ends of a chain: as in an extended strand, where all rotamers have room
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
    """The library that ships."""
    return RotamerLibrary(str(resources.find("rotamers.npz")))


def library_type(name: str, omega: float) -> str:
    """Library type of a residue: prolines by the omega before them (radian)."""
    standard = STANDARD_PARENT.get(name, name)
    if standard == "PRO":
        return "CPR" if math.isfinite(omega) and abs(omega) < math.pi / 2 else "TPR"
    return standard


def chi_angles(structure: Structure, k: int, steering: NDArray[np.bool_]) -> Floats:
    """Chi torsions (L,) of residue k in the structure, radian; NaN where an atom is missing."""
    chain = side_chain(structure.residues[k].resname)
    if chain is None:
        return np.zeros(0)
    found = []
    for names in chain.quartets:
        atoms = [structure.atom(k, atom, steering) for atom in names]
        found.append(
            math.nan if None in atoms else float(dihedral(*(structure.xyz[a] for a in atoms if a is not None)))
        )
    return np.array(found)


def _renamed(residue: str, atom: str) -> str:
    return SELENIUM_NAMES.get((residue, atom), atom)


def atoms_beyond(bonded: Callable[[Atom], Iterable[Atom]], near: Atom, far: Atom) -> set[Atom]:
    """Atoms that turn with `far` about the bond from `near` to it, `far` apart; `bonded` gives an atom's neighbours."""
    seen, front = {near, far}, [far]
    while front:
        front = [b for a in front for b in bonded(a) if b not in seen]
        seen.update(front)
    return seen - {near, far}


def _rank(name: str) -> tuple[str, str]:
    """IUPAC order of the atoms that a last chi may be measured to: OD1 before ND2, CD1 before CD2, SG, OG1, CG1."""
    return (name[2:], name)
