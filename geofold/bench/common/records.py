"""Raw records of a benchmark: one JSON line per episode and agent, appended as it is done, so a run can go on."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from geofold.files import read_json_lines, write_all


class Records:
    """Records in `folder/records.jsonl`, keyed by (episode, agent).

    Parameters
    ----------
    folder
        Made if absent. Finished records in it are kept, so that an interrupted run goes on.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "records.jsonl"
        self.rows: list[dict[str, Any]] = []
        if self._file.exists():  # without a line that a kill cut short: that episode is run again
            self.rows = read_json_lines(self._file)
            self._file.write_text("".join(json.dumps(row) + "\n" for row in self.rows), encoding="utf-8")

    def has(self, episode: str, agent: str) -> bool:
        """Whether that episode was finished before."""
        return any(row["episode"] == episode and row["agent"] == agent for row in self.rows)

    def add(self, episode: str, agent: str, **numbers: Any) -> None:
        """Append a record and put it on disk."""
        row = {"episode": episode, "agent": agent, **numbers}
        self.rows.append(row)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, agent: str) -> list[dict[str, Any]]:
        """Records of an agent, in the order of the episodes."""
        return sorted((row for row in self.rows if row["agent"] == agent), key=lambda row: str(row["episode"]))


def gather(
    records: Records, name: str, play: Callable[..., Iterable[tuple[str, str, dict[str, Any]]]],
    jobs: Sequence[tuple[Any, ...]], workers: int,
) -> None:  # fmt: skip
    """Play jobs side by side, each on one thread, under a progress bar of a name.

    Each gives rows (episode, agent, numbers), which are put on disk as soon as it is done.
    """
    with Progress(console=Console(stderr=True)) as bar, ProcessPoolExecutor(workers, initializer=_alone) as pool:
        task = bar.add_task(name, total=len(jobs))
        for done in as_completed([pool.submit(play, *job) for job in jobs]):
            for episode, agent, numbers in done.result():
                records.add(episode, agent, **numbers)
            bar.advance(task)


def _alone() -> None:
    import torch

    torch.set_num_threads(1)


def mean_and_half_width(values: Iterable[float]) -> tuple[float, float]:
    """Mean and half of its 95 % confidence interval (normal)."""
    x = np.asarray(list(values), dtype=float)
    return float(x.mean()), float(1.96 * x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0


def write_summary(folder: Path, metrics: dict[str, float], *, quick: bool, began: float, table: str, note: str) -> None:
    """`summary.json` and `table.md` of a finished run."""
    summary = {
        "metrics": {name: round(float(value), 5) for name, value in metrics.items()}, "quick": quick, "note": note,
        "commit": _commit(), "seconds": round(time.time() - began, 1), "cpu": _cpu(),
    }  # fmt: skip
    write_all({
        str(folder / "summary.json"): (json.dumps(summary, indent=2) + "\n").encode(),
        str(folder / "table.md"): table.encode(),
    })  # fmt: skip


def table_of(columns: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def _commit() -> str:
    try:
        root = Path(__file__).resolve().parent
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=True
        )
        return found.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
