"""Data of the page's plots: Ramachandran map, K, energy and overlaps of each frame, and the overlapping pairs.

The data are computed from the coordinates that the page shows and by the functions of the report, so that page and
report agree; the page only draws them. Numbers are rounded to the resolution of a plot and, if there is one per residue
and frame, differenced like coordinates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold.app.viewer import html as parts
from geofold.app.viewer.frames import shown_frames
from geofold.errors import GeofoldError
from geofold.molecule.energy import ramachandran
from geofold.molecule.energy.amber import AMBER14, ForceField, labelled_force_field
from geofold.molecule.io.read import read
from geofold.molecule.structure import Link, Structure

DRAWN = 30
"""Maximum number of overlaps drawn in a frame, the worst ones; more would hide the loop."""
NEAR = 0.8
"""Distance (nm) from any position of the moving residues within which residues are part of the frames' energy."""
UNDEFINED_ANGLE = 360.0
ANGSTROM = 0.1
"""One Angstrom (nm)."""

Floats = NDArray[np.float64]


def depths_shown(report: Mapping[str, Any], models: int) -> list[float | None] | None:
    """Sum the inner steps K of each frame shown and of the omitted frames before it.

    Parameters
    ----------
    report : mapping
        A ``geofold-report/1``.
    models : int
        Number of models in the trajectory.

    Returns
    -------
    list of (float or None) or None
        None for a frame without a count; None altogether if the report has no counts for this trajectory.
    """
    counts = [
        parts.finite(value) for value in parts.sequence(parts.section(report, "stream").get("inner_steps_per_frame"))
    ]
    chosen = _shown(len(counts), models)
    if chosen is None or all(value is None for value in counts):
        return None
    summed: list[float | None] = []
    for previous, current in zip([-1, *chosen[:-1].tolist()], chosen.tolist(), strict=True):
        known = [value for value in counts[previous + 1 : current + 1] if value is not None]
        summed.append(sum(known) if known else None)
    return summed


def _shown(count: int, models: int) -> NDArray[np.int64] | None:
    """Return indices of the shown frames among the report's `count` frames.

    The trajectory may hold all frames or only those that a page shows; None if it fits neither.
    """
    chosen = shown_frames(count) if count else np.zeros(0, dtype=np.int64)
    return chosen if models in (count, len(chosen)) else None


def wanted_in(contact: Mapping[str, Any], report: Mapping[str, Any], models: int) -> list[bool] | None:
    """Whether a contact was active in each frame shown; None if the report does not cover this trajectory."""
    runs = contact.get("wanted_in_frames")
    count = len(parts.sequence(parts.section(report, "stream").get("inner_steps_per_frame")))
    chosen = _shown(count, models)
    if runs is None or chosen is None:
        return None
    inside = np.zeros(count, dtype=bool)
    try:
        for first, last in runs:
            inside[int(first) : int(last) + 1] = True
    except (TypeError, ValueError, OverflowError):
        return None
    return [bool(flag) for flag in inside[chosen]]


def plots(
    text: str,
    frames: Floats,
    moved: Sequence[str],
    report: Mapping[str, Any],
    links: Collection[tuple[int, int]] = (),
    *,
    energy: bool = False,
    models: int | None = None,
) -> dict[str, Any] | None:
    """Compute the data of the page's plots and of the overlaps drawn; None if nothing moves or the text is invalid.

    Parameters
    ----------
    text : str
        PDB text of the first frame, one atom per line.
    frames : (T, n, 3)
        Coordinates of its atoms (A).
    moved : sequence of str
        Labels of the coloured residues.
    report : mapping
        Source of the loops, of K and of the force field.
    links : collection of (int, int)
        Bonded atoms that residue templates do not contain.
    energy : bool
        Evaluate the force field in the frames (takes seconds).
    models : int, optional
        Number of models that the frames were chosen from; None: all are shown.
    """
    if not moved:
        return None
    try:
        structure = read(text.encode(), name="the frames")
    except GeofoldError:
        return None
    if len(structure) != frames.shape[1]:
        return None
    structure = replace(structure, links=tuple(Link(min(pair), max(pair), "LINK") for pair in links))
    spans = _spans(structure, moved, report)
    return {
        "depth": depths_shown(report, len(frames) if models is None else models),
        "energy": energies(structure, ANGSTROM * frames, spans, _force_field(report))
        if energy and len(frames) > 1
        else None,
        **_angles(structure, ANGSTROM * frames, spans),
        **_overlaps(structure, ANGSTROM * frames, spans, moved),
    }


def _spans(structure: Structure, moved: Sequence[str], report: Mapping[str, Any]) -> list[tuple[int, int]]:
    """First and last residue index of each segment: the report's loops or, without any, runs of moved residues."""
    from geofold.molecule.selection import parse_range

    place = {residue.label: k for k, residue in enumerate(structure.residues)}
    spans = []
    try:
        for text in parts.sequence(report.get("loops")):
            loop = parse_range(str(text))
            ends = [place[f"{loop.chain}:{number}{icode}"] for number, icode in (loop.first, loop.last)]
            spans.append((ends[0], ends[1]))
    except (GeofoldError, KeyError):
        spans = []  # the report belongs to another file
    if spans:
        return spans
    runs: list[list[int]] = []
    for k in sorted({place[label] for label in moved if label in place}):
        if runs and k == runs[-1][1] + 1 and structure.residues[k].chain == structure.residues[k - 1].chain:
            runs[-1][1] = k
        else:
            runs.append([k, k])
    return [(first, last) for first, last in runs if structure.is_amino_acid(first)]


