"""The viewer: a web page that plays a trajectory next to its report, and a py3Dmol view of the same scene.

Lengths in this file are in A, as in the PDB text and in the page. The page contains the whole protein once and the
moving part for each frame: coordinates of the moving residues (and of one neighbour on each side, so that the ribbon
is continuous) are rounded to 0.01 A, differenced from frame to frame and encoded as in JavaScript source maps
(base-64 VLQ), usually with one letter per number. 3Dmol.js (Rego and Koes, Bioinformatics 31:1322, 2015), the library
in py3Dmol, draws the scene.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from geofold import resources
from geofold.app.viewer import html as parts
from geofold.app.viewer import library as viewer_library
from geofold.app.viewer.comparison import compare, label_of
from geofold.app.viewer.frames import Trajectory, pdb_text, read_trajectory
from geofold.app.viewer.html import Residue
from geofold.app.viewer.plots import plots, wanted_in
from geofold.app.viewer.residue_table import expected_errors, residue_table
from geofold.errors import OptionError

GREY, ORANGE, BLUE, VERMILION, SKY = "#B4B4B4", "#E69F00", "#0072B2", "#D55E00", "#56B4E9"
"""Colours of Okabe and Ito (2008), distinguishable with any colour vision. The page's script defines the same five."""

STEP = 0.01
"""Resolution (A) of embedded coordinates."""
NEAR = 4.5
"""Distance (A) from a moved residue in the last frame within which a residue is shown with its side chain."""
STILL = 0.005
"""Displacement (A) up to which all atoms of a residue have to stay for it to count as fixed."""


@dataclass(frozen=True)
class Scene:
    """Content of a page's scene.

    Attributes
    ----------
    trajectory : Trajectory
        Atoms and coordinates.
    moving, edge, nearby : list of int
        Indices of moving atoms (edge included), of the neighbours in sequence, and of residues near moved ones.
    colours : dict of str to float or None
        Inner steps K of each coloured residue, by label; None if unknown.
    contacts : list of dict
        Contacts to draw.
    """

    trajectory: Trajectory
    moving: list[int]
    edge: list[int]
    nearby: list[int]
    colours: dict[str, float | None]
    contacts: list[dict[str, Any]]


def page(
    frames_pdb: list[str] | str,
    report: dict[str, Any],
    *,
    title: str,
    contacts: Sequence[dict[str, Any]] = (),
    moved: Sequence[Residue] = (),
    inner_steps: Sequence[float] | None = None,
    offline: bool = False,
    links: Collection[tuple[int, int]] = (),
    energy: bool = False,
    compared: Sequence[tuple[str, str]] = (),
) -> str:
    """Render one self-contained HTML page: the trajectory in 3D with a player, plots of each frame, and tables.

    Parameters
    ----------
    frames_pdb : list of str or str
        PDB text with one MODEL per frame, or one PDB text per frame; the first frame is the start and the last
        the end. A single model gives a page without a player. Of more than two hundred models, two hundred are shown,
        evenly spaced, and the page numbers them.
    report : dict
        A ``geofold-report/1``; every key may be missing, and ``{}`` gives a page without tables.
    title : str
        Heading of the page.
    contacts : sequence of dict, optional
        Contacts in the form of ``report["contacts"]``, which they replace. A contact with both atoms in the file is
        drawn.
    moved : sequence of (chain, residue number, insertion code), optional
        Residues to colour; by default those of the report or, without any, those whose atoms move.
    inner_steps : sequence of float, optional
        Inner steps K of each of ``moved``; by default ``report["stream"]["inner_steps_per_residue"]``.
    offline : bool, optional
        Embed 3Dmol.js in the page instead of a link to it.
    links : collection of (int, int), optional
        Bonds without a record in the text, as zero-based atom lines of a model; their atoms do not clash.
    energy : bool, optional
        Evaluate the force field in each frame (takes seconds).
    compared : sequence of (str, str), optional
        Names and PDB texts of structures to draw next to the last frame: further models, the native.

    Returns
    -------
    str
        HTML text. Text of the files or of the report is never run as markup or script.

    Raises
    ------
    InputFileError, CoordinateError
        If there is no atom, a line cannot be read, or a frame differs from the first in its atoms or is not finite.
    OptionError
        If ``inner_steps`` does not match ``moved``, or 3Dmol.js is not found for an offline page.
    """
    shown = _scene(frames_pdb, report, contacts, moved, inner_steps)
    trajectory, playable = shown.trajectory, len(shown.trajectory.xyz) > 1
    others = compare(trajectory, list(shown.colours), compared)
    listed = list(shown.colours) or [label for other in others[:1] for label in other.rmsd]
    residues = residue_table(trajectory, listed, report, others)
    panel = parts.report_panel(report, contacts or parts.listed_contacts(report), playable, residues)
    start, place = pdb_text(trajectory, 0), {row: index for index, row in enumerate(trajectory.rows)}
    bonded = [(place[i], place[j]) for i, j in links if i in place and j in place]
    drawn = plots(start, trajectory.xyz, list(shown.colours), report, bonded, energy=energy, models=trajectory.models)
    plotted = bool(shown.colours and (drawn or (shown.contacts and playable)))
    sidebar = ('<section id="plots" aria-label="Plots"></section>' if plotted else "") + (
        f"<aside>{panel}</aside>" if panel else ""
    )
    template = resources.find("viewer.html").read_text(encoding="utf-8")
    return parts.render(
        template,
        {
            "TITLE": escape(title),
            "BESIDE": f'<div id="beside">{sidebar}</div>' if sidebar else "",
            "LAYOUT": "both" if sidebar else "alone",
            "SOURCE": "" if offline else viewer_library.LIBRARY_URL.split("/npm")[0],
            "LIBRARY": f"<script>{viewer_library.library_source()}</script>" if offline else "",
            "PLOTS": resources.find("viewer_plots.js").read_text(encoding="utf-8"),
            "DATA": parts.embed_json(
                {
                    "library": None if offline else viewer_library.LIBRARY_URL,
                    "integrity": None if offline else viewer_library.LIBRARY_INTEGRITY,
                    "start": start,
                    "step": STEP,
                    "models": _chosen(trajectory),
                    "moving": shown.moving,
                    "edge": shown.edge,
                    "beside": shown.nearby,
                    "frames": parts.encode(trajectory.xyz[:, shown.moving], STEP),
                    "moved": shown.colours,
                    "errors": expected_errors(report),
                    "compared": [other.as_dict() for other in others],
                    "contacts": shown.contacts,
                    "plots": drawn if plotted else None,
                }
            ),
        },
    )


