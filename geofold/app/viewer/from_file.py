"""A viewer page of a trajectory file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from geofold.app.viewer import page as viewer
from geofold.app.viewer.notebook import NotebookView
from geofold.errors import InputFileError
from geofold.molecule.content import decode
from geofold.molecule.structure import read
from geofold.molecule.topology.bonds import links_among


def page_of_file(content: str | bytes, name: str, report: str | None, *, offline: bool, energy: bool = True) -> str:
    """HTML page of a structure or multi-model PDB; `report` is the path of a run's report.

    Raises
    ------
    InputFileError
        If the trajectory or the report cannot be read.
    """
    text, title, links = _models(content if isinstance(content, bytes) else _bytes(content), name)
    numbers = {} if report is None else _report(report)
    return viewer.page(text, numbers, title=title, offline=offline, links=links, energy=energy)


def view(trajectory: str | Path, report: str | Path | None = None, *, energy: bool = True) -> NotebookView:
    """The viewer page of a trajectory file for a notebook's cell.

    Parameters
    ----------
    report
        Path of a run's report.
    energy
        Evaluate the force field in each frame (seconds).

    Raises
    ------
    InputFileError
        If the trajectory or the report cannot be read.
    """
    content, given = _bytes(str(trajectory)), None if report is None else str(report)
    page = page_of_file(content, str(trajectory), given, offline=False, energy=energy)
    return NotebookView(
        page,
        lambda: viewer.view(_models(content, str(trajectory))[0], {} if given is None else _report(given)),
    )


def _models(data: bytes, name: str) -> tuple[str, str, list[tuple[int, int]]]:
    """Models as PDB text, a title, and the bonds it has records of, of a file that may be gzipped or mmCIF."""
    structure = read(data, name="standard input" if name == "-" else name)
    if structure.n_models == 1 or "_atom_site." in decode(data, name)[0]:
        text, kept = structure.trajectory_pdb(structure.xyz[None]).decode(), structure.steering_mask
    else:
        text, kept = decode(data, name)[0], np.ones(len(structure), dtype=bool)
    return text, structure.title or name, [(link.i, link.j) for link in links_among(structure, kept)]


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputFileError(
            f"{path} cannot be read ({error.strerror})", "a PDB or mmCIF file", "check the path"
        ) from error


def _report(path: str) -> dict[str, Any]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputFileError(
            f"report {path} cannot be read ({error})", "a JSON report of geofold", "check the path"
        ) from error
    if not isinstance(found, dict):
        raise InputFileError(f"report {path} is no JSON object", "a JSON report of geofold", "check the path")
    return found
