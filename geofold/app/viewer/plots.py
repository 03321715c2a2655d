"""What is drawn beside the protein: Ramachandran map, K, energy and overlaps of each frame, and the pairs that overlap.

All is computed here, from the coordinates that the page shows and by the functions that the report is made with, so
that page and report agree; the page only draws. Numbers are rounded to what a plot can show and, where there is one
for each residue and frame, differenced as coordinates are.
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
from geofold.molecule.io.read import read
from geofold.molecule.structure import Link, Structure

DRAWN = 30
"""At most so many overlaps of a frame are drawn, the worst ones: more red than that hides the loop."""
NEAR = 0.8
"""nm: residues that have a say in the energy of a frame are nearer than this to where the moving ones ever are."""
UNDEFINED_ANGLE = 360.0
ANGSTROM = 0.1
"""nm."""

Floats = NDArray[np.float64]


def depths_shown(report: Mapping[str, Any], models: int) -> list[float | None] | None:
    """K of each frame shown of so many, with that of the frames left out before it; None if the report does not tell.

    A frame is None where K was not counted.
    """
    told = [
        parts.finite(value) for value in parts.sequence(parts.section(report, "stream").get("inner_steps_per_frame"))
    ]
    chosen = _shown(len(told), models)
    if chosen is None or all(value is None for value in told):
        return None
    summed: list[float | None] = []
    for before, here in zip([-1, *chosen[:-1].tolist()], chosen.tolist(), strict=True):
        known = [value for value in told[before + 1 : here + 1] if value is not None]
        summed.append(sum(known) if known else None)
    return summed


def _shown(count: int, models: int) -> NDArray[np.int64] | None:
    """Which frames of a report's path of `count` are shown of a trajectory that has all of them, or those that a page
    shows; None for one of another path."""
    chosen = shown_frames(count) if count else np.zeros(0, dtype=np.int64)
    return chosen if models in (count, len(chosen)) else None


def wanted_in(contact: Mapping[str, Any], report: Mapping[str, Any], models: int) -> list[bool] | None:
    """Whether a contact was wanted in each frame shown of so many; None if the report tells nothing of this path."""
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
    """What the page's plots and red dashes are drawn from; None if nothing moves or the text is no structure.

    Parameters
    ----------
    text : str
        PDB text of the first frame, an atom a line.
    frames : (T, n, 3)
        Coordinates of its atoms in A.
    moved : sequence of str
        Labels of the residues that are coloured.
    report : mapping
        For the loops that were worked on, and K.
    links : collection of (int, int)
        Bonded atoms that no template names.
    energy : bool
        Evaluate the force field in the frames, which takes seconds.
    models : int, optional
        That the frames were chosen from; None: there are no others.
    """
    if not moved:
        return None
    try:
        structure = read(text.encode(), name="the frames")
    except GeofoldError:
        return None
    if len(structure) != frames.shape[1]:
        return None
    own = tuple(Link(min(pair), max(pair), "LINK") for pair in links)
    structure = replace(structure, links=own)
    spans = _spans(structure, moved, report)
    return {
        "depth": depths_shown(report, len(frames) if models is None else models),
        "energy": energies(structure, ANGSTROM * frames, spans) if energy and len(frames) > 1 else None,
        **_angles(structure, ANGSTROM * frames, spans),
        **_overlaps(structure, ANGSTROM * frames, spans, moved),
    }


def _spans(structure: Structure, moved: Sequence[str], report: Mapping[str, Any]) -> list[tuple[int, int]]:
    """First and last residue of each stretch: the report's loops, else the runs of residues that moved."""
    from geofold.molecule.selection import parse_range

    place = {residue.label: k for k, residue in enumerate(structure.residues)}
    spans = []
    try:
        for told in parts.sequence(report.get("loops")):
            asked = parse_range(str(told))
            ends = [place[f"{asked.chain}:{number}{icode}"] for number, icode in (asked.first, asked.last)]
            spans.append((ends[0], ends[1]))
    except (GeofoldError, KeyError):
        spans = []  # a report of another file
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
    """Phi and psi of the moving residues that have both in some frame, whole degrees, and their verdicts as digits."""
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
    """Number of severe overlaps of each frame, the worst of them as [atom, atom, 0.01 A], the worst of each residue."""
    from geofold.app.report.measure import overlaps_along
    from geofold.molecule.topology.torsion_tree import torsion_tree

    row = {label: place for place, label in enumerate(moved)}
    owner = np.array([row.get(residue.label, -1) for residue in structure.residues])[structure.residue_of]
    found: list[dict[tuple[int, int], float]] = [{} for _ in frames]
    try:
        for span in spans:
            tree = torsion_tree(structure, *span)
            for pairs, here in zip(found, overlaps_along(structure, tree, frames), strict=True):
                pairs.update({(min(i, j), max(i, j)): size / ANGSTROM for i, j, size in here})
    except (GeofoldError, KeyError):  # atoms that nothing bonds to the chain: there is no tree, but there is a picture
        return {"overlaps": None, "pairs": None, "clash": None, "clashing": []}
    worst = np.zeros((len(frames), len(moved) + 1))  # the last column takes what does not move
    for pairs, line in zip(found, worst, strict=True):
        if pairs:
            np.maximum.at(line, owner[np.array(list(pairs))], np.array(list(pairs.values()))[:, None])
    drawn = [sorted(pairs.items(), key=lambda pair: -pair[1])[:DRAWN] for pairs in found]
    return {
        "overlaps": [len(pairs) for pairs in found],
        "pairs": [[[i, j, round(100 * size)] for (i, j), size in pairs] for pairs in drawn],
        "clash": parts.encode(worst[:, :-1], 0.01),
        "clashing": list(moved),
    }