def view(
    pdb_frames: list[str] | str,
    report: dict[str, Any] | None = None,
    *,
    contacts: Sequence[dict[str, Any]] = (),
    moved: Sequence[Residue] = (),
    width: int = 720,
    height: int = 480,
    kind: Any = None,
) -> Any:
    """Create a py3Dmol view of the same scene: protein in grey, moved residues playing in orange, final contacts.

    Parameters
    ----------
    pdb_frames, report, contacts, moved
        As for ``page``.
    width, height : int, optional
        Size in pixels.
    kind : type, optional
        Subclass of `py3Dmol.view` to make.

    Returns
    -------
    py3Dmol.view
        Displayed by a notebook if it is the last expression of a cell.

    Raises
    ------
    InputFileError, CoordinateError
        As for ``page``.
    """
    import py3Dmol

    shown = _scene(pdb_frames, report or {}, contacts, moved, None)
    trajectory, frames = shown.trajectory, len(shown.trajectory.xyz)
    kept = [index for index in range(len(trajectory.atoms)) if index not in set(shown.moving) - set(shown.edge)]
    drawn = (py3Dmol.view if kind is None else kind)(width=width, height=height)
    drawn.addModel(pdb_text(trajectory, frames - 1, kept), "pdb")
    drawn.setStyle({"hetflag": False}, {"cartoon": {"color": GREY}})
    drawn.setStyle({"hetflag": True}, {"stick": {"color": GREY}})
    for chain, resnum, _ in dict.fromkeys(trajectory.atoms[index].residue for index in shown.nearby):
        near = {"model": 0, "chain": chain or " ", "resi": resnum}
        drawn.addStyle(near, {"stick": {"colorscheme": "lightgreyCarbon", "radius": 0.08}})
    if shown.moving:
        drawn.addModel(pdb_text(trajectory, 0, shown.moving), "pdb")
        drawn.setStyle({"model": 1}, {"cartoon": {"color": SKY, "opacity": 0.5}})
        texts = [f"MODEL\n{pdb_text(trajectory, frame, shown.moving)}ENDMDL\n" for frame in range(frames)]
        drawn.addModelsAsFrames("".join(texts), "pdb")
        drawn.setStyle({"model": 2}, {"cartoon": {"color": GREY}})
        orange = {"cartoon": {"color": ORANGE}, "stick": {"color": ORANGE, "radius": 0.12}}
        residues = dict.fromkeys(atom.residue for atom in trajectory.atoms)
        for chain, resnum, _ in (residue for residue in residues if label_of(residue) in shown.colours):
            drawn.setStyle({"model": 2, "chain": chain or " ", "resi": resnum}, orange)
    for contact in (c for c in shown.contacts if c["wanted"] is None or c["wanted"][-1]):
        start, end = trajectory.xyz[-1, contact["atoms"]]
        excess = np.linalg.norm(start - end) - contact["bound"] if contact["bound"] is not None else np.nan
        held = excess <= STILL if contact["kind"] == "upper" else excess >= -STILL
        ends = {name: dict(zip("xyz", at.tolist(), strict=True)) for name, at in (("start", start), ("end", end))}
        drawn.addCylinder({**ends, "radius": 0.1, "dashed": True, "color": BLUE if held else VERMILION})
    drawn.zoomTo()
    if frames > 1 and kind is None:
        drawn.animate({"loop": "forward", "interval": 80})
    return drawn


