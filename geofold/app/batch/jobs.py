"""Jobs from a CSV, one per row. The whole table is validated before any job runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from geofold import __version__
from geofold.app.batch.columns import COLUMNS, EITHER, NEEDED, TOGETHER, WRITTEN
from geofold.app.outputs import Targets, require_page_name
from geofold.app.report.chain_breaks import ALL, ENDS
from geofold.app.result import require_trajectory_name
from geofold.errors import GeofoldError, JobsError, ResidueRangeError, SequenceError
from geofold.molecule.io.ideal_peptide import parse_sequence
from geofold.molecule.numbering import numbers_of
from geofold.molecule.selection import RANGE_EXAMPLES, parse_range
from geofold.paths import identity, require_writable
from geofold.resources import shipped_weights


@dataclass(frozen=True)
class Job:
    """One row of the table.

    Attributes
    ----------
    command : str
        'repair' or 'constrain'.
    row : int
        Row number as in a spreadsheet: the header is row 1.
    folder : str
        Absolute path of the table's folder, to which its paths are relative.
    cells : dict
        Values by column; empty cells are absent.
    """

    command: str
    row: int
    folder: str
    cells: dict[str, Any]

    def path(self, column: str) -> str:
        """Return the absolute path of a file that the row names."""
        return os.path.normpath(os.path.join(self.folder, self.cells[column]))

    @property
    def input(self) -> str | None:
        """Absolute path of the input, if it is a file."""
        return self.path("input") if "input" in self.cells else None

    @property
    def targets(self) -> Targets:
        """Paths of the job's output files."""
        paths = {column: self.path(column) for column in WRITTEN if column in self.cells}
        return Targets(**paths, offline=self.cells.get("offline", False), models=self.cells.get("models", 1))

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of the command's Python function."""
        excluded = {"input", "contact", "offline", *WRITTEN}
        return {name: value for name, value in self.cells.items() if name not in excluded}

    def fingerprint(self, content: bytes | None = None) -> str:
        """Hash everything that determines the result: command, version, weights, cells and input.

        Parameters
        ----------
        content : bytes, optional
            The input, if it has been read already.

        Returns
        -------
        str
            SHA-256.
        """
        if content is not None:
            input_hash: str | None = hashlib.sha256(content).hexdigest()
        else:
            input_hash = None if self.input is None else digest(self.input)
        parts = [self.command, __version__, shipped_weights(), self.cells, input_hash]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def digest(path: str) -> str | None:
    """Compute the SHA-256 of a file; None if it cannot be read, or is a pipe, which can be read only once."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def read_jobs(command: str, path: str, reserved: tuple[str, ...] = ()) -> list[Job]:
    """Read and validate the jobs of a table.

    Parameters
    ----------
    command : str
        'repair' or 'constrain'.
    path : str
        The CSV.
    reserved : tuple of str
        Files that the batch itself writes, which jobs must not name.

    Returns
    -------
    list of Job

    Raises
    ------
    JobsError
        With row and column of the first mistake.
    """
    folder = os.path.dirname(os.path.abspath(path))
    jobs = []
    for row, texts in _rows(command, path):
        job = Job(command, row, folder, dict(_cells(command, f"{path}, row {row}", texts)))
        _require_whole(job, path)
        _require_ranges(job, path)
        jobs.append(job)
    if not jobs:
        raise JobsError(f"{path} has no jobs", "a row for each job under the header", "add some")
    _require_apart(jobs, path, reserved)
    return jobs


def _rows(command: str, path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the row number and the cells of every row that is not blank."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobsError(f"{path} is not text in UTF-8", "a CSV in UTF-8", "save it as such") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise JobsError(f"{path} cannot be read ({reason})", "a CSV with a job a row", "check the path") from error
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    names: list[str] | None = None
    try:
        for fields in lines:
            row = lines.line_num
            if not any(field.strip() for field in fields):
                continue
            if names is None:
                names = _header(command, f"{path}, row {row}", fields)
            elif len(fields) != len(names):
                column = names[len(fields)] if len(fields) < len(names) else f"{len(names) + 1} (after {names[-1]})"
                raise JobsError(
                    f"{path}, row {row}, column {column}: the row has {len(fields)} cells",
                    f"{len(names)} as in the header",
                    "add or remove commas, or quote a cell that has one",
                )
            else:
                yield row, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise JobsError(
            f"{path}, row {lines.line_num}: {error}", "cells in CSV syntax", "correct the quotes"
        ) from error


def _header(command: str, where: str, fields: list[str]) -> list[str]:
    names = [field.strip().lower().replace("-", "_") for field in fields]
    for name, field in zip(names, fields, strict=True):
        if name not in COLUMNS[command]:
            _refuse(
                where,
                field.strip() or "without a name",
                "no such column",
                ", ".join(COLUMNS[command]),
                "rename or remove it, and separate columns by commas",
            )
        if names.count(name) > 1:
            _refuse(where, name, "twice in the header", "each column once", "remove one")
    for name in NEEDED[command]:
        if name not in names:
            _refuse(where, name, "missing", f"the columns {' and '.join(NEEDED[command])}", "add it")
    return names


def _cells(command: str, where: str, texts: dict[str, str]) -> Iterator[tuple[str, Any]]:
    for name, text in texts.items():
        column = COLUMNS[command][name]
        if not text.strip():
            continue
        try:
            value = column.read(text.strip())
        except ValueError:
            _refuse(where, name, f"'{text.strip()}'", column.expected, "correct the cell, or leave it empty")
        if value != []:
            yield name, value


def _require_whole(job: Job, path: str) -> None:
    """Refuse a row with missing cells, with cells that exclude each other, or with outputs that cannot be written."""
    where = f"{path}, row {job.row}"
    for name in NEEDED[job.command]:
        if name not in job.cells:
            column = COLUMNS[job.command][name]
            _refuse(where, name, "empty", column.expected, "fill the cell")
    either = EITHER[job.command]
    filled = [name for name in either if job.cells.get(name)]
    if not filled or (len(filled) > 1 and job.command not in TOGETHER):
        given = f"{' and '.join(filled)} together" if filled else "empty"
        _refuse(where, filled[-1] if filled else either[0], given, f"one of {', '.join(either)}", "fill one of them")
    if job.cells.get("start") == "prior" and "sequence" not in job.cells:
        _refuse(where, "start", "prior without a sequence", "a sequence to draw torsions for", "leave the cell empty")
    for name in WRITTEN:
        if name not in job.cells:
            continue
        try:
            if name == "trajectory":
                require_trajectory_name(job.cells[name])
            if name == "view":
                require_page_name(job.cells[name])
            for target in [
                job.path(name),
                *(job.targets.further_paths(job.targets.models) if name == "output" else ()),
            ]:
                require_writable(target)
        except GeofoldError as error:
            _refuse(where, name, error.given, error.expected, error.remedy)


def _require_ranges(job: Job, path: str) -> None:
    """Refuse a row with a loop that is not a range; whether the structure has it is known when the job runs."""
    for name in ("loop", "build"):
        for text in job.cells.get(name, []):
            if name == "build" and text in (ALL, ENDS):
                continue
            span, equals, letters = text.partition("=") if name == "build" else (text, "", "")
            try:
                if not numbers_of(parse_range(span)):
                    raise ResidueRangeError(f"{span} runs backwards", RANGE_EXAMPLES, "swap its ends")
                if equals and not letters.strip():
                    raise SequenceError(
                        f"'{text}' ends without a sequence", "A:45-56=SEQUENCE", "add it, or drop the ="
                    )
                if equals:
                    parse_sequence(letters, f"the sequence of {text}")
            except GeofoldError as error:
                _refuse(f"{path}, row {job.row}", name, error.given, error.expected, error.remedy)


def _require_apart(jobs: list[Job], path: str, reserved: tuple[str, ...]) -> None:
    """Refuse a file that is written twice, or read by one job and written by another, since jobs run in any order."""
    taken = {identity(name): "the batch itself" for name in (path, *reserved)}
    taken |= {identity(job.input): f"row {job.row}, column input" for job in jobs if job.input is not None}
    taken.pop(None, None)  # a device
    for job in jobs:
        targets = job.targets
        written = [(column, job.path(column)) for column in WRITTEN if column in job.cells]
        for column, target in written + [("models", name) for name in targets.further_paths(targets.models)]:
            place = f"row {job.row}, column {column}"
            key = identity(target)
            owner = place if key is None else taken.setdefault(key, place)
            if owner != place:
                _refuse(
                    f"{path}, row {job.row}",
                    column,
                    f"{target} is a file of {owner} too",
                    "a file of its own for each",
                    "rename one",
                )


def _refuse(where: str, column: str, given: str, expected: str, remedy: str) -> NoReturn:
    raise JobsError(f"{where}, column {column}: {given}", expected, remedy)