def _angles(structure: Structure, frames: Floats, spans: list[tuple[int, int]]) -> dict[str, Any]:
    """Phi and psi (whole degrees) of the moving residues that have both in some frame, and verdicts as digits."""
    from geofold.app.report.measure import backbones

    inside = [k for first, last in spans for k in range(first, last + 1)]
    try:
        all_of = backbones(structure, frames)
    except GeofoldError:
        return {"residues": [], "contours": []}
    kept = [k for k in inside if (all_of.verdict[:, k] != ramachandran.UNDEFINED).any()]
    verdict = all_of.verdict[:, kept]
    angle = np.rad2deg(np.stack([all_of.phi[:, kept], all_of.psi[:, kept]], axis=-1))
    angle[verdict == ramachandran.UNDEFINED] = UNDEFINED_ANGLE
    digits = np.where(verdict == ramachandran.UNDEFINED, 3, verdict)
    return {
        "residues": [f"{structure.residues[k].label} {structure.residues[k].resname}" for k in kept],
        "angles": parts.encode(angle, 1.0),
        "verdicts": ["".join(map(str, row)) for row in digits.tolist()],
        "contours": list(contours()),
    }


def _overlaps(
    structure: Structure, frames: Floats, spans: list[tuple[int, int]], moved: Sequence[str]
) -> dict[str, Any]:
    """Count severe overlaps per frame; return also the worst, [atom, atom, 0.01 A], and that of each residue (A)."""
    from geofold.app.report.measure import overlaps_along
    from geofold.molecule.topology.torsion_tree import torsion_tree

    row = {label: place for place, label in enumerate(moved)}
    owner = np.array([row.get(residue.label, -1) for residue in structure.residues])[structure.residue_of]
    overlaps: list[dict[tuple[int, int], float]] = [{} for _ in frames]
    try:
        for span in spans:
            tree = torsion_tree(structure, *span)
            for pairs, severe in zip(overlaps, overlaps_along(structure, tree, frames), strict=True):
                pairs.update({(min(i, j), max(i, j)): size / ANGSTROM for i, j, size in severe})
    except (GeofoldError, KeyError):  # atoms without a bond to the chain: there is no tree, but the page is possible
        return {"overlaps": None, "pairs": None, "clash": None, "clashing": []}
    worst = np.zeros((len(frames), len(moved) + 1))  # the last column is for atoms that do not move
    for pairs, line in zip(overlaps, worst, strict=True):
        if pairs:
            np.maximum.at(line, owner[np.array(list(pairs))], np.array(list(pairs.values()))[:, None])
    drawn = [sorted(pairs.items(), key=lambda pair: -pair[1])[:DRAWN] for pairs in overlaps]
    return {
        "overlaps": [len(pairs) for pairs in overlaps],
        "pairs": [[[i, j, round(100 * size)] for (i, j), size in pairs] for pairs in drawn],
        "clash": parts.encode(worst[:, :-1], 0.01),
        "clashing": list(moved),
    }


def _force_field(report: Mapping[str, Any]) -> ForceField:
    """Force field of the run; the default one if the report names none."""
    return labelled_force_field(parts.section(report, "after").get("force_field"))


def energies(
    structure: Structure, frames: Floats, spans: list[tuple[int, int]], force_field: ForceField = AMBER14
) -> list[float | None] | None:
    """Evaluate the energies (kJ/mol) of frames relative to the lowest.

    Hydrogens are placed for the last frame and move with their heavy atoms; residues further away than `NEAR` are
    left out.

    Parameters
    ----------
    structure : Structure
        The structure that the frames belong to.
    frames : (T, n, 3)
        Coordinates (nm).
    spans : list of (int, int)
        First and last residue index of each moving segment.
    force_field : ForceField

    Returns
    -------
    list of (float or None) or None
        None for a frame without a finite energy; None altogether if the force field cannot describe the protein.
    """
    from geofold.molecule.energy.all_atom import region
    from geofold.molecule.energy.openmm_energy import EnergyModel

    inside = [k for first, last in spans for k in range(first, last + 1)]
    moving = np.isin(structure.residue_of, inside)
    if not moving.any():
        return None
    near = region(structure, frames[:, moving].reshape(-1, 3), NEAR)
    try:
        last = replace(structure, xyz=frames[-1])
        model = EnergyModel.of(last, structure.conformer_mask, only=near, force_field=force_field)
        values = [model.energy(frame) for frame in frames]
    except GeofoldError:
        return None
    if not np.isfinite(values).any():
        return None
    lowest = np.nanmin(values)
    return [None if not np.isfinite(value) else round(float(value - lowest), 1) for value in values]


@cache
def contours() -> tuple[str, str]:
    """SVG paths of the allowed and the favoured region of the general class.

    A region is a set of horizontal lines, one per degree of psi, drawn wide enough to touch. x is phi + 180 and y is
    180 - psi, in degrees.
    """
    middle = np.arange(-179.5, 180.0)
    score = ramachandran.percentile(np.deg2rad(middle)[None], np.deg2rad(middle)[:, None], ramachandran.GENERAL)
    levels = (float(ramachandran.ALLOWED_PERCENTILE[ramachandran.GENERAL]), ramachandran.FAVOURED_PERCENTILE)
    allowed, favoured = (_runs(score >= level) for level in levels)
    return allowed, favoured


def _runs(inside: NDArray[np.bool_]) -> str:
    edges = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(int), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    lines = zip(starts.tolist(), ends[:, 1].tolist(), strict=True)
    return "".join(f"M{x} {359.5 - row:g}h{end - x}" for (row, x), end in lines)