def _scene(
    frames_pdb: list[str] | str,
    report: Mapping[str, Any],
    contacts: Sequence[Mapping[str, Any]],
    moved: Sequence[Residue],
    inner_steps: Sequence[float] | None,
) -> Scene:
    if inner_steps is not None and len(inner_steps) != len(moved):
        raise OptionError(f"{len(inner_steps)} inner steps, {len(moved)} moved residues", "one for each", "give both")
    listed = contacts or [*parts.listed_contacts(report), *parts.listed_contacts(report, "contacts_earlier")]
    ends = [parts.contact_ends(contact) for contact in listed]
    trajectory = read_trajectory(frames_pdb, frozenset(end for pair in ends for end in pair))
    groups = np.array([atom.group for atom in trajectory.atoms])
    strays = np.abs(trajectory.xyz - trajectory.xyz[0]).max(axis=(0, 2)) > STILL
    steps = parts.section(parts.section(report, "stream"), "inner_steps_per_residue")
    reported = parts.sequence(parts.section(report, "moved").get("residues"))
    labels = [label_of(residue) for residue in moved] or [str(text) for text in reported]
    if not labels:
        labels = list(dict.fromkeys(label_of(trajectory.atoms[index].residue) for index in np.flatnonzero(strays)))
    values = list(inner_steps) if inner_steps is not None else [steps.get(key) for key in labels]
    colours = {key: parts.finite(value) for key, value in zip(labels, values, strict=True)}

    core = set(groups[strays].tolist()) | {atom.group for atom in trajectory.atoms if label_of(atom.residue) in colours}
    chain_of = {atom.group: atom.residue[0] for atom in trajectory.atoms}
    edge = {near for group in core for near in (group - 1, group + 1) if chain_of.get(near) == chain_of[group]} - core
    place = {(atom.residue, atom.name.strip()): index for index, atom in reversed(list(enumerate(trajectory.atoms)))}
    drawn = [
        {
            "row": row,
            "text": str(contact.get("contact") or f"contact {row + 1}"),
            "atoms": [place[end] for end in pair],
            "kind": parts.contact_kind(contact),
            "bound": parts.finite(contact.get("bound_angstrom")),
            "wanted": wanted_in(contact, report, trajectory.models),
        }
        for row, (contact, pair) in enumerate(zip(listed, ends, strict=True))
        if len(pair) == 2 and all(end in place for end in pair)
    ]
    moving, edges = (np.flatnonzero(np.isin(groups, list(which))).tolist() for which in (core | edge, edge))
    return Scene(trajectory, moving, edges, _find_nearby(trajectory, groups, core), colours, drawn)


def _chosen(trajectory: Trajectory) -> dict[str, Any] | None:
    """Numbers of the models shown and of all models; None if all are shown."""
    if len(trajectory.chosen) == trajectory.models:
        return None
    return {"numbers": [index + 1 for index in trajectory.chosen], "of": trajectory.models}


def _find_nearby(trajectory: Trajectory, groups: NDArray[np.int64], core: Collection[int]) -> list[int]:
    """Return indices of the atoms of residues near the residues `core` in the last frame."""
    inside, xyz = np.isin(groups, list(core)), trajectory.xyz[-1]
    if not inside.any() or inside.all():
        return []
    close = np.isfinite(cKDTree(xyz[inside]).query(xyz, distance_upper_bound=NEAR)[0])
    return np.flatnonzero(np.isin(groups, groups[close]) & ~inside).tolist()
