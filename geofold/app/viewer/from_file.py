"""A viewer page of a trajectory file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from geofold.app.report.report_file import read_report
from geofold.app.viewer import page as viewer
from geofold.app.viewer.html import section, sequence
from geofold.app.viewer.notebook import NotebookView
from geofold.errors import GeofoldError, InputFileError
from geofold.molecule.io.content import decode, read_bytes, unpack
from geofold.molecule.io.pdb_reader import PDB
from geofold.molecule.io.read import read, recognise
from geofold.molecule.io.write import trajectory_pdb
from geofold.molecule.numbers import abbreviate
from geofold.molecule.selection import RANGE
from geofold.molecule.topology.bonds import links_among


def page_of_file(
    content: str | bytes,
    name: str,
    report: str | None,
    *,
    offline: bool,
    energy: bool = True,
    compare: Sequence[str] = (),
) -> str:
    """Render the HTML page of a structure or multi-model PDB.

    Parameters
    ----------
    content : str or bytes
        The file's path, or its content.
    name : str
        Name of the file; ``-`` is standard input.
    report : str or None
        Path of the run's report.
    offline : bool
        Embed 3Dmol.js in the page.
    energy : bool
        Evaluate the force field in each frame (takes seconds).
    compare : sequence of str
        Files of structures to draw next to the last frame.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    InputFileError
        If the trajectory or the report cannot be read.
    """
    called = "standard input" if name == "-" else name
    data = content if isinstance(content, bytes) else read_bytes(content, called)
    text, title, links = _models(data, called)
    numbers = {} if report is None else read_report(report)
    _require_own(numbers, data, called)
    others = [(Path(path).name, _models(read_bytes(path, path), path)[0]) for path in compare]
    with _naming(called):
        return viewer.page(text, numbers, title=title, offline=offline, links=links, energy=energy, compared=others)


def view(
    trajectory: str | Path,
    report: str | Path | None = None,
    *,
    energy: bool = True,
    compare: Sequence[str | Path] = (),
) -> NotebookView:
    """Show the viewer page of a trajectory file in a notebook cell.

    Parameters
    ----------
    trajectory : path
        A structure or a multi-model trajectory.
    report : path, optional
        The run's report.
    energy : bool
        Evaluate the force field in each frame (takes seconds).
    compare : sequence of path
        Structures to draw next to the last frame: other models, the native.

    Raises
    ------
    InputFileError
        If the trajectory, the report or one of the structures cannot be read.
    """
    content, given = read_bytes(trajectory, str(trajectory)), None if report is None else str(report)
    others = [str(path) for path in compare]
    page = page_of_file(content, str(trajectory), given, offline=False, energy=energy, compare=others)
    return NotebookView(
        page,
        lambda: viewer.view(_models(content, str(trajectory))[0], {} if given is None else read_report(given)),
    )


def _models(data: bytes, name: str) -> tuple[str, str, list[tuple[int, int]]]:
    """Return the models as PDB text, a title and the recorded links of a file, plain or gzip.

    All models of a PDB file are returned, the first model of a file of another format.
    """
    structure, content = read(data, name=name), unpack(data, name)
    if structure.n_models == 1 or recognise(content, name) is not PDB:
        text, kept = trajectory_pdb(structure, structure.xyz[None]).decode(), structure.conformer_mask
    else:
        text, kept = decode(content, name)[0], np.ones(len(structure), dtype=bool)
    return text, structure.title or name, [(link.i, link.j) for link in links_among(structure, kept)]


def _require_own(report: Mapping[str, Any], data: bytes, name: str) -> None:
    """Refuse a report of another structure: its residues that moved have to be in the file.

    Residues of chains with long names are not compared, since trajectories have one letter in their place.

    Parameters
    ----------
    report : mapping
        Report, or empty.
    data : bytes
        Content of the file.
    name : str
        Name of the file in messages.

    Raises
    ------
    InputFileError
        If one of them is not.
    """
    labels = [label for label in sequence(section(report, "moved").get("residues")) if isinstance(label, str)]
    ranges = {label: RANGE.fullmatch(label) for label in labels}
    short = [label for label, found in ranges.items() if found is not None and len(found[1]) <= 1]
    present = {residue.label for residue in read(data, name=name).residues} if short else set()
    missing = [label for label in short if label not in present]
    if missing:
        raise InputFileError(
            f"the report is of another structure: {name} has no residue {abbreviate(missing[0])}, which moved",
            "the report of the run that wrote the file",
            "check --report",
        )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the file's name in front of the errors of a page, which does not know it."""
    try:
        yield
    except GeofoldError as error:
        if name in error.given:
            raise
        raise type(error)(f"{name}: {error.given}", error.expected, error.remedy) from error
