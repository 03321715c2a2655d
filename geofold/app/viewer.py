"""The viewer: a trajectory that plays in a web page beside the numbers of its report, and a py3Dmol view of it.

Lengths in this file are in Angstrom, as in the PDB text that comes in and the page that goes out. The page holds
the protein once and repeats only what moves: coordinates of the moving residues (and one neighbour on each side,
so that the ribbon joins) are rounded to 0.01 A, differenced from frame to frame and written in the base-64
variable-length code of JavaScript source maps, most often one letter per number. 3Dmol.js draws (Rego and Koes,
Bioinformatics 31:1322, 2015), the library inside py3Dmol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geofold import resources
from geofold.app import viewer_page as parts
from geofold.app.viewer_page import AtomKey, Residue
from geofold.errors import CoordinateError, InputFileError, OptionError

GREY, ORANGE, BLUE, VERMILION, SKY = "#B4B4B4", "#E69F00", "#0072B2", "#D55E00", "#56B4E9"
"""Okabe and Ito's colours (2008), told apart with any colour vision. The page's script names the same five."""

WATER = frozenset({"HOH", "WAT", "DOD", "H2O", "TIP", "SOL"})
STEP = 0.01
"""Resolution of an embedded coordinate in A."""
STILL = 0.005
"""A residue none of whose atoms strays further than this (A) from its start does not move."""


@dataclass(frozen=True)
class Atom:
    """Identity of one atom, as in the file; ``group`` counts residues in file order."""

    record: str
    name: str
    resname: str
    residue: Residue
    element: str
    group: int


@dataclass(frozen=True)
class Trajectory:
    """Atoms (no water; hydrogens only where a contact names them) and coordinates (frames, atoms, 3) in A."""

    atoms: list[Atom]
    xyz: NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """What is drawn: ``moving`` and ``edge`` are atom indices, ``colours`` has a K or None per coloured residue."""

    trajectory: Trajectory
    moving: list[int]
    edge: list[int]
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
) -> str:
    """One self-contained HTML page: the trajectory in 3D, playable, and the report's tables beside it.

    Parameters
    ----------
    frames_pdb : list of str or str
        PDB text with one MODEL per frame, or one PDB text per frame; the first frame is the start and the last
        the end. A single model gives a page without a player.
    report : dict
        A ``geofold-report/1``; every key may be missing, ``{}`` gives a page without tables.
    title : str
        Heading of the page.
    contacts : sequence of dict, optional
        As ``report["contacts"]``, which they replace. A contact whose two atoms are in the file is drawn.
    moved : sequence of (chain, residue number, insertion code), optional
        Residues to colour; otherwise those of the report, otherwise those whose atoms move.
    inner_steps : sequence of float, optional
        Inner steps K, one for each of ``moved``; otherwise ``report["stream"]["inner_steps_per_residue"]``.
    offline : bool, optional
        Put 3Dmol.js into the page instead of a link to it.

    Returns
    -------
    str
        HTML text. No text of the files or of the report is run as markup or script.

    Raises
    ------
    InputFileError, CoordinateError
        If there is no atom, a line cannot be read, a frame has other atoms than the first or is not finite.
    OptionError
        If ``inner_steps`` does not fit ``moved``, or no 3Dmol.js is found for an offline page.
    """
    shown = _scene(frames_pdb, report, contacts, moved, inner_steps)
    panel = parts.report_panel(report, contacts or parts.listed_contacts(report), len(shown.trajectory.xyz) > 1)
    template = resources.find("viewer.html").read_text(encoding="utf-8")
    return parts.render(template, {
        "TITLE": escape(title),
        "PANEL": f"<aside>{panel}</aside>" if panel else "",
        "LAYOUT": "both" if panel else "alone",
        "SOURCE": "" if offline else parts.LIBRARY_URL.split("/npm")[0],
        "LIBRARY": f"<script>{parts.library_source()}</script>" if offline else "",
        "DATA": parts.embed_json({
            "library": None if offline else parts.LIBRARY_URL,
            "start": pdb_text(shown.trajectory, 0),
            "step": STEP,
            "moving": shown.moving, "edge": shown.edge,
            "frames": parts.encode(shown.trajectory.xyz[:, shown.moving], STEP),
            "moved": shown.colours, "contacts": shown.contacts,
        }),
    })  # fmt: skip


def view(
    pdb_frames: list[str] | str,
    report: dict[str, Any] | None = None,
    *,
    contacts: Sequence[dict[str, Any]] = (),
    moved: Sequence[Residue] = (),
    width: int = 720,
    height: int = 480,
) -> Any:
    """The same scene for a notebook: grey protein, orange moved residues playing, contacts as they end.

    Parameters
    ----------
    pdb_frames, report, contacts, moved
        As for ``page``.
    width, height : int, optional
        Size in pixels.

    Returns
    -------
    py3Dmol.view
        Shown by the notebook when it is the last expression of a cell.

    Raises
    ------
    InputFileError, CoordinateError
        As for ``page``.
    """
    import py3Dmol

    shown = _scene(pdb_frames, report or {}, contacts, moved, None)
    trajectory, frames = shown.trajectory, len(shown.trajectory.xyz)
    kept = [index for index in range(len(trajectory.atoms)) if index not in set(shown.moving) - set(shown.edge)]
    drawn = py3Dmol.view(width=width, height=height)
    drawn.addModel(pdb_text(trajectory, frames - 1, kept), "pdb")
    drawn.setStyle({"hetflag": False}, {"cartoon": {"color": GREY}})
    drawn.setStyle({"hetflag": True}, {"stick": {"color": GREY}})
    if shown.moving:
        drawn.addModel(pdb_text(trajectory, 0, shown.moving), "pdb")
        drawn.setStyle({"model": 1}, {"cartoon": {"color": SKY, "opacity": 0.5}})
        texts = [f"MODEL\n{pdb_text(trajectory, frame, shown.moving)}ENDMDL\n" for frame in range(frames)]
        drawn.addModelsAsFrames("".join(texts), "pdb")
        drawn.setStyle({"model": 2}, {"cartoon": {"color": GREY}})
        orange = {"cartoon": {"color": ORANGE}, "stick": {"color": ORANGE, "radius": 0.12}}
        residues = dict.fromkeys(atom.residue for atom in trajectory.atoms)
        for chain, resnum, _ in (residue for residue in residues if _label(residue) in shown.colours):
            drawn.setStyle({"model": 2, "chain": chain or " ", "resi": resnum}, orange)
    for contact in shown.contacts:
        start, end = trajectory.xyz[-1, contact["atoms"]]
        excess = np.linalg.norm(start - end) - contact["bound"] if contact["bound"] is not None else np.nan
        held = excess <= STILL if contact["kind"] == "upper" else excess >= -STILL
        ends = {name: dict(zip("xyz", at.tolist(), strict=True)) for name, at in (("start", start), ("end", end))}
        drawn.addCylinder({**ends, "radius": 0.1, "dashed": True, "color": BLUE if held else VERMILION})
    drawn.zoomTo()
    if frames > 1:
        drawn.animate({"loop": "forward", "interval": 80})
    return drawn


def read_trajectory(frames_pdb: list[str] | str, keep_hydrogens: frozenset[AtomKey]) -> Trajectory:
    """Atoms of the first model, and the coordinates of every model in A; see ``page`` for the errors."""
    models = list(_models([frames_pdb] if isinstance(frames_pdb, str) else frames_pdb))
    if not models:
        raise InputFileError("a trajectory without atoms", "PDB text with ATOM records", "check the file")
    atoms: list[Atom] = []
    rows: list[int] = []
    seen: set[AtomKey] = set()
    last, group = None, -1
    for row, line in enumerate(models[0]):
        try:
            residue = (line[21].strip(), int(line[22:26]), line[26].strip())
        except (ValueError, IndexError):
            raise InputFileError(f"the line '{line[:60]}'", "an ATOM record in PDB columns", "check the file") from None
        name, resname = line[12:16], line[17:20]
        element = line[76:78].strip().upper() or name.strip().lstrip("0123456789")[:1]
        atom_key = (residue, name.strip())
        hydrogen = element in ("H", "D") and atom_key not in keep_hydrogens
        if hydrogen or resname.strip() in WATER or (line[16] != " " and atom_key in seen):
            continue
        seen.add(atom_key)
        if (residue, resname) != last:
            last, group = (residue, resname), group + 1
        atoms.append(Atom(line[:6], name, resname, residue, element, group))
        rows.append(row)
    # Modified residues come as HETATM and would fall out of the ribbon.
    backbone = {name: {atom.group for atom in atoms if atom.name.strip() == name} for name in ("N", "CA", "C")}
    polymer = backbone["N"] & backbone["CA"] & backbone["C"]
    atoms = [replace(atom, record="ATOM") if atom.group in polymer else atom for atom in atoms]
    return Trajectory(atoms, np.stack([_coordinates(models, index, rows) for index in range(len(models))]))


def pdb_text(trajectory: Trajectory, frame: int, atoms: Sequence[int] | None = None) -> str:
    """ATOM records of one frame, all atoms or those given, rebuilt from their fields: no header, no free text."""
    chosen = range(len(trajectory.atoms)) if atoms is None else atoms
    lines = []
    for serial, index in enumerate(chosen, 1):
        atom, (x, y, z) = trajectory.atoms[index], trajectory.xyz[frame, index]
        chain, resnum, icode = atom.residue
        lines.append(
            f"{atom.record:6}{serial % 100000:5d} {atom.name:4} {atom.resname:3} {chain:1}{resnum:4d}{icode:1}"
            f"   {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {atom.element:>2}\n"
        )
    return "".join(lines)


def _models(texts: Sequence[str]) -> Iterator[list[str]]:
    """Atom lines of each model that has any: ENDMDL, END and the end of a text close a model."""
    for text in texts:
        lines: list[str] = []
        for line in [*text.splitlines(), "END"]:
            if line.startswith(("ATOM", "HETATM")):
                lines.append(line.ljust(80))
            elif line.startswith("END") and lines:
                yield lines
                lines = []


def _coordinates(models: list[list[str]], index: int, rows: list[int]) -> NDArray[np.float64]:
    lines, which = models[index], f"model {index + 1}"
    if len(lines) != len(models[0]) or any(lines[row][12:27] != models[0][row][12:27] for row in rows):
        raise InputFileError(f"{which} with atoms unlike model 1", "the same atoms in each", "use one topology")
    try:
        xyz = np.array([[float(lines[row][at : at + 8]) for at in (30, 38, 46)] for row in rows])
    except ValueError:
        raise InputFileError(f"{which} with words for coordinates", "numbers", "check columns 31-54") from None
    if not np.isfinite(xyz).all():
        raise CoordinateError(f"{which} with a coordinate that is not finite", "finite numbers", "check the file")
    return xyz.reshape(-1, 3)


def _scene(
    frames_pdb: list[str] | str,
    report: Mapping[str, Any],
    contacts: Sequence[Mapping[str, Any]],
    moved: Sequence[Residue],
    inner_steps: Sequence[float] | None,
) -> Scene:
    if inner_steps is not None and len(inner_steps) != len(moved):
        raise OptionError(f"{len(inner_steps)} inner steps, {len(moved)} moved residues", "one for each", "give both")
    listed = contacts or parts.listed_contacts(report)
    ends = [parts.contact_ends(contact) for contact in listed]
    trajectory = read_trajectory(frames_pdb, frozenset(end for pair in ends for end in pair))
    groups = np.array([atom.group for atom in trajectory.atoms])
    strays = np.abs(trajectory.xyz - trajectory.xyz[0]).max(axis=(0, 2)) > STILL
    steps = parts.section(parts.section(report, "stream"), "inner_steps_per_residue")
    told = parts.sequence(parts.section(report, "moved").get("residues"))
    known = [_label(residue) for residue in moved] or [str(text) for text in told]
    if not known:
        known = list(dict.fromkeys(_label(trajectory.atoms[index].residue) for index in np.flatnonzero(strays)))
    values = list(inner_steps) if inner_steps is not None else [steps.get(key) for key in known]
    colours = {key: parts.finite(value) for key, value in zip(known, values, strict=True)}

    core = set(groups[strays].tolist()) | {atom.group for atom in trajectory.atoms if _label(atom.residue) in colours}
    chain_of = {atom.group: atom.residue[0] for atom in trajectory.atoms}
    edge = {near for group in core for near in (group - 1, group + 1) if chain_of.get(near) == chain_of[group]} - core
    place = {(atom.residue, atom.name.strip()): index for index, atom in reversed(list(enumerate(trajectory.atoms)))}
    drawn = [
        {"row": row, "atoms": [place[end] for end in pair], "kind": parts.contact_kind(contact),
         "bound": parts.finite(contact.get("bound_angstrom"))}
        for row, (contact, pair) in enumerate(zip(listed, ends, strict=True))
        if len(pair) == 2 and all(end in place for end in pair)
    ]  # fmt: skip
    moving, edges = (np.flatnonzero(np.isin(groups, list(which))).tolist() for which in (core | edge, edge))
    return Scene(trajectory, moving, edges, colours, drawn)


def _label(residue: Residue) -> str:
    return f"{residue[0]}:{residue[1]}{residue[2]}"