def energies(structure: Structure, frames: Floats, spans: list[tuple[int, int]]) -> list[float | None] | None:
    """Energy (amber14 + OBC2, kJ/mol) of frames (T, n, 3) in nm, above the lowest of them; None for one that is not
    finite, and if the force field does not know the protein.

    Hydrogens are placed for the last frame, and ride along; what is further away than `NEAR` stays out of it.
    """
    from geofold.molecule.energy.all_atom import region
    from geofold.molecule.energy.openmm_energy import EnergyModel

    inside = [k for first, last in spans for k in range(first, last + 1)]
    own = np.isin(structure.residue_of, inside)
    if not own.any():
        return None
    near = region(structure, frames[:, own].reshape(-1, 3), NEAR)
    try:
        model = EnergyModel.of(replace(structure, xyz=frames[-1]), structure.steering_mask, only=near)
        values = [model.energy(frame) for frame in frames]
    except GeofoldError:
        return None
    if not np.isfinite(values).any():
        return None
    lowest = np.nanmin(values)
    return [None if not np.isfinite(value) else round(float(value - lowest), 1) for value in values]


@cache
def contours() -> tuple[str, str]:
    """SVG paths of the general class, allowed then favoured: lines a degree of psi apart, drawn wide enough to touch.

    x is phi + 180 and y is 180 - psi, in degrees.
    """
    middle = np.arange(-179.5, 180.0)
    score = ramachandran.score(np.deg2rad(middle)[None], np.deg2rad(middle)[:, None], ramachandran.GENERAL)
    levels = (float(ramachandran.ALLOWED_FROM[ramachandran.GENERAL]), ramachandran.FAVOURED_FROM)
    allowed, favoured = (_runs(score >= level) for level in levels)
    return allowed, favoured


def _runs(inside: NDArray[np.bool_]) -> str:
    edges = np.diff(np.pad(inside, ((0, 0), (1, 1))).astype(int), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    lines = zip(starts.tolist(), ends[:, 1].tolist(), strict=True)
    return "".join(f"M{x} {359.5 - row:g}h{end - x}" for (row, x), end in lines)
