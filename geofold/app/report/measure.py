"""Backbone dihedrals with their Ramachandran verdicts, and severe overlaps, of coordinates and trajectories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geofold.molecule.energy import ramachandran
from geofold.molecule.energy.sterics import Sterics
from geofold.molecule.kinematics.forward import Kinematics
from geofold.molecule.structure import Structure
from geofold.molecule.topology.torsion_tree import TorsionTree
from geofold.molecule.vdw_radii import SEVERE_OVERLAP
from geofold.plugins.mdtraj import trajectory_from

Floats = NDArray[np.float64]
Overlap = tuple[int, int, float]
"""Two atom indices and the overlap (nm) of their van der Waals spheres."""
CIS = np.pi / 2
"""|omega| (radian) below which a peptide bond counts as cis."""
OVERLAP_REACH = 0.9
"""Radius (nm) around the moving atoms within which overlaps are searched; larger than any contact distance."""


@dataclass(frozen=True)
class Backbone:
    """Backbone dihedrals and their Ramachandran verdicts, (n_residues,) or, for several frames, (T, n_residues).

    Attributes
    ----------
    phi, psi, omega : (n_residues,)
        Dihedrals (radian), NaN where undefined.
    kind : (n_residues,)
        Ramachandran class.
    verdict : (n_residues,)
        Favoured, allowed, outlier or undefined.
    """

    phi: Floats
    psi: Floats
    omega: Floats
    kind: NDArray[np.int64]
    verdict: NDArray[np.int64]


def backbone(structure: Structure, xyz: Floats, altloc: str | None = None) -> Backbone:
    """Compute the dihedrals of coordinates (n_atoms, 3) in nm by mdtraj, and verdicts by the Top8000 contours."""
    frame = backbones(structure, xyz[None], altloc)
    return Backbone(frame.phi[0], frame.psi[0], frame.omega[0], frame.kind[0], frame.verdict[0])


def backbones(structure: Structure, frames: Floats, altloc: str | None = None) -> Backbone:
    """Compute `backbone` for frames (T, n_atoms, 3) in nm."""
    phi, psi, omega = ramachandran.phi_psi_omega(trajectory_from(structure, frames, altloc))
    names = [residue.resname for residue in structure.residues]
    kind = np.array(
        [
            [
                ramachandran.ramachandran_class(name, following, None if np.isnan(turn) else float(turn))
                for name, following, turn in zip(names, [*names[1:], None], row, strict=True)
            ]
            for row in omega
        ]
    )
    both = ~np.isnan(phi) & ~np.isnan(psi)
    verdict = np.full(phi.shape, ramachandran.UNDEFINED)
    score = ramachandran.percentile(phi[both], psi[both], kind[both])
    verdict[both] = ramachandran.classify(score, kind[both])
    return Backbone(phi, psi, omega, kind, verdict)


def overlaps(structure: Structure, tree: TorsionTree, xyz: Floats) -> list[Overlap]:
    """List severe overlaps (atom, atom, nm) of moving atoms with any atom except waters and hydrogens."""
    return next(overlaps_along(structure, tree, xyz[None]))


def overlaps_along(structure: Structure, tree: TorsionTree, frames: Floats) -> Iterator[list[Overlap]]:
    """Yield `overlaps` of each of the frames (T, n_atoms, 3) in nm."""
    from dataclasses import replace

    import torch

    kinematics, sterics = Kinematics.of(tree), None
    outside = np.setdiff1d(np.arange(len(structure)), kinematics.atoms.cpu().numpy())
    # a single frame needs its surroundings only; further frames may move anywhere
    reach = OVERLAP_REACH if len(frames) == 1 else np.inf
    for number, xyz in enumerate(frames):
        if sterics is None or not np.array_equal(xyz[outside], frames[number - 1][outside]):
            sterics = Sterics.of(replace(structure, xyz=xyz), tree, kinematics, reach)
        local = torch.as_tensor(xyz)[kinematics.atoms][None]
        pairs = sterics.pairs(local)
        size = sterics.overlaps(local, pairs)[0][0].numpy()
        severe = np.flatnonzero(size >= SEVERE_OVERLAP)
        i, j = sterics.atoms[pairs.i.numpy()[severe]], sterics.atoms[pairs.j.numpy()[severe]]
        yield [(int(a), int(b), float(s)) for a, b, s in zip(i, j, size[severe], strict=True)]
