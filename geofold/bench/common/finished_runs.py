"""Finished runs of benchmarks, as `geofold bench` wrote them: summary, tables, plots."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.bench.common.history import changed_since, date_of, is_missing
from geofold.errors import InputFileError

NUMBER = re.compile(r"\{([A-Za-z0-9_.]+):([^{}]+)\}")
"""A number in a text, written as ``{metric:format}``."""
NUMBER_OF_RUN = re.compile(r"\{([a-z0-9_]+)/([A-Za-z0-9_.]+):([^{}]+)\}")
"""A number of a certain run, written as ``{folder/metric:format}``."""
OLDER = " (older than the code it measures)"
UNDATED = " (of a commit that is not in the history)"
IN_A_CELL = {"": "", OLDER: " (older)", UNDATED: " (undated)"}
"""The marks of titles, in the form of the cells of tables."""


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, its summary and its Markdown tables.

    Attributes
    ----------
    name : str
        Name of the folder.
    summary : dict
        Content of `summary.json`: metrics, commit, seconds, cpu, quick, note.
    table : str
        Content of `table.md`.
    plots : tuple of str
        Names of the PNG files.
    """

    name: str
    summary: dict[str, Any]
    table: str
    plots: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Run | None:
        """Read a folder of `geofold bench`; None if it holds no finished run."""
        summary, table = folder / "summary.json", folder / "table.md"
        if not (summary.is_file() and table.is_file()):
            return None
        plots = tuple(sorted(path.name for path in folder.glob("*.png")))
        content = json.loads(summary.read_text(encoding="utf-8"))
        return cls(folder.name, content, table.read_text(encoding="utf-8"), plots)

    def metric(self, name: str) -> float:
        """Value of a metric.

        Raises
        ------
        InputFileError
            If the summary has no such metric.
        """
        if name not in self.summary["metrics"]:
            raise InputFileError(
                f"{self.name}/summary.json has no metric {name}",
                "the metrics named in the texts of the report",
                "run the benchmark again, or correct the text",
            )
        return float(self.summary["metrics"][name])

    def fill(self, text: str) -> str:
        """Replace each ``{metric:format}`` of a text by the value of the metric; see `metric`."""
        return NUMBER.sub(lambda match: _formatted(self, *match.groups()), text)

    def commit(self, root: Path) -> str:
        """Commit of the run, with its date if the history has it."""
        date = date_of(self.summary["commit"], root)
        return f"{self.summary['commit']}, {date}" if date else str(self.summary["commit"])

    def changed(self, measures: Sequence[str], root: Path, same_at: str = "") -> list[str]:
        """Files below the paths `measures` that are not what they were at the commit of the run.

        Parameters
        ----------
        measures : sequence of str
            Paths relative to `root`.
        root : Path
            Root of the repository.
        same_at : str
            Later commit at which a part of the run gave the same numbers, if there is one; it takes the place of the
            run's commit.
        """
        return changed_since(same_at or self.summary["commit"], measures, root)

    def mark(self, measures: Sequence[str], root: Path, same_at: str = "") -> str:
        """Return what the title of a table of this run has to say of its age, or an empty text; see `changed`."""
        if is_missing(self.summary["commit"], root):
            return UNDATED
        return OLDER if self.changed(measures, root, same_at) else ""


def fill_from_runs(text: str, runs: Mapping[str, Run]) -> str:
    """Replace each ``{folder/metric:format}`` of a text by a metric of the run in that folder; see `Run.metric`."""
    return NUMBER_OF_RUN.sub(lambda match: _formatted(runs[match[1]], match[2], match[3]), text)


def _formatted(run: Run, name: str, form: str) -> str:
    return format(run.metric(name), form).replace("%", " %")
