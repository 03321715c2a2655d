"""Raw records of a benchmark: one JSON line per episode and agent, so that an interrupted run can be resumed."""

from __future__ import annotations

import json
import platform
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from geofold.bench.common.history import head_commit
from geofold.bench.common.processes import run_jobs
from geofold.files import read_json_lines, write_all

TEXT_WIDTH = 120


class Records:
    """Records in `folder/records.jsonl`, keyed by (episode, agent).

    Parameters
    ----------
    folder
        Is made if it does not exist. Records in it are kept, so that an interrupted run is resumed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "records.jsonl"
        self.rows: list[dict[str, Any]] = []
        if self._file.exists():  # an incomplete last line is dropped; its episode is run again
            self.rows = read_json_lines(self._file)
            self._file.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def has(self, episode: str, agent: str) -> bool:
        """Whether an agent has a record of an episode."""
        return any(row["episode"] == episode and row["agent"] == agent for row in self.rows)

    def add(self, episode: str, agent: str, **numbers: Any) -> None:
        """Append a record, in memory and on disk."""
        row = {"episode": episode, "agent": agent, **numbers}
        self.rows.append(row)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, agent: str) -> list[dict[str, Any]]:
        """Return the records of an agent, sorted by episode."""
        return sorted((row for row in self.rows if row["agent"] == agent), key=lambda row: str(row["episode"]))


def gather(
    records: Records,
    name: str,
    play: Callable[..., Iterable[tuple[str, str, dict[str, Any]]]],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
) -> None:
    """Run jobs in worker processes and append their records as soon as each is done.

    Parameters
    ----------
    records : Records
        Is appended to.
    name : str
        Label of the progress bar.
    play : callable
        Returns the rows (episode, agent, numbers) of a job; see `geofold.bench.common.processes.run_jobs`.
    jobs : sequence of tuple
        Arguments of each call.
    workers : int
        Number of processes.
    """
    for rows in run_jobs(name, play, jobs, workers):
        for episode, agent, numbers in rows:
            records.add(episode, agent, **numbers)


def write_summary(folder: Path, metrics: dict[str, float], *, quick: bool, began: float, table: str, note: str) -> None:
    """Write `summary.json` and `table.md` of a finished run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    metrics : dict of str to float
        Are rounded to five decimals.
    quick : bool
        Whether the run was a small one, whose numbers are not to be quoted.
    began : float
        Start of the run (`time.time`).
    table : str
        Markdown tables, separated by empty lines; the first is the main one.
    note : str
        Benchmark and split.
    """
    summary = {
        "metrics": {name: round(float(value), 5) for name, value in metrics.items()},
        "quick": quick,
        "note": note,
        "commit": head_commit(),
        "seconds": round(time.time() - began, 1),
        "cpu": _cpu(),
    }
    write_all(
        {
            str(folder / "summary.json"): (json.dumps(summary, indent=2) + "\n").encode(),
            str(folder / "table.md"): table.encode(),
        }
    )


def table_of(columns: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def wrapped(text: str) -> str:
    """Paragraphs wrapped at `TEXT_WIDTH`, each followed by an empty line; tables and lists keep their lines."""
    paragraphs = [part.strip() for part in text.strip().split("\n\n") if part.strip()]
    kept = ("|", "#", "- ", "    ")
    lines = [
        part if part.startswith(kept) else textwrap.fill(" ".join(part.split()), TEXT_WIDTH, break_on_hyphens=False)
        for part in paragraphs
    ]
    return "\n\n".join(lines) + "\n"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
