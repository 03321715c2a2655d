"""Table of results: one line per job, appended as jobs end and sorted once all are done."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geofold.app.report.metrics import METRICS
from geofold.errors import OptionError
from geofold.files import encoded, read_json_lines, write_all
from geofold.paths import require_writable
from geofold.terminal import printable_values

FIELDS = (
    "row",
    "input",
    "output",
    "request",
    "seed",
    "status",
    "message",
    "models",
    *(f"{metric.name}_{when}" for metric in METRICS for when in ("before", "after")),
    "max_displacement_angstrom",
    "output_sha256",
    "job_sha256",
)
"""Columns of the table. No times: the table is the same from one worker or eight."""


class Results:
    """Table of results as CSV and, in the same folder, as JSON Lines.

    Lines are appended and synced to disk one by one, so that a killed run loses only the jobs in progress; an
    incomplete line is skipped when the table is read again.

    Parameters
    ----------
    path : str
        The CSV.

    Raises
    ------
    OptionError
        For a name that does not end in .csv.
    OutputError
        For a path that cannot be written.
    """

    def __init__(self, path: str) -> None:
        if not path.endswith(".csv"):
            raise OptionError(f"results {path}", "a name that ends in .csv", "rename it")
        self.paths = (path, str(Path(path).with_suffix(".jsonl")))
        self.lock = path + ".lock"
        for name in (*self.paths, self.lock):
            require_writable(name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the table within the context; the lock of a killed run is released by the system.

        Raises
        ------
        OptionError
            If another run holds the lock.
        """
        from filelock import FileLock, Timeout

        file = self.lock
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise OptionError(
                f"results {self.paths[0]}, which another run is writing",
                "one run of a table at a time",
                "wait for it, or name another table with --results",
            ) from None
        try:
            yield
        finally:
            Path(file).unlink(missing_ok=True)
            lock.release()

    def read(self) -> list[dict[str, Any]]:
        """Read the rows of an earlier run."""
        lines = self.paths[1]
        return [row for row in read_json_lines(lines) if set(row) == set(FIELDS)] if os.path.exists(lines) else []

    def write(self, rows: list[dict[str, Any]]) -> None:
        """Rewrite the whole table atomically, in the order of the jobs."""
        ordered = sorted(rows, key=lambda row: int(row["row"]))
        header = _as_csv(dict(zip(FIELDS, FIELDS, strict=True)))
        pieces = (header + b"".join(map(_as_csv, ordered)), b"".join(map(_as_json, ordered)))
        write_all(dict(zip(self.paths, pieces, strict=True)))

    def add(self, row: dict[str, Any]) -> None:
        """Append one row and sync it to disk."""
        for name, line in zip(self.paths, (_as_csv(row), _as_json(row)), strict=True):
            with open(name, "ab", buffering=0) as file:
                file.write(line)
                os.fsync(file.fileno())


def _as_csv(row: dict[str, Any]) -> bytes:
    text = io.StringIO()
    cells = printable_values([row[name] for name in FIELDS])  # the table may be shown in a terminal
    csv.writer(text, lineterminator="\n").writerow(cells)
    return encoded(text.getvalue())


def _as_json(row: dict[str, Any]) -> bytes:
    return encoded(json.dumps({name: row[name] for name in FIELDS}, ensure_ascii=False) + "\n")
