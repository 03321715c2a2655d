"""Other structures in a page: further models, the input or the native, and how far they are from the one shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from geofold.app.viewer.frames import BACKBONE, Trajectory, pdb_text, read_trajectory
from geofold.app.viewer.html import Residue
from geofold.errors import InputFileError
from geofold.geometry import superpose

SAME_FRAME = 0.02
"""RMSD (A) of the atoms that stayed up to which a structure is not superposed: it is in the same frame."""
SUPERPOSED = 3
"""Number of CA atoms from which a structure is superposed."""
COLOURS = ("#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00", "#000000")
"""Colours of Okabe and Ito (2008) that the page does not use for its own structure first."""


@dataclass(frozen=True)
class Compared:
    """A structure next to the one that is shown.

    Attributes
    ----------
    name : str
    text : str
        ATOM records of the compared residues, in the frame of the structure that is shown.
    rmsd : dict of str to float
        Backbone RMSD (A) of each residue, by its label.
    total : float
        Of all of them.
    colour : str
    """

    name: str
    text: str
    rmsd: dict[str, float]
    total: float
    colour: str

    def as_dict(self) -> dict[str, Any]:
        """Return what the page's script reads."""
        return {"name": self.name, "pdb": self.text, "colour": self.colour}

    def sentence(self) -> str:
        """Render the total as HTML."""
        return (
            f'<p class="small">{escape(self.name)}: backbone RMSD {self.total:.2f} Å in the frame of the protein.</p>'
        )


def compare(trajectory: Trajectory, labels: Sequence[str], others: Sequence[tuple[str, str]]) -> list[Compared]:
    """Compare structures with the last frame of a trajectory.

    Parameters
    ----------
    trajectory : Trajectory
    labels : sequence of str
        Residues that moved, which are compared; all if it is empty.
    others : sequence of (str, str)
        Names and PDB texts, whose first models are taken.

    Raises
    ------
    InputFileError
        If a structure has none of the residues.
    """
    everything = not labels
    labels = labels or list(dict.fromkeys(label_of(atom.residue) for atom in trajectory.atoms))
    colours = [COLOURS[k % len(COLOURS)] for k in range(len(others))]
    return [
        _compared(trajectory, set(labels), *other, colour, everything)
        for other, colour in zip(others, colours, strict=True)
    ]


def _compared(
    trajectory: Trajectory, labels: set[str], name: str, text: str, colour: str, everything: bool
) -> Compared:
    """Compare one structure.

    Parameters
    ----------
    trajectory : Trajectory
    labels : set of str
        Residues to compare.
    name, text, colour : str
        Name, PDB text and colour of the structure.
    everything : bool
        Whether these are all residues, which are superposed then; else those that are not compared are.
    """
    other = read_trajectory(text, frozenset())
    here, there = (_backbone(one) for one in (trajectory, other))
    both = [key for key in here if key in there]
    moved = [key for key in both if label_of(key[0]) in labels]
    if not moved:
        raise InputFileError(
            f"{name} has no backbone of the residues {'in the file' if everything else 'that moved'}",
            "a structure of the same chain and numbers",
            "check it",
        )
    xyz = other.xyz[0]
    staying = [key for key in both if key[1] == "CA" and (everything or label_of(key[0]) not in labels)]
    if len(staying) >= SUPERPOSED:
        target = trajectory.xyz[-1, [here[key] for key in staying]]
        mobile = xyz[[there[key] for key in staying]]
        if np.sqrt(np.square(target - mobile).sum(-1).mean()) > SAME_FRAME:
            xyz = superpose(xyz, mobile, target)
    squared = {key: float(np.square(xyz[there[key]] - trajectory.xyz[-1, here[key]]).sum()) for key in moved}
    by_label: dict[str, list[float]] = {}
    for key, value in squared.items():
        by_label.setdefault(label_of(key[0]), []).append(value)
    groups = {atom.group for atom in other.atoms if label_of(atom.residue) in labels}
    chains = {atom.group: atom.residue[0] for atom in other.atoms}
    edge = {near for group in groups for near in (group - 1, group + 1) if chains.get(near) == chains[group]}
    shown = [index for index, atom in enumerate(other.atoms) if atom.group in groups | edge]
    placed = Trajectory(other.atoms, xyz[None], other.rows, [0], 1)
    rmsd = {label: float(np.sqrt(np.mean(values))) for label, values in by_label.items()}
    return Compared(name, pdb_text(placed, 0, shown), rmsd, float(np.sqrt(np.mean(list(squared.values())))), colour)


def _backbone(trajectory: Trajectory) -> dict[tuple[Residue, str], int]:
    """Index of each backbone atom, by residue and name."""
    places: dict[tuple[Residue, str], int] = {}
    for index, atom in enumerate(trajectory.atoms):
        if atom.name.strip() in BACKBONE:
            places.setdefault((atom.residue, atom.name.strip()), index)
    return places


def label_of(residue: Residue) -> str:
    """Label of a residue as in reports."""
    return f"{residue[0]}:{residue[1]}{residue[2]}"
