"""Pages of results, made from the committed summaries and tables; never edited by hand.

`RESULTS.md` has a headline table and a paragraph for each section; `README.md` in the folder of each run has its
tables, plots and all of its metrics. The texts are in `report.toml`: a number in them is written as
``{metric:format}`` and is filled in from the run's `summary.json`, so that text and records cannot disagree.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geofold.bench.common.history import ROOT, changed_since, date_of
from geofold.bench.common.records import table_of
from geofold.errors import InputFileError
from geofold.files import write_all

TEXTS = Path(__file__).with_name("report.toml")
RESULTS = Path("examples/results")
WIDTH = 120
OLDER = " (older than the code it measures)"
"""Added to the title of a section if the code that it measures changed after the run."""
NUMBER = re.compile(r"\{([A-Za-z0-9_.]+):([^{}]+)\}")
HEADLINE = ["task", "set", "n", "metric", "geofold", "best comparison", "CPU time", "commit, date"]
WRITTEN = "<!-- Written by `geofold bench report`; edit geofold/bench/common/report.toml instead. -->\n"


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

    def fill(self, text: str) -> str:
        """Replace each ``{metric:format}`` of a text by the value of the metric.

        Raises
        ------
        InputFileError
            If the summary has no such metric.
        """

        def number(match: re.Match[str]) -> str:
            name, form = match.groups()
            if name not in self.summary["metrics"]:
                raise InputFileError(
                    f"{self.name}/summary.json has no metric {name}",
                    f"the metrics named in {TEXTS.name}",
                    "run the benchmark again, or correct the text",
                )
            return format(self.summary["metrics"][name], form).replace("%", " %")

        return NUMBER.sub(number, text)

    def commit(self, root: Path) -> str:
        """Commit of the run, with its date if the history has it."""
        date = date_of(self.summary["commit"], root)
        return f"{self.summary['commit']}, {date}" if date else str(self.summary["commit"])


def run(out: str) -> None:
    """Write `RESULTS.md` and the pages of the runs.

    Parameters
    ----------
    out : str
        A folder of runs. If it holds none, the runs of `examples/results` are taken and `RESULTS.md` is written to the
        current folder.

    Raises
    ------
    InputFileError
        If there is no finished run at all, or a text names a metric that a run does not have.
    """
    base, page = Path(out), Path(out) / "RESULTS.md"
    if not any(base.glob("*/summary.json")):
        base, page = RESULTS, Path("RESULTS.md")
    pages = render(base, page, ROOT)
    write_all({str(path): text.encode() for path, text in pages.items()})
    print(f"{page} and {len(pages) - 1} pages below {base} written")


def render(base: Path, page: Path, root: Path) -> dict[Path, str]:
    """Make all pages.

    Parameters
    ----------
    base : Path
        Folder of the runs.
    page : Path
        Where `RESULTS.md` is going to be; links are relative to it.
    root : Path
        Root of the repository whose history is read; without a history there are neither dates nor marks.

    Returns
    -------
    dict of Path to str
        Content of each page.

    Raises
    ------
    InputFileError
        If `base` has no finished run.
    """
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    found = {path.name: Run.read(path) for path in sorted(base.iterdir())} if base.is_dir() else {}
    runs = {name: entry for name, entry in found.items() if entry is not None}
    if not runs:
        raise InputFileError(f"{base} holds no summary.json", "the output folders of `geofold bench`", "run one first")
    link = Path(os.path.relpath(base, page.parent)).as_posix()
    rows = [_headline(entry, runs[entry["folder"]], root) for entry in texts["headline"] if entry["folder"] in runs]
    parts = [WRITTEN, _wrapped(texts["introduction"]), table_of(HEADLINE, rows), _wrapped(texts["reading"])]
    pages: dict[Path, str] = {}
    for section in texts["section"]:
        members = [entry for entry in section["run"] if entry["folder"] in runs]
        if members:
            parts.append(_section(section, members, runs, link, root))
        for entry in members:
            content = _run_page(entry, section, runs[entry["folder"]], root)
            pages[base / entry["folder"] / "README.md"] = content
    return {page: "\n".join(parts)} | pages


def _headline(entry: dict[str, Any], run: Run, root: Path) -> list[str]:
    keys = ("task", "set", "n", "metric", "value", "comparison", "cpu")
    return [*(run.fill(str(entry[key])) for key in keys), run.commit(root)]


def _section(
    section: dict[str, Any], members: list[dict[str, Any]], runs: dict[str, Run], link: str, root: Path
) -> str:
    """Return a section of RESULTS.md: title, paragraph, small table if it has one, links to the pages of its runs."""
    first = runs[members[0]["folder"]]
    older = any(changed_since(runs[entry["folder"]].summary["commit"], section["measures"], root) for entry in members)
    text = section["text"]
    for entry in members:
        text += "\n" + entry.get("text", "")
    filled = _wrapped(_fill_all(text, members, runs))
    table = _small_table(section, first) if "table" in section else ""
    pages = ", ".join(f"[{entry['folder']}]({link}/{entry['folder']}/README.md)" for entry in members)
    parts = (f"## {section['title']}{OLDER if older else ''}\n", filled, table, pages)
    return "\n".join(part for part in parts if part) + "\n"


def _fill_all(text: str, members: list[dict[str, Any]], runs: dict[str, Run]) -> str:
    """Fill in numbers; ``{folder/metric:format}`` is a metric of another run of the section."""
    for entry in members[1:]:
        pieces = re.split(r"\{" + re.escape(entry["folder"]) + r"/([^{}]+)\}", text)
        pieces[1::2] = [runs[entry["folder"]].fill("{" + number + "}") for number in pieces[1::2]]
        text = "".join(pieces)
    return runs[members[0]["folder"]].fill(text)


def _small_table(section: dict[str, Any], run: Run) -> str:
    """Rows of agents, columns of metrics; a metric that an agent does not have leaves its cell empty."""
    columns = section["table"]["columns"]
    rows = []
    for agent in section["table"]["agents"]:
        cells = []
        for metric, form in (column["metric"].split(":") for column in columns):
            known = f"{agent}.{metric}" in run.summary["metrics"]
            cells.append(run.fill(f"{{{agent}.{metric}:{form}}}") if known else "")
        rows.append([agent, *cells])
    return table_of(["", *(column["head"] for column in columns)], rows)


def _run_page(entry: dict[str, Any], section: dict[str, Any], run: Run, root: Path) -> str:
    """Return the page of a run: protocol, how the run came about, plots, tables, every metric."""
    older = changed_since(run.summary["commit"], section["measures"], root)
    machine = f"{run.summary['cpu']}, {run.summary['seconds']:.0f} s of wall time, commit {run.commit(root)}"
    quick = ", a quick run" if run.summary["quick"] else ""
    metrics = table_of(
        ["metric", "value"], [[f"`{name}`", f"{value:g}"] for name, value in run.summary["metrics"].items()]
    )
    paragraphs = [entry.get("protocol", ""), entry.get("history", "")]
    return "\n".join(
        [
            WRITTEN,
            f"# {entry.get('title', section['title'])}{OLDER if older else ''}\n",
            f"    {entry['command']}\n\n{machine}{quick}.\n",
            *(_wrapped(run.fill(text)) for text in paragraphs if text),
            *(f"![{name}]({name})\n" for name in run.plots),
            f"## Tables\n\n{run.table}",
            f"## All metrics\n\n{metrics}",
        ]
    )


def _wrapped(text: str) -> str:
    """Paragraphs wrapped at `WIDTH`, each followed by an empty line; tables and lists keep their lines."""
    paragraphs = [part.strip() for part in text.strip().split("\n\n") if part.strip()]
    kept = ("|", "#", "- ", "    ")
    lines = [
        part if part.startswith(kept) else textwrap.fill(" ".join(part.split()), WIDTH, break_on_hyphens=False)
        for part in paragraphs
    ]
    return "\n\n".join(lines) + "\n"
